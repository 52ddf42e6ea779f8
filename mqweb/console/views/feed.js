// What happens in a queue, as it does.

import { plural } from "../format.js";
import { to } from "../router.js";
import { isHearing } from "../store.js";
import { Alert, Badge, Empty, When, html } from "../ui.js";

const KINDS = { dead: "bad", rejected: "bad", nacked: "warn", lost: "warn", expired: "warn", acked: "good", deleted: "bad" };

export function Feed({ events, queue }) {
  const words = isHearing.value ? "Listening: events are listed here as they come." : "Connecting to the event stream …";
  if (!events.length) return html`<${Empty} title="Nothing has happened since this page is open."><span role="status">${words}</span></${Empty}>`;
  return html`${!isHearing.value && html`<${Alert}>The event stream is interrupted; trying again. What happens meanwhile is not listed.</${Alert}>`}<ol class="feed" aria-label="Events, the latest first">${events.map((each, index) => html`<li key=${`${each.at}${each.kind}${events.length - index}`}>
    <${When} at=${each.at} /><${Badge} kind=${KINDS[each.kind] ?? "plain"}>${each.kind}</${Badge}><span><${What} event=${each} queue=${queue} /></span></li>`)}</ol>`;
}

/** Which messages, who, why. */
function What({ event, queue }) {
  const { runs = [], holder, cause, reason, moved_to: moved, words } = event;
  if (words) return words;
  const first = runs[0];
  const number = runs.reduce((sum, value, index) => sum + (index % 2 ? value : 0), 0);
  return html`${first !== undefined && html`<a class="mono" href=${to("queues", queue, "messages", String(first))}>#${first}</a>${number > 1 ? ` and ${plural(number - 1, "other")}` : ""} `}
    ${first === undefined && event.count !== undefined ? `${plural(event.count, "message")} ` : ""}
    ${holder && html`<span class="muted">${holder} </span>`}${moved && html`→ <a class="mono" href=${to("queues", moved)}>${moved}</a> `}
    ${cause && `${cause} `}${reason && html`<code>${reason.split("\n").filter(Boolean).at(-1)}</code>`}`;
}
