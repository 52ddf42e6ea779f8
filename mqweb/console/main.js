// The page: who is signed in, where they are, how the figures come.

import { render } from "./vendor/preact.js";
import { useEffect, useRef } from "./vendor/preact-hooks.js";
import "./vendor/signals.js";
import { moment, span } from "./format.js";
import { follow, listen, refresh, unfollow } from "./live.js";
import { roleWord } from "./roles.js";
import { place, to } from "./router.js";
import { call, closeNote, leave, link, may, notes, now, session, takenAt } from "./store.js";
import { switchTheme, theme } from "./theme.js";
import { Empty, html } from "./ui.js";
import { Login } from "./views/login.js";
import { MessagePage } from "./views/message.js";
import { QueuePage } from "./views/queue.js";
import { QueuesPage } from "./views/queues.js";
import { ServerPage } from "./views/server.js";
import { LogPage } from "./views/log.js";
import { TokensPage } from "./views/tokens.js";
import { UsersPage } from "./views/users.js";

const PAGES = [
  ["queues", "Queues", () => true],
  ["server", "Server", () => true],
  ["users", "Users", () => may("USERS")],
  ["tokens", "Tokens", () => true],
  ["log", "Frame log", () => true],
];

function App() {
  const isIn = session.value !== null;
  useEffect(() => {
    if (isIn) follow();
    else unfollow();
  }, [isIn, session.value?.token]);
  return html`<div class="page">
    ${isIn ? html`<${Header} /><${Away} />` : null}
    <${Main} isIn=${isIn} />
    <${Notes} />
  </div>`;
}

function Header() {
  const who = session.value;
  const here = place.value[0];
  return html`<header class="top">
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <a class="brand" href=${to("queues")}><img src="/console/icon.svg" alt="" width="22" height="22" /><b>mqd</b></a>
    <nav aria-label="Pages">${PAGES.filter(([, , isFor]) => isFor()).map(([name, words]) => html`<a key=${name} href=${to(name)}
      aria-current=${here === name ? "page" : undefined}>${words}</a>`)}</nav>
    <${Link} />
    <span class="who">Signed in as <b>${who.user}</b> (${roleWord(who.role)})${who.expiresAt
      ? html`, until <time>${moment(who.expiresAt, now.value)}</time>` : ""}</span>
    <button type="button" class="quiet" onClick=${switchTheme}
      aria-label=${theme.value === "dark" ? "Show it light" : "Show it dark"}>${theme.value === "dark" ? "☀" : "☾"}</button>
    <button type="button" onClick=${signOut}>Sign out</button>
  </header>`;
}

/** How the figures come: live, or not. */
function Link() {
  const { state } = link.value;
  const words = { starting: "connecting", live: "live", away: "mqd is away", lost: "mqweb is away" }[state];
  return html`<span class=${`link ${state}`} title=${takenAt.value ? `figures of ${moment(takenAt.value)}` : ""}><i aria-hidden="true"></i>${words}</span>`;
}

/** Says plainly when there is nobody to ask. It stands there always, so that it is read out. */
function Away() {
  const { state, since, retryAt, text } = link.value;
  const isAway = state === "away" || state === "lost";
  const wait = Math.max(0, Math.ceil(retryAt - now.value));
  return html`<div class=${isAway ? "away" : "away none"} role="status" aria-live="assertive">${isAway
    ? html`<p><b>${text}; trying again.</b> <span aria-live="off">No answer for ${span(Math.max(1, Math.round(now.value - since)))} so far; ${wait
      ? `the next try is in ${wait} s` : "one try is under way"}.${takenAt.value ? ` What is shown is of ${moment(takenAt.value)}.` : ""}</span></p>
      <button type="button" onClick=${refresh}>Try now</button>` : null}</div>`;
}

function Main({ isIn }) {
  const element = useRef(null);
  const where = place.value;
  const page = isIn ? where.slice(0, 2).join("/") + (where[2] === "messages" ? where[3] : "") : "";
  useEffect(() => {
    if (!isIn) return;
    listen(where[0] === "queues" && NAME.test(where[1] ?? "") ? where[1] : null);
    element.current.focus({ preventScroll: true });
    scrollTo(0, 0);
    document.title = `${where[0] === "queues" && where[1] ? where[1] : PAGES.find(([name]) => name === where[0])?.[1] ?? "No such page"} – mqd console`;
  }, [page, isIn]);
  const isStale = link.value.state === "away" || link.value.state === "lost";
  return html`<main id="main" tabindex="-1" ref=${element} class=${isStale ? "stale" : ""}>
    ${isIn ? html`<${View} where=${where} key=${page} />` : html`<${Login} />`}</main>`;
}

// What stands in the address goes into paths of requests: nothing else may.
const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const ID = /^[1-9][0-9]{0,17}$/;

function View({ where }) {
  const [name, first, second, third] = where;
  if (name === "server") return html`<${ServerPage} />`;
  if (name === "users" && may("USERS")) return html`<${UsersPage} />`;
  if (name === "tokens") return html`<${TokensPage} whose=${first} />`;
  if (name === "log") return html`<${LogPage} />`;
  if (name !== "queues" || (first !== undefined && !NAME.test(first))) return html`<${NoPage} where=${where} />`;
  if (first === undefined) return html`<${QueuesPage} />`;
  if (second === "messages" && ID.test(third ?? "")) return html`<${MessagePage} queue=${first} id=${third} />`;
  return html`<${QueuePage} name=${first} tab=${second ?? "ready"} />`;
}

function NoPage({ where }) {
  return html`<h1>No such page</h1><${Empty} title=${html`There is no page <span class="mono">${where.join("/")}</span>${PAGES.some(([name]) => name === where[0])
    ? " that your role may use" : ""}.`}><a href=${to("queues")}>All queues</a></${Empty}>`;
}

function Notes() {
  return html`<div class="notes" role="status" aria-live="polite">${notes.value.map((each) => html`<p key=${each.id}
    class=${`note ${each.kind}`}><span>${each.text}</span><button type="button" class="quiet" onClick=${() => closeNote(each.id)}
    aria-label="Close this note">✕</button></p>`)}</div>`;
}

function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

/** The token that signing in has made ends; one that was brought along is only forgotten. */
async function signOut() {
  const { isOwn, token_id: id } = session.value;
  let why = "You have signed out.";
  if (isOwn && id) {
    try {
      await call("DELETE", `/v1/tokens/${id}`);
      why = "You have signed out, and your token is revoked.";
    } catch {
      why = "You have signed out. Your token could not be revoked: it lives on until its time is over.";
    }
  }
  leave(why);
}

render(html`<${App} />`, document.getElementById("app"));
