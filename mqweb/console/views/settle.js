// Settles a lease of the user's own: done, failed, never again, or more time.

import { useState } from "../vendor/preact-hooks.js";
import { plural } from "../format.js";
import { refresh } from "../live.js";
import { call, note } from "../store.js";
import { Alert, Field, html, useAction } from "../ui.js";

const WAYS = {
  ack: ["Done (ack)", (number) => `${plural(number, "message")} done.`],
  nack: ["Failed (nack)", (number) => `${plural(number, "message")} came back as failed.`],
  hand_back: ["Hand back", (number) => `${plural(number, "message")} handed back.`],
  reject: ["Never again (reject)", (number) => `${plural(number, "message")} dead.`],
};

/** Buttons for a lease, or for some of its messages. */
export function Settle({ lease, ids, onDone }) {
  const [reason, setReason] = useState("");
  const [busy, run, problem] = useAction(async (way) => {
    const verb = way === "hand_back" ? "nack" : way;
    const json = { ids, ...(way === "ack" ? {} : { reason }), ...(way === "hand_back" ? { hand_back: true } : {}) };
    const { count } = await call("POST", `/v1/leases/${lease}/${verb}`, { json });
    note(WAYS[way][1](count));
    refresh();
    onDone?.(way);
  });
  const [extending, extend, refused] = useAction(async () => {
    const { cancelled } = await call("POST", `/v1/leases/${lease}/extend`, { json: { seconds: 60 } });
    note(cancelled.length ? `A minute more; cancelled meanwhile: ${cancelled.join(", ")}.` : "A minute more, from now.");
    refresh();
  });
  return html`<div class="settle"><${Field} label="Reason" hint="for what failed: a traceback, if there is one"><textarea rows="3" value=${reason}
      onInput=${(event) => setReason(event.target.value)} spellcheck=${false}></textarea></${Field}>
    <div class="buttons">${Object.entries(WAYS).map(([way, [words]]) => html`<button key=${way} type="button" disabled=${busy} onClick=${() => run(way)}>${words}</button>`)}
      ${!ids && html`<button type="button" disabled=${extending} onClick=${extend}>One more minute</button>`}</div>
    ${(problem || refused) && html`<${Alert}>${problem || refused}</${Alert}>`}</div>`;
}
