// The newest frames of the frame log, as they come: what clients send, and what they are answered.

import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { bytes, clock, count, cut, fullMoment, plural, span } from "../format.js";
import { byName, call, inWords } from "../store.js";
import { Alert, Badge, Copy, Empty, Field, html } from "../ui.js";

const EVERY_SECONDS = 2;
const HIDDEN_SECONDS = 20;
const SOON_MS = 300; // typing goes on for so long before it is looked for
const AT_ONCE = 100;
const KEPT = 200;
const SHOWN = 4000;
const VERBS = ["PUSH", "PULL", "ACK", "NACK", "REJECT", "EXTEND", "STEP", "CREATE", "DELETE", "PURGE", "PAUSE", "RESUME", "REDRIVE", "CANCEL", "PEEK", "STATUS", "AUTH", "ISSUE", "REVOKE"];
const KINDS = [["", "all"], ["in", "requests"], ["out", "replies"], ["errors", "refusals"]];
const FIRST = { changes: true };

export function Frames() {
  const [said, setSaid] = useState(FIRST);
  const [isFollowing, setFollowing] = useState(true);
  const tail = useTail(said, isFollowing);
  const [open, setOpen] = useState(null);
  const unfold = (frame) => {
    setOpen(open === frame.key ? null : frame.key);
    if (open !== frame.key) setFollowing(false);
  };
  return html`<section class="frames" id="frames" tabindex="-1" aria-label="Frames">
    <div class="head"><h2>Frames, as they come</h2><div class="actions"><span role="status" class="muted">${isFollowing ? "following" : "paused"}</span>
      <button type="button" onClick=${() => setFollowing(!isFollowing)}>${isFollowing ? "Pause" : "Go on"}</button></div></div>
    <${Filters} said=${said} onSay=${setSaid} frames=${tail.frames} />
    ${tail.problem && html`<${Alert}>${tail.problem}</${Alert}>`}
    ${tail.frames.length ? html`<ol class="messages tail" tabindex="0" role="list" aria-label="Frames, the latest first">${tail.frames.map((each) => (each.frame === undefined
      ? html`<li key=${each.key} class="gap muted">${each.words}</li>` : html`<${Row} key=${each.key} frame=${each} isOpen=${open === each.key} onFold=${() => unfold(each)} />`))}</ol>`
      : html`<${Empty} title=${tail.isLoading ? "Loading …" : "No frame like that is among the newest."} />`}
    <p class="hint">The newest come first; ${count(KEPT)} are kept here. To open one pauses the list. ${tail.level === "headers" ? "The log holds no bodies (its level is headers). " : ""}Passwords and tokens are never in it, nor is what asks for these frames.</p></section>`;
}

function Filters({ said, onSay, frames }) {
  const set = (name) => (event) => onSay({ ...said, [name]: event.target.type === "checkbox" ? event.target.checked : event.target.value.trim() });
  const users = [...new Set(frames.map((each) => each.user).filter(Boolean))].slice(0, 50);
  const text = (name) => html`<input value=${said[name] ?? ""} onInput=${set(name)} class="mono" autocomplete="off" spellcheck=${false} />`;
  return html`<form class="filters" onSubmit=${(event) => event.preventDefault()} aria-label="Which frames"><div class="grid">
      <${Field} label="Queue"><input value=${said.queue ?? ""} onInput=${set("queue")} list="frames-queues" class="mono" autocomplete="off" spellcheck=${false} /></${Field}>
      <${Field} label="Verb"><select value=${said.verb ?? ""} onChange=${set("verb")}><option value="">all</option>${VERBS.map((verb) => html`<option key=${verb}>${verb}</option>`)}</select></${Field}>
      <${Field} label="Kind"><select value=${said.kind ?? ""} onChange=${set("kind")}>${KINDS.map(([value, words]) => html`<option key=${value} value=${value}>${words}</option>`)}</select></${Field}>
      <${Field} label="Code">${text("code")}</${Field}>
      <${Field} label="User"><input value=${said.user ?? ""} onInput=${set("user")} list="frames-users" class="mono" autocomplete="off" spellcheck=${false} /></${Field}>
      <${Field} label="Client's address">${text("peer")}</${Field}>
      <${Field} label="Connection">${html`<input type="number" min="0" value=${said.connection ?? ""} onInput=${set("connection")} />`}</${Field}></div>
    <datalist id="frames-queues">${[...byName.value.keys()].slice(0, 200).map((name) => html`<option key=${name} value=${name} />`)}</datalist>
    <datalist id="frames-users">${users.map((name) => html`<option key=${name} value=${name} />`)}</datalist>
    <div class="tools"><label class="check"><input type="checkbox" checked=${said.changes} onChange=${set("changes")} /> leave out what only looks</label>
      <button type="button" class="quiet" onClick=${() => onSay(FIRST)}>Clear the filters</button></div></form>`;
}

