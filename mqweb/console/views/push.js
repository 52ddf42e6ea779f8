// A form that pushes a message.

import { useRef, useState } from "../vendor/preact-hooks.js";
import { plural } from "../format.js";
import { refresh } from "../live.js";
import { to } from "../router.js";
import { call } from "../store.js";
import { Alert, Field, html, useAction } from "../ui.js";

const NUMBERS = ["priority", "delay", "ttl", "max_attempts", "max_worker_losses"];

export function PushForm({ queue }) {
  const [encoding, setEncoding] = useState("json");
  const [pushed, setPushed] = useState(null);
  const element = useRef(null);
  const [busy, run, problem] = useAction(async (form) => {
    setPushed(null);
    const key = form.get("key");
    const headers = key ? { "Idempotency-Key": key } : {};
    setPushed(await call("POST", `/v1/queues/${queue}/messages`, { text: documentOf(form), headers }));
    refresh();
    element.current?.querySelector("textarea")?.select();
  });
  const submit = (event) => {
    event.preventDefault();
    run(new FormData(event.target));
  };
  const hints = { json: "a JSON document, carried as it stands here", text: "text that is no JSON", base64: "bytes, in base64" };
  return html`<form class="sheet" ref=${element} onSubmit=${submit} aria-label="Push a message">
    <${Field} label="Body" hint=${hints[encoding]}><textarea name="body" rows="6" class="mono" spellcheck=${false} required=${encoding === "json"}
      placeholder=${encoding === "json" ? '{"lr": 0.1}' : ""}></textarea></${Field}>
    <div class="grid">
      <${Field} label="It is"><select name="encoding" value=${encoding} onChange=${(event) => setEncoding(event.target.value)}>
        <option value="json">JSON</option><option value="text">text</option><option value="base64">bytes (base64)</option></select></${Field}>
      <${Field} label="Priority" hint="0 to 255; higher ones first, else 128"><input name="priority" type="number" min="0" max="255" /></${Field}>
      <${Field} label="Delay" hint="seconds"><input name="delay" type="number" min="0" step="any" /></${Field}>
      <${Field} label="Waits at most" hint="seconds"><input name="ttl" type="number" min="0" step="any" /></${Field}>
      <${Field} label="Attempts" hint="instead of the queue's"><input name="max_attempts" type="number" min="1" /></${Field}>
      <${Field} label="Key" hint="pushed once, however often it is sent"><input name="key" maxlength="128" autocomplete="off" /></${Field}>
    </div>
    <${Field} label="Headers" hint="a JSON object"><input name="headers" class="mono" placeholder='{"source": "console"}' autocomplete="off" spellcheck=${false} /></${Field}>
    ${problem && html`<${Alert}>${problem}</${Alert}>`}
    <footer><button class="primary" disabled=${busy}>Push</button>
      <span role="status">${pushed && html`${pushed.is_repeat ? "Its key was known: nothing was pushed again. It is " : `${plural(pushed.count, "message")} pushed, ${pushed.durability}: `}
        <a class="mono" href=${to("queues", queue, "messages", String(pushed.first))}>#${pushed.first}</a>`}</span></footer>
  </form>`;
}

/** The request, with a JSON body as it was written: no digit of it is changed. */
function documentOf(form) {
  const encoding = form.get("encoding");
  const body = form.get("body");
  const options = {};
  if (encoding !== "json") options.encoding = encoding;
  for (const name of NUMBERS) if (form.get(name)) options[name] = Number(form.get(name));
  if (form.get("headers").trim()) options.headers = parsed(form.get("headers"), "The headers are");
  if (encoding === "json") parsed(body, "The body is");
  const rest = JSON.stringify(options).slice(1);
  return `{"body": ${encoding === "json" ? body : JSON.stringify(body)}${rest === "}" ? "" : ", "}${rest}`;
}

function parsed(text, what) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${what} no JSON: ${error.message}.`);
  }
}
