// All of the frame log is read on the server's machine: this page makes the command.

import { useState } from "../vendor/preact-hooks.js";
import { to } from "../router.js";
import { byName, may, stats } from "../store.js";
import { Copy, Field, html } from "../ui.js";

const VERBS = ["PUSH", "PULL", "ACK", "NACK", "REJECT", "EXTEND", "STEP", "CREATE", "DELETE", "PURGE", "PAUSE", "RESUME", "REDRIVE", "CANCEL", "PEEK", "STATUS"];
const AGES = [["10m", "10 minutes"], ["1h", "hour"], ["1d", "day"]];

export function LogPage() {
  const [said, setSaid] = useState({ follow: true });
  const set = (name) => (event) => setSaid({ ...said, [name]: event.target.type === "checkbox" ? event.target.checked : event.target.value });
  const { level, directory } = stats.value?.frame_log ?? {};
  const text = commandOf(said, directory);
  return html`<div class="head"><h1>Frame log</h1></div>
    <p>Every request and every reply is on record${level ? html` (level <b>${level}</b>)` : ""}, whole, with who and when. It holds the bodies of all messages: <b>read it on
      the server's machine</b>, as the account that runs mqd. ${may("FRAMES") ? html`Its newest frames are on <a href=${to("server")}>the server's page</a>, as they come.`
      : "Administrators also see its newest frames here, and in which directory it is; without that the command reads the log of the server of the address file."}</p>
    <form class="sheet" onSubmit=${(event) => event.preventDefault()} aria-label="Filters">
      <div class="grid">
        <${Field} label="Queue"><input value=${said.queue ?? ""} onInput=${set("queue")} list="log-queues" class="mono" autocomplete="off" /></${Field}>
        <${Field} label="Verb"><select value=${said.verb ?? ""} onChange=${set("verb")}><option value="">all</option>${VERBS.map((verb) => html`<option key=${verb}>${verb}</option>`)}</select></${Field}>
        <${Field} label="User"><input value=${said.user ?? ""} onInput=${set("user")} class="mono" autocomplete="off" /></${Field}>
        <${Field} label="Client's address" hint="has this in it"><input value=${said.peer ?? ""} onInput=${set("peer")} class="mono" autocomplete="off" /></${Field}>
        <${Field} label="Of the last"><select value=${said.since ?? ""} onChange=${set("since")}><option value="">all there is</option>${AGES.map(([age, words]) => html`<option key=${age} value=${age}>${words}</option>`)}</select></${Field}>
      </div>
      <datalist id="log-queues">${[...byName.value.keys()].slice(0, 200).map((name) => html`<option key=${name} value=${name} />`)}</datalist>
      <label class="check"><input type="checkbox" checked=${said.follow} onChange=${set("follow")} /> go on as the log grows</label>
      <label class="check"><input type="checkbox" checked=${said.json ?? false} onChange=${set("json")} /> as JSON, a frame a line</label>
      <div class="body"><div class="body-head"><h2>Command</h2><${Copy} text=${text} /></div><pre tabindex="0" aria-label="Command" aria-live="polite">${text}</pre></div></form>
    <p class="hint">What happens right now, without the bodies: a queue's page lists its events as they come.</p>`;
}

/** The command that reads the frame log in a directory, where that is known, with such filters. */
export function commandOf(said, directory) {
  const words = ["mqctl", "log"];
  if (directory) words.push(quoted(directory));
  for (const name of ["queue", "verb", "user", "peer", "since"]) if (said[name]?.trim()) words.push(`--${name}`, quoted(said[name].trim()));
  if (said.follow) words.push("--follow");
  if (said.json) words.push("--json");
  return words.join(" ");
}

function quoted(word) {
  return /^[\w.:@%+/-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
