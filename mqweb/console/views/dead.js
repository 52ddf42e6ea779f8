// Dead letters: what was said each time, and trying them again.

import { useState } from "../vendor/preact-hooks.js";
import { whyDead } from "../attention.js";
import { plural } from "../format.js";
import { refresh } from "../live.js";
import { to } from "../router.js";
import { beat, byName, call, changes, deadIn, deadSources, lettersIn, may, note } from "../store.js";
import { Ago, Alert, Badge, Confirm, Empty, Loaded, Pager, html, useAction, useLoaded } from "../ui.js";
import { Body, Headers, History } from "./body.js";
import { PAGE } from "./messages.js";

const AT_ONCE = 1000;

export function DeadLetters({ info }) {
  const { queue } = info;
  const [skip, setSkip] = useState(0);
  const [chosen, setChosen] = useState(new Set());
  const letters = useLoaded(() => call("GET", `/v1/queues/${queue}/dead`, { query: { skip, max: PAGE } }), [`${queue} ${skip}`, changes.value.count, Math.floor(beat.value / 2)]);
  const [busy, run, problem] = useAction(async (ids) => {
    const moved = await redriven(queue, ids);
    note(`${plural(moved, "message")} tried again.`);
    setChosen(new Set());
    refresh();
  });
  const choose = (id, isChosen) => {
    const next = new Set(chosen);
    if (isChosen) next.add(id);
    else next.delete(id);
    setChosen(next);
  };
  const total = deadIn(info);
  const [isAsking, setAsking] = useState(false);
  return html`<section aria-label="Dead letters"><${Target} info=${info} />
    ${isAsking && html`<${AllDialog} info=${info} onClose=${() => setAsking(false)} />`}
    <${Loaded} state=${letters}>${({ messages }) => (messages.length || skip
      ? html`${may("REDRIVE") && html`<div class="tools"><button type="button" disabled=${busy || !chosen.size} onClick=${() => run([...chosen])}>Redrive the chosen${chosen.size ? ` (${chosen.size})` : ""}</button>
          <button type="button" disabled=${busy} onClick=${() => setAsking(true)}>Redrive all …</button>
          <label><input type="checkbox" checked=${messages.length > 0 && messages.every((each) => chosen.has(each.id))}
            onChange=${(event) => setChosen(new Set(event.target.checked ? messages.map((each) => each.id) : []))} /> choose all shown</label></div>`}
        ${problem && html`<${Alert}>${problem}</${Alert}>`}
        <ul class="messages">${messages.map((each) => html`<${Letter} key=${each.id} queue=${queue} message=${each} isChosen=${chosen.has(each.id)} onChoose=${choose} />`)}</ul>
        <${Pager} skip=${skip} size=${PAGE} shown=${messages.length} total=${total} onSkip=${setSkip} />`
      : html`<${Empty} title="No dead letters here." />`)}</${Loaded}></section>`;
}

/** Asks before all are tried again: how many, and where they go. */
function AllDialog({ info, onClose }) {
  const { queue } = info;
  const [letters, sources] = [lettersIn(info), deadSources.value.get(queue) ?? []];
  const redrive = async () => {
    note(`${plural(await redriven(queue, null), "message")} tried again.`);
    refresh();
  };
  return html`<${Confirm} title="Redrive all" action="Redrive them" onDone=${redrive} onClose=${onClose}>
    <p>${letters > 0 && html`<b>${plural(letters, "dead letter goes", "dead letters go")}</b> back to where ${letters === 1 ? "it" : "they"} came from: <b class="mono">${sources.join(", ")}</b>. `}
      ${info.dead > 0 && html`<b>${plural(info.dead, "dead message becomes", "dead messages become")}</b> ready again in <b class="mono">${queue}</b>. `}
      What is redriven is worked on at once where somebody pulls.</p></${Confirm}>`;
}

/** Says where a queue's dead messages go, if they do not stay. */
function Target({ info }) {
  const target = info.options.dead_letter;
  if (!target) return null;
  const there = byName.value.get(target);
  return html`<p class="hint">Messages of this queue that die move to <a class="mono" href=${to("queues", target, "dead")}>${target}</a>${there ? ` (${plural(there.ready, "message")} there now)` : ""}.</p>`;
}

function Letter({ queue, message, isChosen, onChoose }) {
  const [open, setOpen] = useState(false);
  const { id, origin, history } = message;
  const last = history?.at(-1);
  return html`<li class="message dead"><div class="line">
      ${may("REDRIVE") && html`<input type="checkbox" checked=${isChosen} aria-label=${`Choose message ${id}`} onChange=${(event) => onChoose(id, event.target.checked)} />`}
      <button type="button" class="fold" aria-expanded=${open} aria-label=${`Show message ${id}`} onClick=${() => setOpen(!open)}><span aria-hidden="true">${open ? "▾" : "▸"}</span></button>
      <a href=${to("queues", queue, "messages", String(id))} class="mono id">#${id}</a>
      <code class="preview bad">${whyDead(message)}</code>
      <span class="marks">${last && html`<${Badge} kind="bad">${last.cause}</${Badge}>`}${origin && html`<${Badge}>from ${origin.queue} #${origin.id}</${Badge}>`}
        ${last && html`<small><${Ago} at=${last.ended_at} /> ago</small>`}</span></div>
    ${open && html`<div class="unfolded"><h3>What happened</h3><${History} history=${history} /><${Body} message=${message} /><${Headers} headers=${message.headers} /></div>`}</li>`;
}

/** Have dead messages tried again: those with the ids, or all. */
export async function redriven(queue, ids) {
  if (ids) return (await call("POST", `/v1/queues/${queue}/redrive`, { json: { ids } })).moved;
  let all = 0;
  for (;;) {
    const { moved } = await call("POST", `/v1/queues/${queue}/redrive`, { json: { max: AT_ONCE } });
    all += moved;
    if (moved < AT_ONCE) return all;
  }
}
