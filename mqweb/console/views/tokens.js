// Tokens: one's own, and those of all for who manages users.

import { useState } from "../vendor/preact-hooks.js";
import { span } from "../format.js";
import { request } from "../api.js";
import { roleWord } from "../roles.js";
import { go } from "../router.js";
import { PasswordButton } from "./password.js";
import { call, may, note, noteProblem, now, session } from "../store.js";
import { Alert, Badge, Copy, Dialog, Empty, Field, Loaded, When, html, useAction, useLoaded } from "../ui.js";

const LIFETIMES = [[3600, "an hour"], [43200, "12 hours"], [7 * 86400, "a week"], [30 * 86400, "30 days"]];
// The least comes first: it is the one that is chosen unless somebody wants more.
const LESS = { admin: ["user", "agent", "secretary", "admin"], secretary: ["user", "secretary"], agent: ["user", "agent"], user: ["user"] };

export function TokensPage({ whose }) {
  const all = whose === "all" && may("USERS");
  const tokens = useLoaded(() => call("GET", "/v1/tokens", { query: { users: all ? "*" : undefined } }), [`tokens ${all}`]);
  const [isOpen, setOpen] = useState(false);
  const close = () => {
    setOpen(false);
    tokens.reload();
  };
  return html`<div class="head"><h1>Tokens</h1><div class="actions"><${PasswordButton} />
      <button type="button" class="primary" onClick=${() => setOpen(true)}>Make a token</button></div></div>
    <p class="hint">A token stands for its user, with a role that may be lesser. Programs send it instead of a password.</p>
    ${may("USERS") && html`<label class="check"><input type="checkbox" checked=${all} onChange=${(event) => (event.target.checked ? go("tokens", "all") : go("tokens"))} /> those of all users</label>`}
    <${Loaded} state=${tokens}>${(told) => html`<${Table} tokens=${told.tokens} onChange=${tokens.reload} />`}</${Loaded}>
    ${isOpen && html`<${NewDialog} onClose=${close} />`}`;
}

function Table({ tokens, onChange }) {
  if (!tokens.length) return html`<${Empty} title="There are no tokens." />`;
  const revoke = async (token) => {
    try {
      await call("DELETE", `/v1/tokens/${token.id}`);
      note(`Token ${token.id} is revoked.`);
      onChange();
    } catch (error) {
      noteProblem(error, "Revoke");
    }
  };
  return html`<table class="list" role="table"><caption class="hidden">Tokens</caption><thead role="rowgroup"><tr role="row">
      ${["Token", "User", "Role", "For", "Made", "Ends in"].map((words) => html`<th key=${words} scope="col" role="columnheader">${words}</th>`)}
      <th scope="col" role="columnheader"><span class="hidden">Actions</span></th></tr></thead>
    <tbody role="rowgroup">${tokens.map((token) => html`<tr role="row" key=${token.id}>
      <th scope="row" role="rowheader" class="mono">${token.id}${token.id === session.value.token_id ? html` <${Badge}>this window</${Badge}>` : ""}</th>
      <td role="cell" data-label="User" class="mono">${token.user}</td><td role="cell" data-label="Role">${roleWord(token.role)}</td>
      <td role="cell" data-label="For">${token.comment || "–"}</td><td role="cell" data-label="Made"><${When} at=${token.made_at} /></td>
      <td role="cell" data-label="Ends in">${token.expires_at ? span(Math.max(0, Math.round(token.expires_at - now.value))) : "never"}</td>
      <td role="cell" class="actions"><button type="button" class="quiet" aria-label=${`Revoke token ${token.id}`} onClick=${() => revoke(token)}>Revoke</button></td></tr>`)}</tbody></table>`;
}

/** Makes a token, with the password: who holds a token alone cannot make it last. */
function NewDialog({ onClose }) {
  const [made, setMade] = useState(null);
  const who = session.value;
  const [busy, run, problem] = useAction(async (form) => {
    const said = { user: who.user, password: form.get("password"), role: form.get("role"), lifetime: Number(form.get("lifetime")), comment: form.get("comment") };
    setMade(await request(null, "POST", "/token", { json: said }));
  });
  const submit = (event) => {
    event.preventDefault();
    run(new FormData(event.target));
  };
  if (made) {
    return html`<${Dialog} title="Your new token" onClose=${onClose}><form onSubmit=${(event) => event.preventDefault()}>
      <p>It is shown this once: copy it now. The server keeps a digest of it alone.</p>
      <pre tabindex="0" aria-label="The token">${made.token}</pre>
      <footer><${Copy} text=${made.token} /><button type="button" class="primary" data-first onClick=${onClose}>I have it</button></footer></form></${Dialog}>`;
  }
  return html`<${Dialog} title="Make a token" onClose=${onClose}><form onSubmit=${submit}>
      <${Field} label="What it is for" hint="for people; it stands in the list"><input name="comment" data-first maxlength="200" autocomplete="off" /></${Field}>
      <${Field} label="Role"><select name="role">${(LESS[who.role] ?? [who.role]).map((role) => html`<option key=${role} value=${role}>${roleWord(role)}</option>`)}</select></${Field}>
      <${Field} label="It lives for"><select name="lifetime">${LIFETIMES.map(([seconds, words]) => html`<option key=${seconds} value=${seconds}>${words}</option>`)}</select></${Field}>
      <${Field} label="Your password" hint="once more: a token alone cannot make another"><input name="password" type="password" autocomplete="current-password" required /></${Field}>
      ${problem && html`<${Alert}>${problem}</${Alert}>`}
      <footer><button type="button" onClick=${onClose}>Cancel</button><button class="primary" disabled=${busy}>Make it</button></footer></form></${Dialog}>`;
}
