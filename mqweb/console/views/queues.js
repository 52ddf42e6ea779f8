// All queues: what needs attention first, then a line for each.

import { signal } from "../vendor/signals.js";
import { useState } from "../vendor/preact-hooks.js";
import { count, plural, rate, roughly } from "../format.js";
import { refresh } from "../live.js";
import { to } from "../router.js";
import { beat, call, deadIn, deadSources, lettersIn, may, note, outRate, outRates, queues, seriesOf, stats, troubles } from "../store.js";
import { Badge, Confirm, Empty, Figure, Spark, StateBar, html } from "../ui.js";
import { CreateDialog } from "./create.js";

const SHOWN = 100;
const SHOWN_TROUBLES = 6;
/** A plot of rates is as high as this, where there were none larger: messages a second. */
const LEAST_RATE = 0.1;

const filter = signal("");
const order = signal({ by: "queue", down: false });

const COLUMNS = [
  ["queue", "Queue", (info) => info.queue],
  ["ready", "Ready", (info) => info.ready],
  ["delayed", "Delayed", (info) => info.delayed],
  ["leased", "Leased", (info) => info.leased],
  ["dead", "Dead", deadIn],
  ["age", "Oldest ready", (info) => info.oldest_age_seconds ?? -1],
  ["in", "In /s", (info) => seriesOf(info.queue).rate("pushed") ?? -1],
  ["out", "Out /s", (info) => outRate(info.queue) ?? -1],
];

export function QueuesPage() {
  const [dialog, setDialog] = useState(null);
  const close = () => setDialog(null);
  return html`<div class="head"><h1>Queues</h1>
      ${may("CREATE") && html`<button type="button" class="primary" onClick=${() => setDialog({ is: "create" })}>Create a queue</button>`}</div>
    <${Troubles} />
    <${Totals} />
    <${Table} onDelete=${(queue) => setDialog({ is: "delete", queue })} onCreate=${() => setDialog({ is: "create" })} />
    ${dialog?.is === "create" && html`<${CreateDialog} onClose=${close} />`}
    ${dialog?.is === "delete" && html`<${DeleteDialog} queue=${dialog.queue} onClose=${close} />`}`;
}

/** What is stuck, why, and for how long. */
function Troubles() {
  const [all, setAll] = useState(false);
  if (queues.value === null) return null;
  const found = troubles.value;
  if (!found.length) {
    return queues.value.length ? html`<p class="calm"><span aria-hidden="true">✓ </span>Nothing needs attention.</p>` : null;
  }
  const shown = all ? found : found.slice(0, SHOWN_TROUBLES);
  return html`<section class=${`troubles ${found[0].level}`} aria-labelledby="troubles-title">
    <h2 id="troubles-title">Needs attention <span class="number">${found.length}</span></h2>
    <ul>${shown.map((each) => html`<li key=${`${each.queue}${each.what}`} class=${each.level}>
      <span class="mark" aria-hidden="true">${each.level === "bad" ? "▲" : "●"}</span>
      <a href=${each.queue ? to("queues", each.queue, each.page ?? "ready") : to(each.page)} class="mono">${each.queue ?? "server"}</a>
      ${" "}<b>${each.what}</b> <span class="why">${each.why}</span></li>`)}</ul>
    ${found.length > SHOWN_TROUBLES && html`<button type="button" class="quiet" onClick=${() => setAll(!all)}>${all ? "Fewer" : `All ${found.length}`}</button>`}
  </section>`;
}

function Totals() {
  void beat.value;
  const infos = queues.value;
  if (!infos?.length) return null;
  const sum = (name) => infos.reduce((total, info) => total + info[name], 0);
  const rates = stats.value?.rates;
  const letters = infos.reduce((total, info) => total + lettersIn(info), 0);
  return html`<dl class="figures" aria-label="All queues together">
    <${Figure} name="Ready" kind="ready" value=${count(sum("ready"))} />
    <${Figure} name="Delayed" kind="delayed" value=${count(sum("delayed"))} />
    <${Figure} name="Leased" kind="leased" value=${count(sum("leased"))} />
    <${Figure} name="Dead" kind="dead" value=${count(sum("dead") + letters)} more=${letters > 0 && plural(letters, "dead letter")}
      title="a dead letter lies ready in its queue, and counts as both"  />
    <${Figure} name="Waiting pulls" value=${count(sum("waiting"))} title="PULLs that wait for messages" />
    ${rates && html`<${Figure} name="Pushed /s" value=${rate(rates.pushed)} title="over the last minute" />
    <${Figure} name="Pulled /s" value=${rate(rates.pulled)} title="over the last minute" />`}
  </dl>`;
}

