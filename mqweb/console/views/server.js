// The server: what it keeps its promises on, how fast, and who is connected.

import { bytes, count, moment, plural, rate, roughly, span } from "../format.js";
import { Plot } from "../plots.js";
import { beat, call, changes, may, note, queues, serverSeries, session, stats, takenAt, troubles } from "../store.js";
import { Alert, Badge, Empty, Figure, Loaded, When, html, useAction, useLoaded } from "../ui.js";
import { to } from "../router.js";
import { Frames } from "./frames.js";
import { Holders } from "./leased.js";

const RATES = [{ name: "frames", colour: "accent" }, { name: "pushed", colour: "ready", dash: [6, 3] }, { name: "pulled", colour: "leased", dash: [2, 3] }];
const LATENCY = [{ name: "mean", colour: "delayed" }];

export function ServerPage() {
  void beat.value;
  const told = stats.value;
  return html`<div class="head"><h1>Server</h1></div>
    ${told === null ? html`<p class="loading" role="status">Loading …</p>` : html`<${Troubles} /><${Overview} told=${told} /><${Plots} />
      <div class="cards"><${Storage} told=${told} /><${Snapshots} told=${told} /><${Connections} told=${told} /><${FrameLog} log=${told.frame_log} /><${Versions} told=${told} /></div>`}
    <${AllHolders} />${may("FRAMES") && told?.frame_log && html`<${Frames} />`}`;
}

function Troubles() {
  const found = troubles.value.filter((each) => each.page === "server" && !each.queue);
  return found.map((each) => html`<${Alert} key=${each.what}><b>${each.what}</b>: ${each.why}</${Alert}>`);
}

function Overview({ told }) {
  const { server, connections, requests, journal } = told;
  return html`<dl class="figures" aria-label="The server's figures">
    <${Figure} name="Up for" value=${roughly(server.uptime_seconds)} more=${`since ${moment(server.started_at)}`} />
    <${Figure} name="Queues" value=${count(queues.value?.length)} href=${to("queues")} />
    <${Figure} name="Connections" value=${count(connections.open)} more=${`of ${count(connections.limit)}`} />
    <${Figure} name="Frames /s" value=${rate(serverSeries.rate("frames"))} />
    <${Figure} name="Errors /s" value=${rate(serverSeries.rate("errors"))} more=${`${count(requests.errors)} in all`} title="requests that were refused" />
    ${journal && html`<${Figure} name="Sync" value=${span(serverSeries.last("recent_sync") || journal.sync_seconds_mean)} more=${`longest ${span(journal.sync_seconds_max)}`} title="how long the disk took, on average, for the last syncs" />`}
  </dl>`;
}

function Plots() {
  const frames = () => [serverSeries.at, ...RATES.map((line) => serverSeries.rates(line.name))];
  const latency = () => [serverSeries.at, serverSeries.values.recent_sync];
  return html`<div class="plots"><${Plot} title="A second" lines=${RATES} take=${frames} mark=${takenAt.value} show=${rate} />
    <${Plot} title="Sync latency" lines=${LATENCY} take=${latency} mark=${takenAt.value} show=${span} nothing="no syncs seen in the last minutes" /></div>`;
}

function Card({ title, children }) {
  return html`<section class="card"><h2>${title}</h2>${children}</section>`;
}

