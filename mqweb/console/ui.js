// Parts that the pages are made of.

import { cloneElement, h } from "./vendor/preact.js";
import { useEffect, useId, useRef, useState } from "./vendor/preact-hooks.js";
import htm from "./vendor/htm.js";
import { count, fullMoment, moment, roughly } from "./format.js";
import { polyline, thinned } from "./series.js";
import { inWords, now } from "./store.js";

export const html = htm.bind(h);

/** A dialog: has the focus while it is open, and gives it back. */
export function Dialog({ title, onClose, children, wide = false }) {
  const element = useRef(null);
  const id = useId();
  useEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog.showModal();
    dialog.querySelector("[data-first]")?.focus();
    return () => {
      if (dialog.open) dialog.close();
      before?.focus?.();
    };
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`<dialog ref=${element} class=${wide ? "wide" : ""} aria-labelledby=${id} onCancel=${cancel}>
    <header><h2 id=${id}>${title}</h2>
      <button type="button" class="quiet" onClick=${onClose} aria-label="Close">✕</button></header>
    ${children}
  </dialog>`;
}

/** Asks before something that cannot be undone; where `typed` is given it has to be typed. */
export function Confirm({ title, children, action, typed, onDone, onClose }) {
  const [said, setSaid] = useState("");
  const [busy, run, problem] = useAction(async () => {
    await onDone();
    onClose();
  });
  const submit = (event) => {
    event.preventDefault();
    run();
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form onSubmit=${submit}>
      ${children}
      ${typed && html`<${Field} label=${html`Type <b class="mono">${typed}</b> to go on`}>
        <input data-first value=${said} onInput=${(event) => setSaid(event.target.value)}
          autocomplete="off" spellcheck=${false} /></${Field}>`}
      ${problem && html`<${Alert}>${problem}</${Alert}>`}
      <footer><button type="button" onClick=${onClose} data-first=${typed ? undefined : true}>Cancel</button>
        <button class="danger" disabled=${busy || (typed && said !== typed)}>${action}</button></footer>
    </form>
  </${Dialog}>`;
}

/** A field with its label, and words that explain it. */
export function Field({ label, hint, children }) {
  const id = useId();
  const hintId = `${id}-hint`;
  const field = cloneElement(children, { id, "aria-describedby": hint ? hintId : undefined });
  return html`<div class="field"><label class="label" for=${id}>${label}</label>${field}
    ${hint && html`<span class="hint" id=${hintId}>${hint}</span>`}</div>`;
}

/** Something that went wrong, said at once. */
export function Alert({ children }) {
  return html`<p class="alert" role="alert"><span aria-hidden="true">▲ </span>${children}</p>`;
}

/** What stands where there is nothing. */
export function Empty({ title, children }) {
  return html`<div class="empty"><p class="empty-title">${title}</p>${children && html`<p>${children}</p>`}</div>`;
}

/** A word with a colour; the word alone says it too. */
export function Badge({ kind = "plain", children, title }) {
  return html`<span class=${`badge ${kind}`} title=${title}>${children}</span>`;
}

/** A moment, with all of it in a title. */
export function When({ at }) {
  return html`<time title=${fullMoment(at)}>${moment(at, now.value)}</time>`;
}

/** How long ago something was, counted on as time passes. */
export function Ago({ at }) {
  return at ? html`<time title=${fullMoment(at)}>${roughly(Math.max(0, now.value - at))}</time>` : "–";
}

/** A figure with its name. */
export function Figure({ name, value, more, kind = "", href, title }) {
  return html`<div class="figure" title=${title}><dt>${kind && html`<i class=${`dot ${kind}`} aria-hidden="true"></i>`}${name}</dt>
    <dd>${href ? html`<a href=${href}>${value}</a>` : value}${more && html` <small>${more}</small>`}</dd></div>`;
}

/** A line of the last minutes, as small as a word; `show` makes its numbers readable for `label`. */
export function Spark({ values, label, show, least, width = 64, height = 22 }) {
  const known = values.filter((value) => value !== null);
  const points = polyline(thinned(known, width), width, height - 2, least);
  const words = `${label} over the last minutes: now ${show(known.at(-1) ?? 0)}, at most ${show(known.reduce((top, value) => Math.max(top, value), 0))}`;
  return html`<svg class="spark" role="img" aria-label=${words} viewBox=${`0 -1 ${width} ${height}`} preserveAspectRatio="none">
    ${points && html`<polygon points=${`0,${height - 2} ${points} ${width},${height - 2}`} /><polyline points=${points} />`}
  </svg>`;
}

/** The states of a queue's messages as one bar; the numbers stand beside it. */
export function StateBar({ info }) {
  const all = info.ready + info.delayed + info.leased + info.dead;
  let x = 0;
  const parts = ["ready", "delayed", "leased", "dead"].map((state) => {
    const width = all ? (100 * info[state]) / all : 0;
    const part = html`<rect class=${state} x=${x} width=${width} y="0" height="4" />`;
    x += width;
    return part;
  });
  return html`<svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">${parts}</svg>`;
}

/** Runs something on a click, once at a time: [is it running, run it, what went wrong]. */
export function useAction(action) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const run = async (...given) => {
    if (busy) return;
    setBusy(true);
    setProblem("");
    try {
      await action(...given);
    } catch (error) {
      setProblem(inWords(error));
    } finally {
      setBusy(false);
    }
  };
  return [busy, run, problem];
}

/** Loads something, and again when `marks` change: {data, problem, isLoading, reload}. */
export function useLoaded(load, marks) {
  const [state, setState] = useState({ data: null, problem: "", isLoading: true });
  const [again, setAgain] = useState(0);
  const key = marks[0];
  const shown = useRef(key);
  useEffect(() => {
    let isOver = false;
    if (shown.current !== key) {
      shown.current = key;
      setState({ data: null, problem: "", isLoading: true });
    }
    load().then(
      (data) => isOver || setState({ data, problem: "", isLoading: false }),
      (error) => isOver || setState((before) => ({ ...before, problem: inWords(error), isLoading: false })),
    );
    return () => (isOver = true);
  }, [...marks, again]);
  return { ...state, reload: () => setAgain((number) => number + 1) };
}

/** What is shown while something is loaded, or instead of it. */
export function Loaded({ state, children }) {
  if (state.problem && !state.data) return html`<${Alert}>${state.problem}</${Alert}>`;
  if (state.data === null) return html`<p class="loading" role="status">Loading …</p>`;
  return html`${state.problem && html`<${Alert}>${state.problem}</${Alert}>`}${children(state.data)}`;
}

/** Buttons to the pages of a list. */
export function Pager({ skip, size, shown, total, onSkip }) {
  if (skip === 0 && shown < size) return null;
  const end = skip + shown;
  return html`<nav class="pager" aria-label="Pages of the list">
    <button type="button" disabled=${skip === 0} onClick=${() => onSkip(Math.max(0, skip - size))}>Earlier</button>
    <span>${shown ? `${count(skip + 1)} to ${count(end)}` : "none"}${total === undefined ? "" : ` of ${count(total)}`}</span>
    <button type="button" disabled=${shown < size || end === total} onClick=${() => onSkip(end)}>Later</button>
  </nav>`;
}

/** Copies a text. */
export function Copy({ text, label = "Copy" }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
      setTimeout(() => setDone(false), 2000);
    } catch {
      setDone(false);
    }
  };
  return html`<button type="button" class="quiet" onClick=${copy}>${done ? "Copied" : label}</button>`;
}
