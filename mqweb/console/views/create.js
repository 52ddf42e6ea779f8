// A form for a new queue, with all options; what is left empty is as the server has it.

import { refresh } from "../live.js";
import { go } from "../router.js";
import { byName, call, note } from "../store.js";
import { Alert, Dialog, Field, html, useAction } from "../ui.js";

const NAME = "[A-Za-z0-9_][A-Za-z0-9._\\-]{0,127}";

/** [name, label, hint, least, step] of numbers; words for choices. */
const GROUPS = [
  ["When a worker fails", [
    { name: "max_attempts", label: "Attempts", hint: "failures after which a message is dead", min: 1 },
    { name: "max_worker_losses", label: "Lost workers", hint: "after which it is dead", min: 1 },
    { name: "dead_letter", label: "Dead-letter queue", hint: "made if it is missing; empty: dead messages stay", text: true },
    { name: "backoff", label: "Back-off", hint: "how the delay before another attempt grows", choices: ["none", "fixed", "linear", "exponential"] },
    { name: "backoff_seconds", label: "First delay", hint: "seconds", min: 0, step: "any" },
    { name: "backoff_cap_seconds", label: "Longest delay", hint: "seconds", min: 0, step: "any" },
    { name: "backoff_jitter", label: "Jitter", hint: "0 to 1: a part of the delay that is random", min: 0, max: 1, step: "any" },
  ]],
  ["How much, and how safe", [
    { name: "max_messages", label: "Most messages", min: 1 },
    { name: "max_bytes", label: "Most bytes", min: 1 },
    { name: "max_leased", label: "Most leased at a time", hint: "a cap on work under way", min: 1 },
    { name: "durability", label: "OK means", choices: ["synced", "written", "accepted"], words: { synced: "synced: on the disk", written: "written: in the kernel", accepted: "accepted: in memory" } },
  ]],
  ["Time", [
    { name: "ttl_seconds", label: "Messages wait at most", hint: "seconds", min: 0, step: "any" },
    { name: "on_expiry", label: "Then they are", choices: ["drop", "dead_letter"], words: { drop: "dropped", dead_letter: "dead letters" } },
    { name: "keep_results_seconds", label: "Results are kept", hint: "seconds after a message is done", min: 0, step: "any" },
    { name: "dedupe_seconds", label: "Keys are known", hint: "seconds: a push with the same key changes nothing", min: 0, step: "any" },
    { name: "expires_seconds", label: "The queue goes when unused for", hint: "seconds", min: 0, step: "any" },
  ]],
];
const NUMBERS = new Set(GROUPS.flatMap(([, fields]) => fields.filter((field) => !field.text && !field.choices).map((field) => field.name)));

export function CreateDialog({ onClose }) {
  const [busy, run, problem] = useAction(async (form) => {
    const made = await call("POST", "/v1/queues", { json: optionsOf(form) });
    note(`The queue ${made.queue} is there.`);
    refresh();
    onClose();
    go("queues", made.queue);
  });
  const submit = (event) => {
    event.preventDefault();
    run(new FormData(event.target));
  };
  const others = [...byName.value.keys()].slice(0, 200);
  return html`<${Dialog} title="Create a queue" onClose=${onClose} wide>
    <form onSubmit=${submit}>
      <${Field} label="Name" hint="letters, digits, . _ and -"><input data-first name="queue" required pattern=${NAME} maxlength="128" autocomplete="off" spellcheck=${false} class="mono" /></${Field}>
      <p class="hint">What is left empty is as the server has it.</p>
      ${GROUPS.map(([title, fields], index) => html`<details key=${title} open=${index === 0}><summary>${title}</summary>
        <div class="grid">${fields.map((field) => html`<${Option} key=${field.name} field=${field} />`)}</div></details>`)}
      <datalist id="queue-names">${others.map((name) => html`<option key=${name} value=${name} />`)}</datalist>
      ${problem && html`<${Alert}>${problem}</${Alert}>`}
      <footer><button type="button" onClick=${onClose}>Cancel</button><button class="primary" disabled=${busy}>Create</button></footer>
    </form></${Dialog}>`;
}

function Option({ field }) {
  const { name, label, hint, choices, words, text, min, max, step } = field;
  if (choices) {
    return html`<${Field} label=${label} hint=${hint}><select name=${name}><option value="">as the server has it</option>
      ${choices.map((each) => html`<option key=${each} value=${each}>${words?.[each] ?? each}</option>`)}</select></${Field}>`;
  }
  if (text) return html`<${Field} label=${label} hint=${hint}><input name=${name} list="queue-names" pattern=${NAME} autocomplete="off" class="mono" /></${Field}>`;
  return html`<${Field} label=${label} hint=${hint}><input name=${name} type="number" inputmode="decimal" min=${min} max=${max} step=${step ?? 1} /></${Field}>`;
}

/** What a form says, without what it does not. */
function optionsOf(form) {
  const options = {};
  for (const [name, value] of form.entries()) {
    if (value !== "") options[name] = NUMBERS.has(name) ? Number(value) : value;
  }
  return options;
}
