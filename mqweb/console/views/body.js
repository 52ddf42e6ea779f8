// Bodies, headers and histories of messages.

import { CAUSES } from "../attention.js";
import { bytes, cut, span } from "../format.js";
import { useState } from "../vendor/preact-hooks.js";
import { Badge, Copy, When, html } from "../ui.js";

const PREVIEW = 140;
const SHOWN = 4000;

/** A body in one line. */
export function preview(message) {
  const text = message.encoding === "base64" ? `${message.body.slice(0, PREVIEW)} (base64)` : asText(message);
  return cut(text.replace(/\s+/g, " "), PREVIEW);
}

function asText(message, indent) {
  if (message.encoding) return message.body;
  return JSON.stringify(message.body, null, indent);
}

/** All of a body. */
export function Body({ message, title = "Body" }) {
  const [all, setAll] = useState(false);
  const text = asText(message, 2);
  const kind = message.encoding === "base64" ? "bytes, shown in base64" : message.encoding === "text" ? "text" : "JSON";
  const isLong = text.length > SHOWN;
  return html`<div class="body"><div class="body-head"><h3>${title}</h3><span class="muted">${kind}, ${bytes(new Blob([text]).size)}</span><${Copy} text=${text} /></div>
    <pre tabindex="0" aria-label=${title}>${all ? text : cut(text, SHOWN)}</pre>
    ${isLong && html`<button type="button" class="quiet" onClick=${() => setAll(!all)}>${all ? "Show less" : "Show all"}</button>`}</div>`;
}

/** Headers, if there are any. */
export function Headers({ headers }) {
  const found = Object.entries(headers ?? {});
  if (!found.length) return null;
  return html`<div><h3>Headers</h3><dl class="pairs">${found.map(([name, value]) => html`<div key=${name}><dt class="mono">${name}</dt>
    <dd class="mono">${typeof value === "object" ? JSON.stringify(value) : String(value)}</dd></div>`)}</dl></div>`;
}

/** Who a history says that held a message. */
export function ownerOf(owner) {
  if (!owner) return "somebody";
  if (typeof owner === "string") return owner;
  const more = [owner.client, owner.host].filter(Boolean).join(" on ");
  return [owner.instance, more && `(${more})`].filter(Boolean).join(" ");
}

/** How the deliveries of a message have ended, the oldest first. */
export function History({ history }) {
  if (!history?.length) return null;
  return html`<ol class="history">${history.map((each, index) => html`<li key=${index}>
    <div class="entry"><${Badge} kind=${each.cause === "hand_back" ? "plain" : "bad"}>${CAUSES[each.cause] ?? each.cause}</${Badge}>
      <${When} at=${each.ended_at} /><span class="muted">after ${span(Math.max(0, each.ended_at - each.leased_at))} with</span>
      <span class="mono">${ownerOf(each.owner)}</span></div>
    ${each.reason && html`<pre tabindex="0" class="reason" aria-label="What its worker said">${each.reason}</pre>`}</li>`)}</ol>`;
}