function Table({ onDelete, onCreate }) {
  const [most, setMost] = useState(SHOWN);
  void beat.value;
  if (queues.value === null) return html`<p class="loading" role="status">Loading …</p>`;
  if (!queues.value.length) {
    return html`<${Empty} title="There are no queues yet.">
      ${may("CREATE") ? html`<button type="button" onClick=${onCreate}>Create the first one</button>` : "An administrator can create one."}</${Empty}>`;
  }
  const found = arranged(queues.value);
  return html`<div class="tools">
      <label class="search"><span class="hidden">Filter by name</span>
        <input type="search" placeholder="Filter by name" value=${filter.value} onInput=${(event) => (filter.value = event.target.value)} /></label>
      <${OrderChoice} />
      <span class="muted" role="status">${filter.value ? `${count(found.length)} of ${plural(queues.value.length, "queue")}` : plural(found.length, "queue")}</span></div>
    ${found.length ? html`<table class="queues" role="table"><caption class="hidden">Queues</caption>
      <thead role="rowgroup"><tr role="row">${COLUMNS.map((column) => html`<${Head} key=${column[0]} column=${column} />`)}
        <th scope="col" role="columnheader">Messages</th>${may("DELETE") && html`<th scope="col" role="columnheader"><span class="hidden">Actions</span></th>`}</tr></thead>
      <tbody role="rowgroup">${found.slice(0, most).map((info) => html`<${Row} key=${info.queue} info=${info} onDelete=${onDelete} />`)}</tbody></table>`
    : html`<${Empty} title="No queue has such a name."><button type="button" onClick=${() => (filter.value = "")}>Show all</button></${Empty}>`}
    ${found.length > most && html`<p><button type="button" onClick=${() => setMost(most + SHOWN)}>Show more (${count(found.length - most)} left)</button></p>`}`;
}

function arranged(infos) {
  const words = filter.value.trim().toLowerCase();
  const found = words ? infos.filter((info) => info.queue.toLowerCase().includes(words)) : [...infos];
  const value = COLUMNS.find(([name]) => name === order.value.by)[2];
  const sign = order.value.down ? -1 : 1;
  return found.sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    return sign * (a < b ? -1 : a > b ? 1 : 0) || (one.queue < other.queue ? -1 : 1);
  });
}

function orderBy(name) {
  const isSame = order.value.by === name;
  order.value = { by: name, down: isSame ? !order.value.down : name !== "queue" };
}

function Head({ column: [name, words] }) {
  const isBy = order.value.by === name;
  return html`<th scope="col" role="columnheader" class=${name === "queue" ? "" : "right"} aria-sort=${isBy ? (order.value.down ? "descending" : "ascending") : undefined}>
    <button type="button" class="sort" onClick=${() => orderBy(name)}>${words}<span aria-hidden="true">${isBy ? (order.value.down ? " ↓" : " ↑") : ""}</span></button></th>`;
}

/** The same for narrow windows, where there are no heads of columns. */
function OrderChoice() {
  return html`<label class="order-choice">Order <select value=${order.value.by} onChange=${(event) => {
    const by = event.target.value;
    order.value = { by, down: by !== "queue" };
  }}>${COLUMNS.map(([name, words]) => html`<option key=${name} value=${name}>${words}</option>`)}</select></label>`;
}

function Row({ info, onDelete }) {
  const { queue } = info;
  const series = seriesOf(queue);
  const depth = series.sums(["ready", "delayed", "leased"]);
  const sources = deadSources.value.get(queue);
  const cell = (label, value, kind = "", spark = "") => html`<td role="cell" class=${`right ${value === "0" || value === "–" ? "nil" : kind}`} data-label=${label}>${spark
    ? html`<span class="with-spark">${spark}<span>${value}</span></span>` : value}</td>`;
  const spark = (words, values, show, least) => html`<${Spark} label=${`${words} ${queue}`} values=${values} show=${show} least=${least} />`;
  return html`<tr role="row">
    <th scope="row" role="rowheader"><a href=${to("queues", queue)} class="mono">${queue}</a>
      ${info.is_paused && html` <${Badge} kind="warn">paused</${Badge}>`}
      ${sources && html` <${Badge} title=${`dead letters of ${sources.join(", ")}`}>dead letters</${Badge}>`}
      <${StateBar} info=${info} /></th>
    ${cell("Ready", count(info.ready), "t-ready")}${cell("Delayed", count(info.delayed), "t-delayed")}
    ${cell("Leased", count(info.leased), "t-leased")}${cell("Dead", count(deadIn(info)), "t-dead")}
    ${cell("Oldest ready", roughly(info.oldest_age_seconds), "", spark("age of the oldest ready message in", series.values.oldest_age_seconds, roughly))}
    ${cell("In /s", rate(series.rate("pushed")), "", spark("messages a second into", series.rates("pushed"), rate, LEAST_RATE))}
    ${cell("Out /s", rate(outRate(queue)), "", spark("messages a second out of", outRates(queue), rate, LEAST_RATE))}
    <td role="cell" class="spark-cell" data-label="Messages">${spark("messages in", depth, count)}</td>
    ${may("DELETE") && html`<td role="cell" class="actions"><button type="button" class="quiet" aria-label=${`Delete the queue ${queue}`} onClick=${() => onDelete(queue)}>Delete</button></td>`}
  </tr>`;
}

/** Asks for the name once more, and deletes a queue. */
export function DeleteDialog({ queue, onClose, onDeleted }) {
  const info = queues.value?.find((each) => each.queue === queue);
  const held = info ? info.ready + info.delayed + info.leased + info.dead : 0;
  const remove = async () => {
    const { removed } = await call("DELETE", `/v1/queues/${queue}`);
    note(`${queue} is deleted, with ${plural(removed, "message")}.`);
    refresh();
    onDeleted?.();
  };
  return html`<${Confirm} title="Delete a queue" action="Delete it" typed=${queue} onDone=${remove} onClose=${onClose}>
    <p>The queue <b class="mono">${queue}</b> goes, with ${held ? html`its <b>${plural(held, "message")}</b>` : "no messages"}, its results and its leases.
      Workers that hold any are told that their lease is lost. This cannot be undone.</p></${Confirm}>`;
}