function Pairs({ of }) {
  return html`<dl class="pairs">${of.filter(Boolean).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function Storage({ told }) {
  const { journal, recovery } = told;
  if (!journal) return html`<${Card} title="Storage"><${Empty} title="This server keeps nothing on a disk." /></${Card}>`;
  return html`<${Card} title="Storage"><${Pairs} of=${[
    ["OK means", html`<b>${journal.durability}</b>`],
    ["state", journal.is_full ? html`<${Badge} kind="bad">the disk is full</${Badge}>` : html`<${Badge} kind="good">sound</${Badge}>`],
    ["on the disk", `${bytes(journal.bytes)} in ${plural(journal.segments, "segment")}, snapshot and reserve included`],
    ["left on that disk", html`${bytes(journal.disk_free_bytes)} of ${bytes(journal.disk_bytes)}${journal.disk_free_bytes < journal.bytes && html` <${Badge} kind="warn">nearly full</${Badge}>`}`],
    ["not yet written", bytes(journal.backlog_bytes)],
    ["written", `${bytes(journal.written_bytes)} in ${plural(journal.batches, "batch", "batches")}`],
    ["syncs", `${count(journal.syncs)}, ${span(journal.sync_seconds_mean)} on average, ${span(journal.sync_seconds_max)} at most`],
    recovery && ["the last start", recovery.decision],
    recovery && ["it read", `${plural(recovery.records, "record")} (${bytes(recovery.read_bytes)}) in ${span(recovery.seconds)}${recovery.cut_bytes ? `, and cut ${bytes(recovery.cut_bytes)}` : ""}`],
  ]} /></${Card}>`;
}

function Snapshots({ told }) {
  const snapshot = told.snapshot;
  const [busy, run, problem] = useAction(async () => {
    const made = await call("POST", "/v1/snapshot", { seconds: 600 });
    note(`Snapshot ${made.number}: ${plural(made.records, "record")}, ${bytes(made.bytes)} in ${span(made.seconds)}.`);
  });
  if (!snapshot) return null;
  return html`<${Card} title="Snapshots"><${Pairs} of=${[
    ["the last one", snapshot.number ? `number ${snapshot.number}, ${roughly(snapshot.age_seconds)} ago` : "none since the start"],
    snapshot.number > 0 && ["it holds", `${plural(snapshot.records, "record")}, ${bytes(snapshot.bytes)}; made in ${span(snapshot.seconds)}`],
    ["made since the start", count(snapshot.made)],
    ["failed", snapshot.failed ? html`<${Badge} kind="bad">${count(snapshot.failed)}</${Badge}>` : "0"],
    ["now", snapshot.is_running ? "one is being made" : "none is being made"],
  ]} />${may("SNAPSHOT") && html`<button type="button" disabled=${busy} onClick=${() => run()}>${busy ? "Making it …" : "Make one now"}</button>`}
    ${problem && html`<${Alert}>${problem}</${Alert}>`}</${Card}>`;
}

function Connections({ told: { connections, requests } }) {
  return html`<${Card} title="Connections"><${Pairs} of=${[
    ["open", `${count(connections.open)} of ${count(connections.limit)}`], ["opened since the start", count(connections.opened)],
    ["refused", connections.refused ? html`<${Badge} kind="warn">${count(connections.refused)}</${Badge}>` : "0"],
    ["frames", count(requests.frames)], ["errors", count(requests.errors)], ["pushed", plural(requests.pushed, "message")], ["pulled", plural(requests.pulled, "message")],
  ]} /></${Card}>`;
}

function FrameLog({ log }) {
  if (!log) return html`<${Card} title="Frame log"><${Empty} title="This server keeps no frame log." /></${Card}>`;
  const state = log.is_failing ? ["bad", "not written"] : log.is_behind ? ["warn", "clients wait for its disk"] : ["good", "written"];
  return html`<${Card} title="Frame log"><${Pairs} of=${[
    ["level", log.level], ["state", html`<${Badge} kind=${state[0]}>${state[1]}</${Badge}>`],
    ["on the disk", `${bytes(log.bytes)} in ${plural(log.files, "file")}`], ["not yet written", bytes(log.backlog_bytes)],
    ["lost", log.lost_records ? html`<${Badge} kind="bad">${plural(log.lost_records, "record")}</${Badge}>` : "nothing"],
  ]} /><p>${may("FRAMES") && html`<a href=${to("server")} onClick=${toFrames}>Its newest frames</a> · `}<a href=${to("log")}>How to read all of it</a></p></${Card}>`;
}

/** Bring the frames into view, which stand on this page, and take the keyboard there. */
function toFrames(event) {
  const frames = document.getElementById("frames");
  if (!frames) return;
  event.preventDefault();
  frames.scrollIntoView();
  frames.focus({ preventScroll: true });
}

function Versions({ told: { server } }) {
  const who = session.value;
  return html`<${Card} title="Versions"><${Pairs} of=${[
    ["mqd", server.version], ["protocol", who.protocol], ["epoch", html`<span title="grows with each start, and is the first part of leases">${server.epoch}</span>`],
    ["started", html`<${When} at=${server.started_at} />`], ["largest body", bytes(who.max_body_bytes)], ["the interface", html`<a href="/docs">/docs</a>, <a href="/redoc">/redoc</a>`],
  ]} /></${Card}>`;
}

function AllHolders() {
  const holders = useLoaded(() => call("GET", "/v1/holders", { query: { max: 200 } }), ["holders", changes.value.count, beat.value]);
  return html`<section aria-label="Who holds leases"><h2>Who holds leases</h2><${Loaded} state=${holders}>${(told) => html`<${Holders} holders=${told.holders} withQueue />
    ${told.holders.length >= 200 && html`<p class="hint">The 200 oldest; those of a queue stand on its page.</p>`}`}</${Loaded}></section>`;
}
