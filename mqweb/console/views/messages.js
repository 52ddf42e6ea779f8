// Messages of one state, a page of them at a time.

import { useState } from "../vendor/preact-hooks.js";
import { plural, span } from "../format.js";
import { refresh } from "../live.js";
import { to } from "../router.js";
import { beat, call, changes, may, note, noteProblem, now } from "../store.js";
import { Badge, Empty, Loaded, Pager, When, html, useLoaded } from "../ui.js";
import { Body, Headers, History, preview } from "./body.js";

export const PAGE = 20;

const NOTHING = {
  ready: "No message is ready.",
  delayed: "No message is kept back.",
  leased: "Nobody holds a message.",
};

/** A page of messages, looked at again when something happens in the queue. */
export function usePeeked(queue, state, skip) {
  const mark = changes.value.queue === queue || changes.value.queue === "" ? changes.value.count : 0;
  return useLoaded(
    () => call("GET", `/v1/queues/${queue}/messages`, { query: { state, skip, max: PAGE } }),
    [`${queue} ${state} ${skip}`, mark, Math.floor(beat.value / 2)],
  );
}

export function MessageList({ info, state }) {
  const [skip, setSkip] = useState(0);
  const peeked = usePeeked(info.queue, state, skip);
  return html`<section aria-label=${`${state} messages`}>
    <${Loaded} state=${peeked}>${({ messages }) => (messages.length || skip
      ? html`<ul class="messages">${messages.map((each) => html`<${Row} key=${each.id} queue=${info.queue} message=${each} />`)}</ul>
        <${Pager} skip=${skip} size=${PAGE} shown=${messages.length} total=${info[state]} onSkip=${setSkip} />`
      : html`<${Empty} title=${NOTHING[state]}>${may("PUSH") && state === "ready" ? html`<a href=${to("queues", info.queue, "push")}>Push one</a>` : null}</${Empty}>`)}</${Loaded}></section>`;
}

export function Row({ queue, message }) {
  const [open, setOpen] = useState(false);
  const { id, state } = message;
  return html`<li class="message"><div class="line">
      <button type="button" class="fold" aria-expanded=${open} aria-label=${`Show message ${id}`} onClick=${() => setOpen(!open)}><span aria-hidden="true">${open ? "▾" : "▸"}</span></button>
      <a href=${to("queues", queue, "messages", String(id))} class="mono id">#${id}</a>
      <code class="preview">${preview(message)}</code>
      <span class="marks"><${Marks} message=${message} /></span>
      ${may("CANCEL") && state !== "dead" && html`<button type="button" class="quiet" aria-label=${`Cancel message ${id}`} onClick=${() => cancel(queue, id)}>Cancel</button>`}</div>
    ${open && html`<div class="unfolded"><${Body} message=${message} /><${Headers} headers=${message.headers} /><${History} history=${message.history} /></div>`}</li>`;
}

function Marks({ message }) {
  const { attempts, losses, due_at: due, deadline_at: deadline, origin, priority } = message;
  return html`${origin && html`<${Badge}>from ${origin.queue}</${Badge}>`}
    ${priority !== undefined && html`<${Badge}>priority ${priority}</${Badge}>`}
    ${attempts > 0 && html`<${Badge} kind="warn">${plural(attempts, "failure")}</${Badge}>`}
    ${losses > 0 && html`<${Badge} kind="warn">${plural(losses, "lost worker")}</${Badge}>`}
    ${due && html`<span>ready <${When} at=${due} /> <small>in ${span(Math.max(0, Math.round(due - now.value)))}</small></span>`}
    ${deadline && html`<span>${message.holder} <small>${span(Math.max(0, Math.round(deadline - now.value)))} left</small></span>`}`;
}

/** Cancel a message, and say what came of it. */
export async function cancel(queue, id) {
  try {
    const { removed, marked } = await call("DELETE", `/v1/queues/${queue}/messages/${id}`);
    note(removed ? `Message ${id} is cancelled.` : marked ? `Message ${id} is marked: its holder is told, and it is not tried again.` : `Message ${id} had come to its end already.`);
    refresh();
  } catch (error) {
    noteProblem(error, "Cancel");
  }
}
