// One message: where it is, and all that is known of how it came there.

import { signal } from "../vendor/signals.js";
import { CAUSES, failuresOf, whyDead } from "../attention.js";
import { count, plural, span } from "../format.js";
import { go, to } from "../router.js";
import { beat, call, changes, deadSources, feed, may, note, noteProblem, now, session } from "../store.js";
import { refresh } from "../live.js";
import { Ago, Badge, Confirm, Figure, Loaded, When, html, useLoaded } from "../ui.js";
import { useState } from "../vendor/preact-hooks.js";
import { Body, Headers, History } from "./body.js";
import { redriven } from "./dead.js";
import { Left } from "./leased.js";
import { cancel } from "./messages.js";
import { Back } from "./queue.js";
import { Settle } from "./settle.js";

const KINDS = { ready: "ready", delayed: "delayed", leased: "leased", done: "good", dead: "bad", cancelled: "plain", gone: "plain", unknown: "plain" };
const MEANS = {
  ready: "It waits for somebody to pull it.",
  delayed: "It is kept back for a while.",
  leased: "Somebody works on it.",
  done: "It was acknowledged.",
  dead: "It is not tried again.",
  cancelled: "It was cancelled.",
  gone: "It is not there any more: pulled for good, purged, dropped or redriven; or it is done, and its queue keeps no results.",
  unknown: "No message of this queue has had this id.",
};

const seen = signal(null);

export function MessagePage({ queue, id }) {
  const mark = changes.value.queue === queue || !changes.value.queue ? changes.value.count : 0;
  const status = useLoaded(() => look(queue, Number(id)), [`${queue} ${id}`, mark, Math.floor(beat.value / 2)]);
  return html`<${Back} queue=${queue} /><${Loaded} state=${status}>${(found) => html`<${Message} queue=${queue} id=${Number(id)} found=${found} />`}</${Loaded}>`;
}

/** The status of a message, and its body and history where its queue still holds it. */
async function look(queue, id) {
  const status = await call("GET", `/v1/queues/${queue}/messages/${id}`);
  const message = await messageOf(queue, id, status);
  if (seen.value?.key !== `${queue} ${id}`) seen.value = { key: `${queue} ${id}`, message: null };
  if (message) seen.value = { ...seen.value, message };
  return { status, message: message ?? seen.value.message, isHeld: message !== null };
}

async function messageOf(queue, id, status) {
  const place = status.state === "dead" && status.moved_to ? status.moved_to : { queue, id };
  const state = place.queue !== queue ? "ready" : status.state;
  if (!["ready", "delayed", "leased", "dead"].includes(state)) return null;
  const { messages } = await call("GET", `/v1/queues/${place.queue}/messages`, { query: { id: place.id } });
  return messages[0] ?? null;
}

