// What the pages show, as signals; who is signed in; what is said to the user.
//
// The token lives in this module's memory alone: no cookie, no storage. So no other page can act
// with it (there is nothing for a forged request to ride on), and a reload asks again who you are.

import { batch, computed, signal } from "./vendor/signals.js";
import { Problem, request } from "./api.js";
import { attention, sourcesOf } from "./attention.js";
import { allows } from "./roles.js";
import { Series } from "./series.js";

/** Who is signed in: {token, user, role, expiresAt, server, isOwn}; null if nobody is. */
export const session = signal(null);
/** Why somebody is to sign in again. */
export const farewell = signal("");
/** How figures come: {state: "starting" | "live" | "away" | "lost", since, retryAt, text}. */
export const link = signal({ state: "starting", since: 0, retryAt: 0, text: "" });
/** Infos of all queues, by name; null before the first. */
export const queues = signal(null);
/** The server's figures. */
export const stats = signal(null);
/** When the figures are of, and the time: seconds since 1970. */
export const takenAt = signal(0);
export const now = signal(Date.now() / 1000);
/** Counted up with each new set of figures, so that plots follow. */
export const beat = signal(0);
/** What is said at the foot of the page: {id, kind, text}. */
export const notes = signal([]);
/** Counted up for each event of a queue, by its name: lists look again. */
export const changes = signal({ count: 0, queue: "" });
/** Events of the queue that is looked at, the latest first. */
export const feed = signal([]);
/** Whether events come. */
export const isHearing = signal(false);

const series = new Map();
const SERVER_FIELDS = ["frames", "pushed", "pulled", "errors", "syncs", "sync_seconds_mean", "open", "recent_sync"];
export const serverSeries = new Series(600, SERVER_FIELDS, ["frames"]);

export const byName = computed(() => new Map((queues.value ?? []).map((info) => [info.queue, info])));
export const deadSources = computed(() => sourcesOf(queues.value ?? []));
/** The dead messages of a queue: those that stay in it, and dead letters, which lie ready in theirs. */
export function deadIn(info) {
  return info.dead + lettersIn(info);
}

/** The dead letters of a queue that others send theirs to. */
export function lettersIn(info) {
  return deadSources.value.has(info.queue) ? info.ready : 0;
}

export const troubles = computed(() => {
  void beat.value;
  return attention(queues.value ?? [], stats.value, (name) => outRate(name));
});

/** The figures of a queue over the last minutes. */
export function seriesOf(name) {
  let found = series.get(name);
  if (!found) series.set(name, (found = new Series()));
  return found;
}

/** Messages a second that leave a queue by being done, or by a pull without a lease. */
export function outRate(name) {
  const figures = seriesOf(name);
  const [pulled, acked] = [figures.rate("pulled"), figures.rate("acked")];
  return pulled === null ? null : pulled + acked;
}

/** The same at each moment, for a plot: null at the first. */
export function outRates(name) {
  const figures = seriesOf(name);
  const acked = figures.rates("acked");
  return figures.rates("pulled").map((pulled, index) => (pulled === null ? null : pulled + acked[index]));
}

/** Take figures of all queues. */
export function takeQueues(infos, at) {
  const names = new Set(infos.map((info) => info.queue));
  for (const name of series.keys()) if (!names.has(name)) series.delete(name);
  for (const info of infos) seriesOf(info.queue).add(at, info, info.created_at);
  batch(() => {
    queues.value = infos;
    takenAt.value = at;
    beat.value += 1;
  });
}

/** Take the server's figures. */
export function takeStats(figures, at) {
  const { requests, journal, connections } = figures;
  const sample = { ...requests, open: connections.open, syncs: journal?.syncs, sync_seconds_mean: journal?.sync_seconds_mean };
  serverSeries.add(at, sample, figures.server.epoch);
  serverSeries.values.recent_sync[serverSeries.length - 1] = serverSeries.recentMean("sync_seconds_mean", "syncs");
  stats.value = figures;
}

/** Whether who is signed in may use a verb. */
export function may(verb) {
  return session.value !== null && allows(session.value.role, verb);
}

/**
 * Make a request as who is signed in. One whose token is not taken any more is signed out.
 *
 * @throws {Problem}
 */
export async function call(method, path, options) {
  const token = session.value?.token;
  try {
    return await request(token, method, path, options);
  } catch (error) {
    if (error instanceof Problem && error.isSignedOut && session.value?.token === token) {
      leave("Your token is not taken any more: it has expired, or was revoked. Sign in again.");
    }
    throw error;
  }
}

/** Forget everything that belongs to who was signed in. */
export function leave(why) {
  batch(() => {
    session.value = null;
    farewell.value = why;
    queues.value = null;
    stats.value = null;
    feed.value = [];
    notes.value = [];
    link.value = { state: "starting", since: 0, retryAt: 0, text: "" };
  });
  series.clear();
  serverSeries.clear();
}

let noteId = 0;

/** Say something at the foot of the page for a while; problems stay until they are closed. */
export function note(text, kind = "good") {
  const id = (noteId += 1);
  notes.value = [...notes.value.slice(-3), { id, kind, text }];
  if (kind === "good") setTimeout(() => closeNote(id), 6000);
}

export function closeNote(id) {
  notes.value = notes.value.filter((each) => each.id !== id);
}

/** Say what went wrong, in words. */
export function noteProblem(error, doing) {
  note(`${doing}: ${inWords(error)}`, "bad");
}

/** A problem in words. */
export function inWords(error) {
  if (!(error instanceof Problem)) return String(error.message ?? error);
  if (error.status === 403) return `your role may not do this. ${sentence(error.detail)}`;
  if (error.isAway) return error.status === 0 ? "mqweb does not answer." : "mqd does not answer.";
  return `${sentence(error.detail || error.title)}${error.code ? ` (${error.code})` : ""}`;
}

function sentence(text) {
  return text ? text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".") : "";
}
