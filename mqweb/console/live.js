// Keeps the figures live: asks for them again and again, listens to events, and says so when
// mqd or mqweb is away. Everything starts and stops with the session.

import { Problem, readEvents } from "./api.js";
import { batch } from "./vendor/signals.js";
import { call, changes, feed, isHearing, link, now, session, takeQueues, takeStats } from "./store.js";

const EVERY_SECONDS = 2;
const HIDDEN_SECONDS = 20;
const SHARE = 10; // figures that take long to tell are asked for less often
const MOST_RETRY_SECONDS = 8;
const STATS_EVERY = 2; // rounds
const FEED_LENGTH = 100;
const FLOOD = 400; // events in two seconds: then only the rare kinds are listened to
const RARE = "created,deleted,paused,resumed,purged,rejected,lost,dead,redriven,cancelling,cancelled,expired";

let stop = () => {};
let pokeRound = () => {};
let listening = null;

setInterval(() => (now.value = Date.now() / 1000), 1000);
document.addEventListener("visibilitychange", () => document.hidden || pokeRound());

/** Begin to follow, as who is signed in. */
export function follow() {
  stop();
  const run = { over: false };
  stop = () => {
    run.over = true;
    pokeRound();
    listening?.abort.abort();
    listening = null;
  };
  rounds(run);
}

/** Stop to follow. */
export function unfollow() {
  stop();
  stop = () => {};
}

/** Ask for the figures at once: something has been done. */
export function refresh() {
  pokeRound();
}

async function rounds(run) {
  let failures = 0;
  for (let round = 0; !run.over; round += 1) {
    const begun = performance.now();
    try {
      await ask(round);
      failures = 0;
      if (link.value.state !== "live") restore();
    } catch (error) {
      if (run.over || session.value === null) return;
      failures += 1;
      tellAway(error, failures);
    }
    if (run.over) return;
    const took = (performance.now() - begun) / 1000;
    const usual = document.hidden ? HIDDEN_SECONDS : Math.max(EVERY_SECONDS, SHARE * took);
    await pause(failures ? retrySeconds(failures) : usual);
  }
}

/** How long it is waited after so many failures, one after the other. */
export function retrySeconds(failures) {
  return Math.min(MOST_RETRY_SECONDS, 2 ** (failures - 1));
}

async function ask(round) {
  const { queues } = await call("GET", "/v1/queues");
  takeQueues(queues, Date.now() / 1000);
  if (round % STATS_EVERY === 0) takeStats(await call("GET", "/status"), Date.now() / 1000);
}

function restore() {
  link.value = { state: "live", since: Date.now() / 1000, retryAt: 0, text: "" };
  changes.value = { count: changes.value.count + 1, queue: "" };
}

function tellAway(error, failures) {
  const at = Date.now() / 1000;
  const away = error instanceof Problem && error.status !== 0;
  const text = away ? (error.isAway ? "mqd does not answer" : error.message) : "mqweb does not answer";
  const since = ["away", "lost"].includes(link.value.state) ? link.value.since : at;
  link.value = { state: away ? "away" : "lost", since, retryAt: at + retrySeconds(failures), text };
}

function pause(seconds) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    pokeRound = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}

/** Listen to what happens to one queue; to the rare things of all where none is named. */
export function listen(queue) {
  if (session.value === null || listening?.queue === queue) return;
  listening?.abort.abort();
  listening = { queue, abort: new AbortController(), kinds: queue ? undefined : RARE, seen: 0, since: 0 };
  feed.value = [];
  isHearing.value = false;
  hear(listening);
}

async function hear(mine) {
  let failures = 0;
  while (mine === listening && session.value !== null) {
    const query = { pattern: mine.queue ?? undefined, events: mine.kinds };
    try {
      await readEvents(session.value.token, query, mine.abort.signal, (kind, data) => {
        if (kind !== "open") return take(mine, kind, data);
        failures = 0;
        isHearing.value = mine === listening;
      });
    } catch {
      failures += 1; // rounds say why, if it is more than a moment
    }
    if (mine !== listening) return;
    isHearing.value = false;
    await new Promise((resolve) => setTimeout(resolve, 1000 * retrySeconds(failures || 1)));
  }
}

let poked = 0;

function take(mine, kind, data) {
  if (kind === "away" || kind === "back" || kind === "missed") {
    pokeRound();
    return;
  }
  const at = Date.now();
  if (at - mine.since > 2000) [mine.since, mine.seen] = [at, 0];
  mine.seen += 1;
  if (mine.seen > FLOOD && mine.kinds === undefined) {
    mine.kinds = RARE;
    tellFlood();
    mine.abort.abort();
    mine.abort = new AbortController();
    return;
  }
  batch(() => {
    if (mine.queue) feed.value = [data, ...feed.value.slice(0, FEED_LENGTH - 1)];
    changes.value = { count: changes.value.count + 1, queue: data.queue ?? "" };
  });
  if (at - poked > 400) {
    poked = at;
    setTimeout(pokeRound, 100);
  }
}

function tellFlood() {
  const words = "so much happens here that only what is rare is listed from now on";
  feed.value = [{ kind: "console", queue: "", at: Date.now() / 1000, words }, ...feed.value];
}