function Row({ frame, isOpen, onFold }) {
  const { direction, verb, queue, code, user, source, destination, seconds } = frame;
  const isIn = direction === "in";
  const peer = isIn ? source : destination;
  const isBad = code !== null && code !== "OK" && code !== "EVENT";
  return html`<li class="message"><div class="line">
      <button type="button" class="fold" aria-expanded=${isOpen} aria-label=${`Show ${isIn ? "the request" : "the reply"} of ${clock(frame.at)}`} onClick=${onFold}><span aria-hidden="true">${isOpen ? "▾" : "▸"}</span></button>
      <time class="mono" title=${fullMoment(frame.at)}>${clock(frame.at)}</time>
      <span class="way">${isIn ? html`<span aria-hidden="true">→ </span><span class="hidden">request </span>` : html`<span aria-hidden="true">← </span><span class="hidden">reply to </span>`}<b>${verb ?? "?"}</b></span>
      ${code !== null && html`<${Badge} kind=${isBad ? "bad" : "plain"}>${code}</${Badge}>`}
      <span class="mono queue">${queue ?? ""}</span>
      <code class="preview">${frame.frame === null ? "(not decodable)" : cut(rest(frame), 300)}</code>
      <span class="marks">${user && html`<b>${user}</b>`}<span class="muted mono" title=${`connection ${frame.connection}`}>${peer}</span>${seconds !== null && html`<small title="from the request to this reply">${seconds < 0.0005 ? "<0.5 ms" : span(seconds)}</small>`}</span></div>
    ${isOpen && html`<${Whole} frame=${frame} />`}</li>`;
}

/** What stands in a frame behind its verb and id, or its id and OK, and the queue that is shown anyway. */
function rest({ frame, queue }) {
  const values = frame.slice(frame[2] === queue ? 3 : 2);
  return values.map((each) => JSON.stringify(each)).join(" ");
}

function Whole({ frame }) {
  const text = JSON.stringify(frame.frame, null, 2);
  return html`<div class="unfolded"><dl class="pairs">
      <div><dt>when</dt><dd class="mono">${frame.time}</dd></div><div><dt>from, to</dt><dd class="mono">${frame.source} → ${frame.destination}</dd></div>
      <div><dt>connection</dt><dd>${String(frame.connection)}${frame.user && html`, as <b>${frame.user}</b>`}</dd></div><div><dt>size</dt><dd>${bytes(frame.bytes)}</dd></div></dl>
    <div class="body"><div class="body-head"><h3>Frame</h3><${Copy} text=${text} /></div><pre tabindex="0" aria-label="Frame">${cut(text, SHOWN)}</pre></div></div>`;
}

/** The query for what a form says. */
export function queryFor({ kind, changes, ...said }) {
  const ways = { in: { direction: "in" }, out: { direction: "out" }, errors: { errors: true } };
  return { ...said, ...(changes && { changes }), ...ways[kind] };
}

/** What is kept of frames, the latest first, when an answer has come; and a line for what is not told. */
export function joined(before, answer) {
  const { frames, missed, cut: over } = answer;
  const told = frames.map((each, place) => ({ ...each, key: `${each.number} ${place} ${each.time}` })).reverse();
  const lines = gapOf(before.length > 0, missed, over);
  const gap = lines ? [{ key: `gap ${answer.last}`, words: lines }] : [];
  return [...told, ...gap, ...before].slice(0, KEPT);
}

function gapOf(isLater, missed, over) {
  if (!isLater) return "";
  if (missed === null) return "Here mqd was started anew.";
  const words = [missed && `${plural(missed, "read or write", "reads and writes")} went by too quickly, or are too large, to be shown`, over && `${plural(over, "more frame")} would be here`];
  const found = words.filter(Boolean).join("; ");
  return found && `${found}: the log's files have them.`;
}

/** Follow the log while `isFollowing`: begins anew when something else is looked for. */
function useTail(said, isFollowing) {
  const [state, setState] = useState({ frames: [], problem: "", isLoading: true, level: "" });
  const last = useRef(undefined);
  const query = queryFor(said);
  const key = JSON.stringify(query);
  const shown = useRef(key);
  useEffect(() => {
    let isOver = false;
    let timer;
    const isOther = shown.current !== key;
    if (isOther) {
      shown.current = key;
      last.current = undefined;
    }
    const round = async () => {
      const isFirst = last.current === undefined;
      try {
        const answer = await call("GET", "/v1/frames", { query: { ...query, after: last.current, limit: AT_ONCE } });
        if (isOver) return;
        last.current = answer.last;
        setState((before) => ({ frames: joined(isFirst ? [] : before.frames, answer), problem: "", isLoading: false, level: answer.level }));
      } catch (error) {
        if (isOver) return;
        setState((before) => ({ ...before, frames: isFirst ? [] : before.frames, problem: inWords(error), isLoading: false }));
      }
      if (isFollowing) timer = setTimeout(round, 1000 * (document.hidden ? HIDDEN_SECONDS : EVERY_SECONDS));
    };
    if (isFollowing || isOther) timer = setTimeout(round, isOther ? SOON_MS : 0);
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [key, isFollowing]);
  return state;
}
