// A form that pulls messages: under a lease, to be settled here, or for good.

import { useState } from "../vendor/preact-hooks.js";
import { plural } from "../format.js";
import { refresh } from "../live.js";
import { to } from "../router.js";
import { call } from "../store.js";
import { Alert, Empty, Field, html, useAction } from "../ui.js";
import { Body, Headers, History } from "./body.js";
import { Left } from "./leased.js";
import { Settle } from "./settle.js";

export function PullForm({ queue }) {
  const [way, setWay] = useState("lease");
  const [pulled, setPulled] = useState(null);
  const [busy, run, problem] = useAction(async (form) => {
    setPulled(null);
    const query = { max: form.get("max"), wait: form.get("wait"), lease: form.get("lease") };
    const seconds = Number(query.wait || 0) + 30;
    const told = await call("POST", `/v1/queues/${queue}/pull`, { query, seconds });
    setPulled(told ? { ...told, at: Date.now() / 1000 } : { messages: [] });
    refresh();
  });
  const submit = (event) => {
    event.preventDefault();
    run(new FormData(event.target));
  };
  return html`<form class="sheet" onSubmit=${submit} aria-label="Pull messages">
      <fieldset class="choices"><legend>How</legend>
        <label><input type="radio" name="way" checked=${way === "lease"} onChange=${() => setWay("lease")} />under a lease: they come back unless they are settled in time</label>
        <label><input type="radio" name="way" checked=${way === "remove"} onChange=${() => setWay("remove")} />for good: they are removed from the queue, and shown here once</label></fieldset>
      <div class="grid">
        <${Field} label="Messages"><input name="max" type="number" min="1" max="100" value="1" required /></${Field}>
        <${Field} label="Wait" hint="seconds for something to come"><input name="wait" type="number" min="0" max="60" step="any" value="0" /></${Field}>
        ${way === "lease" && html`<${Field} label="Lease" hint="seconds"><input name="lease" type="number" min="1" step="any" value="60" required /></${Field}>`}
      </div>
      ${problem && html`<${Alert}>${problem}</${Alert}>`}
      <footer><button class=${way === "lease" ? "primary" : "danger"} disabled=${busy}>${busy ? "Pulling …" : way === "lease" ? "Pull" : "Pull and remove"}</button></footer></form>
    <div role="status">${pulled && !pulled.messages.length && html`<${Empty} title="There was nothing to pull." />`}</div>
    ${pulled?.messages.length > 0 && html`<${Pulled} queue=${queue} pulled=${pulled} onSettled=${() => setPulled(null)} />`}`;
}

function Pulled({ queue, pulled, onSettled }) {
  const { lease, messages } = pulled;
  return html`<section class="pulled" aria-label="What was pulled"><h2>${plural(messages.length, "message")} ${lease ? "under a lease" : "removed"}
      ${lease && html` <small><${Left} from=${pulled.at} until=${pulled.at + lease.seconds} /></small>`}</h2>
    ${lease && html`<${Settle} lease=${lease.id} onDone=${onSettled} />`}
    ${messages.map((each) => html`<article key=${each.id}><h3><a class="mono" href=${to("queues", queue, "messages", String(each.id))}>#${each.id}</a></h3>
      <${Body} message=${each} /><${Headers} headers=${each.headers} /><${History} history=${each.history} /></article>`)}</section>`;
}
