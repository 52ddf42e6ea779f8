// One queue: its figures, plots, every state of its messages, and what can be done to it.

import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { bytes, count, plural, rate, roughly, span } from "../format.js";
import { refresh } from "../live.js";
import { Plot, SPANS, WHOLE } from "../plots.js";
import { go, to } from "../router.js";
import { beat, byName, call, deadIn, deadSources, feed, lettersIn, may, note, noteProblem, outRate, queues, seriesOf, takenAt } from "../store.js";
import { Badge, Confirm, Empty, Figure, When, html } from "../ui.js";
import { DeadLetters } from "./dead.js";
import { Feed } from "./feed.js";
import { Leased } from "./leased.js";
import { MessageList } from "./messages.js";
import { PullForm } from "./pull.js";
import { PushForm } from "./push.js";
import { DeleteDialog } from "./queues.js";

const DEPTH = [
  { name: "ready", colour: "ready" },
  { name: "delayed", colour: "delayed", dash: [6, 3] },
  { name: "leased", colour: "leased" },
  { name: "dead", colour: "dead", dash: [2, 3] },
];
const RATES = [
  { name: "pushed", colour: "ready" },
  { name: "acked", colour: "leased" },
  { name: "pulled", colour: "delayed", dash: [6, 3] },
];

const AGE = [{ name: "oldest ready", colour: "accent" }];

export function QueuePage({ name, tab }) {
  void beat.value;
  const info = byName.value.get(name);
  const [wasThere] = useState(() => ({ yes: false }));
  if (info) wasThere.yes = true;
  if (!info) {
    if (queues.value === null) return html`<p class="loading" role="status">Loading …</p>`;
    return html`<${Back} /><h1 class="mono">${name}</h1><${Empty} title=${wasThere.yes ? "This queue has been deleted." : "There is no such queue."}>
      <a href=${to("queues")}>All queues</a></${Empty}>`;
  }
  return html`<${Back} /><${Title} info=${info} /><${Facts} info=${info} /><${Plots} name=${name} /><${Tabs} info=${info} tab=${tab} />
    <${Body} key=${tab} info=${info} tab=${tab} />`;
}

export function Back({ queue }) {
  return html`<nav class="back" aria-label="Where this is"><a href=${to("queues")}>Queues</a>${queue
    ? html` <span aria-hidden="true">/</span> <a class="mono" href=${to("queues", queue)}>${queue}</a>` : ""}</nav>`;
}

function Title({ info }) {
  const { queue } = info;
  const [dialog, setDialog] = useState(null);
  const close = () => setDialog(null);
  const sources = deadSources.value.get(queue);
  const toggle = async () => {
    const verb = info.is_paused ? "resume" : "pause";
    try {
      await call("POST", `/v1/queues/${queue}/${verb}`);
      note(info.is_paused ? "Messages are delivered again." : "Delivery is stopped; pushes go on.");
      refresh();
    } catch (error) {
      noteProblem(error, info.is_paused ? "Resume" : "Pause");
    }
  };
  return html`<div class="head"><h1><span class="mono">${queue}</span>
      ${info.is_paused && html` <${Badge} kind="warn">paused</${Badge}>`}
      ${sources && html` <${Badge}>dead letters of ${sources.slice(0, 3).join(", ")}</${Badge}>`}</h1>
    <div class="actions">
      ${may("PAUSE") && html`<button type="button" onClick=${toggle}>${info.is_paused ? "Resume" : "Pause"}</button>`}
      ${may("PURGE") && html`<button type="button" onClick=${() => setDialog("purge")}>Purge …</button>`}
      ${may("DELETE") && html`<button type="button" onClick=${() => setDialog("delete")}>Delete …</button>`}
    </div></div>
    ${dialog === "purge" && html`<${PurgeDialog} info=${info} onClose=${close} />`}
    ${dialog === "delete" && html`<${DeleteDialog} queue=${queue} onClose=${close} onDeleted=${() => go("queues")} />`}`;
}

function PurgeDialog({ info, onClose }) {
  const [state, setState] = useState(info.ready + info.delayed || !info.dead ? "waiting" : "dead");
  const purge = async () => {
    const { removed } = await call("POST", `/v1/queues/${info.queue}/purge`, { json: { state } });
    note(`${plural(removed, "message")} removed from ${info.queue}.`);
    refresh();
  };
  const choices = [["waiting", `those that wait: ${count(info.ready)} ready, ${count(info.delayed)} delayed`], ["dead", `those that are dead and stay in it: ${count(info.dead)}`]];
  return html`<${Confirm} title="Purge a queue" action="Remove them" typed=${info.queue} onDone=${purge} onClose=${onClose}>
    <fieldset class="choices"><legend>Which messages of <b class="mono">${info.queue}</b> are to go?</legend>
      ${choices.map(([value, words]) => html`<label key=${value}><input type="radio" name="state" value=${value} checked=${state === value} onChange=${() => setState(value)} />${words}</label>`)}</fieldset>
    <p>Messages under leases stay. This cannot be undone.</p></${Confirm}>`;
}

