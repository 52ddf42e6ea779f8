// What an operator should look at first: what is stuck, why, and for how long. Pure.

import { bytes, count, lastLine, plural, roughly, span } from "./format.js";

const FULL_SHARE = 0.9;
const UNPULLED_SECONDS = 60;

/**
 * What needs attention, the worst first.
 *
 * Each is {level: "bad" | "warn", queue?, page?, what, why}: `what` is said in bold.
 *
 * @param {object[]} queues infos
 * @param {object|null} stats the server's figures
 * @param {(name: string) => number|null} taken messages a second that leave a queue
 */
export function attention(queues, stats, taken = () => null) {
  const sources = sourcesOf(queues);
  const found = [...ofServer(stats)];
  for (const info of queues) found.push(...ofQueue(info, sources.get(info.queue), taken));
  const worth = { bad: 0, warn: 1 };
  return found.sort((one, other) => worth[one.level] - worth[other.level] || (other.age ?? 0) - (one.age ?? 0));
}

/** Which queues send their dead letters where. */
export function sourcesOf(queues) {
  const sources = new Map();
  for (const info of queues) {
    const target = info.options.dead_letter;
    if (target) sources.set(target, [...(sources.get(target) ?? []), info.queue]);
  }
  return sources;
}

function* ofQueue(info, sources, taken) {
  const { queue } = info;
  const waits = info.ready + info.delayed;
  if (sources && info.ready) {
    yield {
      level: "bad", queue, page: "dead", age: info.oldest_age_seconds,
      what: plural(info.ready, "dead letter"),
      why: `of ${sources.slice(0, 3).join(", ")}; the oldest for ${roughly(info.oldest_age_seconds)}`,
    };
  } else if (info.is_paused && waits) {
    yield {
      level: "warn", queue, age: info.oldest_age_seconds,
      what: "paused", why: `${plural(waits, "message waits", "messages wait")} until somebody resumes it`,
    };
  } else if (isUnpulled(info, taken(queue))) {
    yield {
      level: "bad", queue, age: info.oldest_age_seconds, what: "nobody pulls",
      why: `${count(info.ready)} ready, the oldest for ${roughly(info.oldest_age_seconds)}; no worker waits or holds any`,
    };
  }
  if (info.dead) {
    yield {
      level: "bad", queue, page: "dead", age: info.oldest_dead_age_seconds,
      what: `${count(info.dead)} dead`,
      why: `not tried again; the oldest for ${roughly(info.oldest_dead_age_seconds)}`,
    };
  }
  yield* ofBounds(info);
}

function isUnpulled(info, outRate) {
  return !info.is_paused && info.ready > 0 && info.leased === 0 && info.waiting === 0
    && info.oldest_age_seconds > UNPULLED_SECONDS && !outRate;
}

function* ofBounds(info) {
  const { queue, options } = info;
  const held = info.ready + info.delayed + info.leased + info.dead;
  const shares = [
    [held / options.max_messages, `${count(held)} of ${count(options.max_messages)} messages`],
    [info.bytes / options.max_bytes, "of the bytes that it may hold"],
  ];
  for (const [share, words] of shares) {
    if (share >= FULL_SHARE) {
      yield {
        level: share >= 1 ? "bad" : "warn", queue,
        what: share >= 1 ? "full" : "nearly full",
        why: `${(100 * share).toFixed(0)} %: ${words}; pushes are refused when it is full`,
      };
    }
  }
  if (options.max_leased && info.leased >= options.max_leased && info.ready) {
    yield {
      level: "warn", queue, page: "leased", what: "at its cap",
      why: `${count(info.leased)} leased, as many as it lets out at a time; ${count(info.ready)} wait`,
    };
  }
}

function* ofServer(stats) {
  if (!stats) return;
  const { journal, snapshot, frame_log: log, connections } = stats;
  const page = "server";
  if (journal?.is_full) yield { level: "bad", page, what: "the disk is full", why: "pushes are refused; acks and pulls go on" };
  else if (journal && journal.disk_free_bytes < journal.bytes) {
    yield { level: "warn", page, what: "the disk is nearly full", why: `${bytes(journal.disk_free_bytes)} left, which is less than mqd takes: a snapshot may find no room` };
  }
  if (snapshot?.failed) {
    yield { level: "warn", page, what: "snapshots fail", why: `${plural(snapshot.failed, "failure")} since the start; the journal grows meanwhile` };
  }
  if (log?.is_failing) yield { level: "warn", page, what: "the frame log is not written", why: "its disk is full or fails; serving goes on" };
  else if (log?.lost_records) yield { level: "warn", page, what: "the frame log has gaps", why: `${plural(log.lost_records, "record")} lost since the start` };
  if (connections && connections.open >= FULL_SHARE * connections.limit) {
    yield { level: "warn", page, what: "few connections are left", why: `${count(connections.open)} of ${count(connections.limit)} are open` };
  }
}

/** Why a dead message is dead, in a sentence, out of its history. */
export function whyDead(message) {
  const last = message.history?.at(-1);
  if (!last) return "no history is kept of it";
  const words = CAUSES[last.cause] ?? last.cause;
  return last.reason ? lastLine(last.reason) : words;
}

/** How often a dead letter has failed where it came from; its history knows what no budget counts. */
export function failuresOf({ origin, history }) {
  const told = (history ?? []).filter((each) => FAILURES.includes(each.cause)).length;
  return Math.max(origin?.attempts ?? 0, told);
}

const FAILURES = ["nack", "reject", "expired"];

/** What ended a delivery, in words. */
export const CAUSES = {
  nack: "failed",
  reject: "rejected",
  hand_back: "handed back",
  expired: "the lease ran out",
  gone: "the worker was lost",
  ttl: "waited too long",
};

/** How long until a deadline, in words. */
export function timeLeft(deadline, now) {
  const left = deadline - now;
  return left <= 0 ? "over" : span(left);
}
