// Users, for who manages them.

import { useState } from "../vendor/preact-hooks.js";
import { count } from "../format.js";
import { roleWord } from "../roles.js";
import { to } from "../router.js";
import { call, note, session } from "../store.js";
import { Alert, Badge, Confirm, Dialog, Field, Loaded, When, html, useAction, useLoaded } from "../ui.js";

const ROLES = ["user", "agent", "secretary", "admin"];
const MEANS = { user: "looks", agent: "pushes, pulls and looks", secretary: "looks, and manages those who look or work", admin: "everything" };

/** The roles of users whom somebody may add, change and remove. */
function managed() {
  return session.value.role === "admin" ? ROLES : ["user", "agent"];
}

export function UsersPage() {
  const users = useLoaded(() => call("GET", "/v1/users"), ["users"]);
  const [dialog, setDialog] = useState(null);
  const close = () => {
    setDialog(null);
    users.reload();
  };
  return html`<div class="head"><h1>Users</h1><button type="button" class="primary" onClick=${() => setDialog({ is: "add" })}>Add a user</button></div>
    <p class="hint">Those of the server's configuration are changed there. A new password, a lesser role, disabling and removing end a user's tokens and connections within a second.</p>
    <${Loaded} state=${users}>${(told) => html`<${Table} users=${told.users} onDialog=${setDialog} />`}</${Loaded}>
    ${dialog?.is === "add" && html`<${UserDialog} onClose=${close} />`}
    ${dialog?.is === "change" && html`<${UserDialog} user=${dialog.user} onClose=${close} />`}
    ${dialog?.is === "remove" && html`<${RemoveDialog} user=${dialog.user} onClose=${close} />`}`;
}

function Table({ users, onDialog }) {
  return html`<table class="list" role="table"><caption class="hidden">Users</caption><thead role="rowgroup"><tr role="row">
      ${["User", "Role", "State", "Tokens", "Changed"].map((words) => html`<th key=${words} scope="col" role="columnheader">${words}</th>`)}
      <th scope="col" role="columnheader"><span class="hidden">Actions</span></th></tr></thead>
    <tbody role="rowgroup">${users.map((user) => html`<tr role="row" key=${user.user}>
      <th scope="row" role="rowheader"><span class="mono">${user.user}</span>${user.user === session.value.user ? " (you)" : ""}</th>
      <td role="cell" data-label="Role">${roleWord(user.role)}</td>
      <td role="cell" data-label="State">${user.is_disabled ? html`<${Badge} kind="warn">disabled</${Badge}>` : html`<${Badge} kind="good">may come in</${Badge}>`}</td>
      <td role="cell" data-label="Tokens">${user.tokens ? html`<a href=${to("tokens", "all")}>${count(user.tokens)}</a>` : "0"}</td>
      <td role="cell" data-label="Changed">${user.is_managed ? html`<${When} at=${user.changed_at} />` : html`<${Badge}>in the configuration</${Badge}>`}</td>
      <td role="cell" class="actions">${user.is_managed && managed().includes(user.role) && html`
        <button type="button" class="quiet" aria-label=${`Change ${user.user}`} onClick=${() => onDialog({ is: "change", user })}>Change …</button>
        <button type="button" class="quiet" aria-label=${`Remove ${user.user}`} onClick=${() => onDialog({ is: "remove", user })}>Remove …</button>`}</td></tr>`)}</tbody></table>`;
}

function UserDialog({ user, onClose }) {
  const [busy, run, problem] = useAction(async (form) => {
    if (user) await call("PATCH", `/v1/users/${user.user}`, { json: changesOf(form, user) });
    else await call("POST", "/v1/users", { json: { user: form.get("user"), role: form.get("role"), password: form.get("password") } });
    note(user ? `${user.user} is changed.` : `${form.get("user")} can come in now.`);
    onClose();
  });
  const submit = (event) => {
    event.preventDefault();
    run(new FormData(event.target));
  };
  return html`<${Dialog} title=${user ? `Change ${user.user}` : "Add a user"} onClose=${onClose}><form onSubmit=${submit}>
      ${!user && html`<${Field} label="User"><input name="user" data-first required maxlength="128" pattern="[A-Za-z0-9_][A-Za-z0-9._\\-]*" autocomplete="off" spellcheck=${false} class="mono" /></${Field}>`}
      <fieldset class="choices"><legend>Role</legend>${managed().map((role) => html`<label key=${role}><input type="radio" name="role" value=${role} checked=${role === (user?.role ?? "agent")} />
        <span>${roleWord(role)} <small>${MEANS[role]}</small></span></label>`)}</fieldset>
      <${Field} label=${user ? "New password" : "Password"} hint=${user ? "empty: as it is" : undefined}><input name="password" type="password" autocomplete="new-password" required=${!user} /></${Field}>
      ${user && html`<label class="check"><input type="checkbox" name="disabled" checked=${user.is_disabled} /> disabled: may not come in</label>`}
      ${problem && html`<${Alert}>${problem}</${Alert}>`}
      <footer><button type="button" onClick=${onClose}>Cancel</button><button class="primary" disabled=${busy}>${user ? "Change" : "Add"}</button></footer></form></${Dialog}>`;
}

/** What a form changes about a user; what it leaves as it is is not said. */
function changesOf(form, user) {
  const changes = {};
  if (form.get("role") !== user.role) changes.role = form.get("role");
  if (form.get("password")) changes.password = form.get("password");
  if ((form.get("disabled") !== null) !== user.is_disabled) changes.disabled = form.get("disabled") !== null;
  return changes;
}

function RemoveDialog({ user, onClose }) {
  const remove = async () => {
    await call("DELETE", `/v1/users/${user.user}`);
    note(`${user.user} is removed.`);
  };
  return html`<${Confirm} title="Remove a user" action="Remove" typed=${user.user} onDone=${remove} onClose=${onClose}>
    <p><b class="mono">${user.user}</b> can no longer come in; their tokens and connections end. Leases that they hold run on to their time.</p></${Confirm}>`;
}