function Facts({ info }) {
  const series = seriesOf(info.queue);
  const letters = lettersIn(info);
  const words = letters === 1 ? "dead letter" : "dead letters";
  return html`<dl class="figures" aria-label="The queue's figures">
    <${Figure} name="Ready" kind="ready" value=${count(info.ready)} more=${bytes(info.bytes)} />
    <${Figure} name="Delayed" kind="delayed" value=${count(info.delayed)} />
    <${Figure} name="Leased" kind="leased" value=${count(info.leased)} />
    <${Figure} name="Dead" kind="dead" value=${count(deadIn(info))}
      more=${letters > 0 && (info.dead ? `${count(letters)} of them ${words}` : words)} title="a dead letter lies ready in its queue, and counts as both" />
    <${Figure} name="Oldest ready" value=${span(info.oldest_age_seconds)} title="how long the oldest ready message has been in the queue" />
    <${Figure} name="In /s" value=${rate(series.rate("pushed"))} title="pushed, over the last ten seconds" />
    <${Figure} name="Out /s" value=${rate(outRate(info.queue))} title="acknowledged, or pulled without a lease" />
    <${Figure} name="Waiting pulls" value=${count(info.waiting)} title="PULLs that wait for messages" />
  </dl>`;
}

function Plots({ name }) {
  const series = seriesOf(name);
  const depth = () => [series.at, ...DEPTH.map((line) => series.values[line.name])];
  const rates = () => [series.at, ...RATES.map((line) => series.rates(line.name))];
  const age = () => [series.at, series.values.oldest_age_seconds];
  return html`<div class="plots of-queue">
    <${Plot} title="Messages" lines=${DEPTH} take=${depth} mark=${takenAt.value} show=${count} steps=${WHOLE} />
    <${Plot} title="Messages a second" lines=${RATES} take=${rates} mark=${takenAt.value} show=${rate} />
    <${Plot} title="Age" lines=${AGE} take=${age} mark=${takenAt.value} show=${span} steps=${SPANS} />
  </div>`;
}

function Tabs({ info, tab }) {
  const row = useRef(null);
  useEffect(() => {
    const [line, here] = [row.current, row.current.querySelector("[aria-current]")];
    if (here) line.scrollLeft = here.offsetLeft - line.offsetLeft - 24;
  }, [tab]);
  const deadCount = deadIn(info);
  const tabs = [
    ["ready", "Ready", info.ready], ["delayed", "Delayed", info.delayed], ["leased", "Leased", info.leased], ["dead", "Dead letters", deadCount],
    ...(may("PUSH") ? [["push", "Push"]] : []), ...(may("PULL") ? [["pull", "Pull"]] : []), ["events", "Events"], ["options", "Options"],
  ];
  return html`<nav ref=${row} class="tabs" aria-label="Parts of the queue">${tabs.map(([name, words, number]) => html`<a key=${name}
    href=${to("queues", info.queue, name)} aria-current=${tab === name ? "page" : undefined}>${words}${number === undefined ? "" : html` <span class="number">${count(number)}</span>`}</a>`)}</nav>`;
}

function Body({ info, tab }) {
  if (tab === "leased") return html`<${Leased} info=${info} />`;
  if (tab === "dead") return html`<${DeadLetters} info=${info} />`;
  if (tab === "push" && may("PUSH")) return html`<${PushForm} queue=${info.queue} />`;
  if (tab === "pull" && may("PULL")) return html`<${PullForm} queue=${info.queue} />`;
  if (tab === "events") return html`<${Feed} events=${feed.value} queue=${info.queue} />`;
  if (tab === "options") return html`<${Options} info=${info} />`;
  return html`<${MessageList} info=${info} state=${tab === "delayed" ? "delayed" : "ready"} />`;
}

const COUNTERS = ["pushed", "pulled", "acked", "purged", "moved", "expired", "cancelled"];

function Options({ info }) {
  const options = Object.entries(info.options);
  const shown = (name, value) => (name.endsWith("_seconds") ? span(value) : name === "max_bytes" ? bytes(value) : typeof value === "number" ? count(value) : String(value));
  return html`<section class="columns" aria-label="Options and counters">
    <div><h2>Options</h2><dl class="pairs">${options.map(([name, value]) => html`<div key=${name}><dt class="mono">${name}</dt>
      <dd>${name === "dead_letter" ? html`<a class="mono" href=${to("queues", value)}>${value}</a>` : shown(name, value)}</dd></div>`)}</dl></div>
    <div><h2>Since it was created</h2><dl class="pairs"><div><dt>created</dt><dd><${When} at=${info.created_at} /></dd></div>
      ${COUNTERS.map((name) => html`<div key=${name}><dt>${name}</dt><dd>${count(info[name])}</dd></div>`)}
      <div><dt>oldest delayed</dt><dd>${roughly(info.oldest_delayed_age_seconds)}</dd></div>
      <div><dt>oldest leased</dt><dd>${roughly(info.oldest_leased_age_seconds)}</dd></div>
      <div><dt>oldest dead</dt><dd>${roughly(info.oldest_dead_age_seconds)}</dd></div></dl></div>
  </section>`;
}