function Message({ queue, id, found }) {
  const { status, message, isHeld } = found;
  // One that has gone since its status was told may be a letter, if its queue is for them.
  const isLetter = status.state === "ready" && (message ? message.origin !== undefined : deadSources.value.has(queue));
  const letter = isLetter ? message : null;
  return html`<${Title} queue=${queue} id=${id} status=${status} isLetter=${isLetter} />
    <p class="means">${isLetter ? html`<${Origin} queue=${queue} message=${message} /> Nobody tries it again unless it is redriven.` : MEANS[status.state]}${status.is_cancelled ? " It is marked as cancelled: when it comes back it goes." : ""}
      ${status.moved_to && html` It is now <a class="mono" href=${to("queues", status.moved_to.queue, "messages", String(status.moved_to.id))}>${status.moved_to.queue} #${status.moved_to.id}</a>.`}</p>
    <${Facts} status=${status} letter=${letter} />
    ${status.state === "leased" && status.holder === `${session.value.user}~http` && may("ACK") && html`<section class="own"><h2>It is under your own lease</h2><${Settle} lease=${status.lease} ids=${[id]} /></section>`}
    <div class="columns"><section><h2>History</h2><${Timeline} queue=${queue} id=${id} status=${status} message=${message} /></section>
    <section>${status.result !== undefined && html`<${Body} title="Result" message=${{ body: status.result, encoding: status.result_encoding }} />`}
      ${message ? html`${!isHeld && html`<p class="hint">As it was when it was last seen here.</p>`}<${Body} message=${message} /><${Headers} headers=${message.headers} />`
      : html`<p class="hint">Its body is not there any more.</p>`}</section></div>`;
}

/** Whose dead letter a message is, and how it died. */
function Origin({ queue, message }) {
  if (!message) return `Its queue is for the dead letters of ${deadSources.value.get(queue).join(", ")}.`;
  const { origin, history } = message;
  const cause = history?.at(-1)?.cause;
  const why = whyDead(message);
  return html`It is a dead letter of <a class="mono" href=${to("queues", origin.queue)}>${origin.queue}</a>, where it was <span class="mono">#${origin.id}</span>${cause
    ? html`. It died there: <b>${CAUSES[cause] ?? cause}</b>${why === CAUSES[cause] ? "" : html` (<span class="mono">${why}</span>)`}.` : `; ${why}.`}`;
}

function Title({ queue, id, status, isLetter }) {
  const isDead = isLetter || status.state === "dead";
  const [dialog, setDialog] = useState(false);
  const isOpen = ["ready", "delayed", "leased"].includes(status.state) && !status.is_cancelled;
  const redrive = async () => {
    const there = status.moved_to ?? { queue, id };
    try {
      const moved = await redriven(there.queue, [there.id]);
      note(moved ? "It is tried again." : "It was not there any more.");
      refresh();
      if (moved && status.state !== "dead") go("queues", queue, "dead");
      else if (moved && status.moved_to) go("queues", queue, "ready");
    } catch (error) {
      noteProblem(error, "Redrive");
    }
  };
  return html`<div class="head"><h1><span class="mono">#${id}</span> <${Badge} kind=${KINDS[status.state] ?? "plain"}>${status.state}</${Badge}>${isLetter && html` <${Badge} kind="bad">dead letter</${Badge}>`}</h1>
    <div class="actions">${isOpen && may("CANCEL") && html`<button type="button" onClick=${() => setDialog(true)}>Cancel it …</button>`}
      ${isDead && may("REDRIVE") && html`<button type="button" class="primary" onClick=${redrive}>Redrive it</button>`}</div></div>
    ${dialog && html`<${Confirm} title="Cancel a message" action="Cancel the message" onDone=${() => cancel(queue, id)} onClose=${() => setDialog(false)}>
      <p>${status.state === "leased" ? "Its holder is told when it asks next, and it is not tried again." : "It is removed from the queue."}</p></${Confirm}>`}`;
}

function Facts({ status, letter }) {
  const { position, due_at: due, deliveries, attempts, losses, leased_at: since, deadline_at: until } = status;
  const who = [status.user, status.client, status.host || status.peer].filter(Boolean).join(", ");
  return html`<dl class="figures" aria-label="Where it is">
    ${position !== undefined && html`<${Figure} name="Before it" value=${count(position)} title="messages that would be delivered before it" />`}
    ${due !== undefined && html`<${Figure} name="Ready in" value=${span(Math.max(0, Math.round(due - now.value)))} more=${html`<${When} at=${due} />`} />`}
    ${status.holder && html`<${Figure} name="Held by" value=${html`<span class="mono">${status.holder}</span>`} more=${who} />`}
    ${since !== undefined && html`<${Figure} name="Held for" value=${html`<${Ago} at=${since} />`} />`}
    ${until !== undefined && html`<${Figure} name="Time left" value=${html`<${Left} from=${since} until=${until} />`} />`}
    ${deliveries !== undefined && html`<${Figure} name="Deliveries" value=${count(deliveries)} />
      <${Figure} name="Failures" value=${count((attempts ?? 0) + (letter ? failuresOf(letter) : 0))} more=${letter && `in ${letter.origin.queue}`} />
      <${Figure} name="Lost workers" value=${count((losses ?? 0) + (letter?.origin.losses ?? 0))} more=${letter && `in ${letter.origin.queue}`} />`}
    ${status.cause && html`<${Figure} name="Cause" value=${CAUSES[status.cause] ?? status.cause} />`}
    ${status.ended_at !== undefined && html`<${Figure} name="Ended" value=${html`<${Ago} at=${status.ended_at} />`} more="ago" />`}
  </dl>`;
}

/** All that is known, the oldest first. */
function Timeline({ queue, id, status, message }) {
  const history = message?.history ?? [];
  const heard = feed.value.filter((each) => (each.runs ?? []).some((first, index, runs) => index % 2 === 0 && first <= id && id < first + runs[index + 1])).reverse();
  const nothing = !history.length && !heard.length && !message?.origin && !status.error;
  return html`<ol class="timeline">
    ${message?.origin && html`<li>pushed to <a class="mono" href=${to("queues", message.origin.queue)}>${message.origin.queue}</a> as <span class="mono">#${message.origin.id}</span>, <${When} at=${message.origin.pushed_at} /></li>`}
    ${nothing && html`<li class="muted">${status.state === "unknown" ? "Nothing is known of it." : "Nothing has gone wrong with it so far."}</li>`}</ol>
    <${History} history=${history} />
    ${!history.length && status.error && html`<pre tabindex="0" class="reason" aria-label="What its worker said">${status.error}</pre>`}
    ${heard.length > 0 && html`<h3>Since this page is open</h3><ol class="feed">${heard.map((each, index) => html`<li key=${index}><${When} at=${each.at} /><${Badge} kind=${each.kind === "dead" || each.kind === "rejected" ? "bad" : "plain"}>${each.kind}</${Badge}>
      <span class="muted">${each.holder ?? ""}</span></li>`)}</ol>`}
    ${status.state === "leased" && html`<p class="hint">Held by <span class="mono">${status.holder}</span> for <${Ago} at=${status.leased_at} /> now; ${plural(status.deliveries ?? 1, "delivery", "deliveries")} so far.</p>`}`;
}
