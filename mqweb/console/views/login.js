// Who are you: a user and password, or a token.

import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { request } from "../api.js";
import { farewell, session } from "../store.js";
import { switchTheme, theme } from "../theme.js";
import { Alert, Field, html, useAction } from "../ui.js";

const SHIFT_SECONDS = 12 * 3600;

export function Login() {
  const [way, setWay] = useState("password");
  const [busy, run, problem] = useAction(async (form) => {
    const entered = way === "password" ? await byPassword(form) : await byToken(form);
    farewell.value = "";
    session.value = entered;
  });
  const first = useRef(null);
  useEffect(() => first.current?.focus(), [way]);
  const submit = (event) => {
    event.preventDefault();
    run(new FormData(event.target));
  };
  return html`<section class="login" aria-labelledby="login-title">
    <img src="/console/icon.svg" alt="" width="40" height="40" />
    <h1 id="login-title">mqd console</h1>
    ${farewell.value && html`<p class="farewell" role="status">${farewell.value}</p>`}
    <form onSubmit=${submit}>
      <fieldset class="ways"><legend class="hidden">How to sign in</legend>
        ${[["password", "User and password"], ["token", "Token"]].map(([name, words]) => html`<label key=${name}>
          <input type="radio" name="way" value=${name} checked=${way === name} onChange=${() => setWay(name)} />${words}</label>`)}</fieldset>
      ${way === "password" ? html`
        <${Field} label="User"><input key="user" ref=${first} name="user" autocomplete="username" required maxlength="256" spellcheck=${false} autocapitalize="none" /></${Field}>
        <${Field} label="Password"><input key="password" name="password" type="password" autocomplete="current-password" required /></${Field}>` : html`
        <${Field} label="Token" hint="As mqctl token new has shown it."><input key="token" ref=${first} name="token" type="password" autocomplete="off" required spellcheck=${false} /></${Field}>`}
      ${problem && html`<${Alert}>${problem}</${Alert}>`}
      <button class="primary" disabled=${busy}>${busy ? "Signing in …" : "Sign in"}</button>
    </form>
    <p class="hint">The token is kept in this page alone: after a reload you sign in again.</p>
    <button type="button" class="quiet" onClick=${switchTheme}>${theme.value === "dark" ? "☀ Light" : "☾ Dark"}</button>
  </section>`;
}

async function byPassword(form) {
  const said = { user: form.get("user"), password: form.get("password"), comment: "console" };
  const { token } = await tokenFor({ ...said, lifetime: SHIFT_SECONDS }).catch((error) => {
    if (error.code === "OUT_OF_RANGE") return tokenFor(said); // tokens live shorter here
    throw error;
  });
  return entered(token, true);
}

function tokenFor(said) {
  return request(null, "POST", "/token", { json: said });
}

function byToken(form) {
  return entered(form.get("token").trim(), false);
}

async function entered(token, isOwn) {
  const who = await request(token, "GET", "/v1/me");
  return { ...who, token, expiresAt: who.expires_at, isOwn };
}
