// Who holds messages of a queue, and until when.

import { useState } from "../vendor/preact-hooks.js";
import { count, span } from "../format.js";
import { beat, call, changes, may, now, session } from "../store.js";
import { Ago, Badge, Empty, Loaded, Pager, html, useLoaded } from "../ui.js";
import { to } from "../router.js";
import { PAGE, Row, usePeeked } from "./messages.js";
import { Settle } from "./settle.js";

export function Leased({ info }) {
  const [skip, setSkip] = useState(0);
  const peeked = usePeeked(info.queue, "leased", skip);
  const holders = useLoaded(() => call("GET", "/v1/holders", { query: { pattern: info.queue } }), [info.queue, changes.value.count, beat.value]);
  return html`<section aria-label="Leases">
    <h2>Leases</h2><${Loaded} state=${holders}>${(told) => html`<${Holders} holders=${told.holders} />`}</${Loaded}>
    <h2>Messages under leases</h2><${Loaded} state=${peeked}>${({ messages }) => (messages.length || skip
      ? html`<ul class="messages">${messages.map((each) => html`<${Row} key=${each.id} queue=${info.queue} message=${each} />`)}</ul>
        <${Pager} skip=${skip} size=${PAGE} shown=${messages.length} total=${info.leased} onSkip=${setSkip} />`
      : html`<${Empty} title="Nobody holds a message." />`)}</${Loaded}></section>`;
}

/** A table of leases. */
export function Holders({ holders, withQueue = false }) {
  const [open, setOpen] = useState(null);
  if (!holders.length) return html`<${Empty} title="Nobody holds a lease." />`;
  const isMine = (each) => each.holder === `${session.value.user}~http` && may("ACK");
  return html`<table class="list" role="table"><caption class="hidden">Leases</caption><thead role="rowgroup"><tr role="row">
      ${withQueue && html`<th scope="col" role="columnheader">Queue</th>`}<th scope="col" role="columnheader">Holder</th><th scope="col" role="columnheader">Host</th>
      <th scope="col" role="columnheader">Client</th><th scope="col" role="columnheader" class="right">Messages</th><th scope="col" role="columnheader">Held for</th><th scope="col" role="columnheader">Time left</th>
      <th scope="col" role="columnheader"><span class="hidden">Actions</span></th></tr></thead>
    <tbody role="rowgroup">${holders.map((each) => html`<tr role="row" key=${each.lease}>
      ${withQueue && html`<td role="cell" data-label="Queue"><a class="mono" href=${to("queues", each.queue, "leased")}>${each.queue}</a></td>`}
      <td role="cell" data-label="Holder"><span class="mono">${each.holder}</span> <${Connection} holder=${each} /></td>
      <td role="cell" data-label="Host">${each.host || each.peer}</td><td role="cell" data-label="Client">${each.client || "–"}</td>
      <td role="cell" data-label="Messages" class="right">${count(each.count)}</td><td role="cell" data-label="Held for"><${Ago} at=${each.leased_at} /></td>
      <td role="cell" data-label="Time left"><${Left} from=${each.leased_at} until=${each.deadline_at} /></td>
      <td role="cell" class="actions">${isMine(each) && html`<button type="button" class="quiet" aria-expanded=${open === each.lease} onClick=${() => setOpen(open === each.lease ? null : each.lease)}>Settle …</button>`}
        ${open === each.lease && isMine(each) && html`<${Settle} lease=${each.lease} onDone=${() => setOpen(null)} />`}</td></tr>`)}</tbody></table>`;
}

function Connection({ holder }) {
  if (holder.is_connected || holder.is_detached || holder.holder.includes("~")) return null;
  return html`<${Badge} kind="warn" title="its messages come back when its time of grace is over">not connected</${Badge}>`;
}

/** What is left of a lease. */
export function Left({ from, until }) {
  const all = Math.max(1, until - from);
  const left = Math.min(all, Math.max(0, until - now.value)); // clocks differ a little
  const share = left / all;
  return html`<span class="left"><meter min="0" max="1" low="0.2" value=${share} aria-hidden="true"></meter> ${left > 0 ? span(Math.round(left)) : "over"}</span>`;
}
