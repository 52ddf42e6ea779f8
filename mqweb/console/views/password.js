// A new password for who is signed in.

import { useState } from "../vendor/preact-hooks.js";
import { request } from "../api.js";
import { leave, session } from "../store.js";
import { Alert, Dialog, Field, html, useAction } from "../ui.js";

const LEAST_CHARS = 8;

/** Not for users of the configuration, whose passwords are changed there. */
export function PasswordButton() {
  const [isOpen, setOpen] = useState(false);
  if (session.value.is_managed === false) return null;
  return html`<button type="button" onClick=${() => setOpen(true)}>Change your password …</button>
    ${isOpen && html`<${PasswordDialog} onClose=${() => setOpen(false)} />`}`;
}

function PasswordDialog({ onClose }) {
  const [busy, run, problem] = useAction(async (form) => {
    if (form.get("new") !== form.get("again")) throw new Error("The new password and its repetition differ.");
    // Not by call(): a wrong password is refused as a wrong token is, and signs nobody out.
    await request(session.value.token, "POST", "/v1/me/password", { json: { old: form.get("old"), new: form.get("new") } });
    leave("Your password is changed, and all your tokens have ended, this window's too. Sign in with the new password.");
  });
  const submit = (event) => {
    event.preventDefault();
    run(new FormData(event.target));
  };
  return html`<${Dialog} title="Change your password" onClose=${onClose}><form onSubmit=${submit}>
      <p>All your tokens end with the old one, those of your programs too: you sign in again afterwards. The password of a user of the server's configuration is changed there.</p>
      <input type="hidden" name="user" value=${session.value.user} autocomplete="username" />
      <${Field} label="Present password"><input name="old" type="password" data-first required autocomplete="current-password" /></${Field}>
      <${Field} label="New password" hint=${`${LEAST_CHARS} characters at least`}><input name="new" type="password" required minlength=${LEAST_CHARS} maxlength="256" autocomplete="new-password" /></${Field}>
      <${Field} label="The new one again"><input name="again" type="password" required autocomplete="new-password" /></${Field}>
      ${problem && html`<${Alert}>${problem}</${Alert}>`}
      <footer><button type="button" onClick=${onClose}>Cancel</button><button class="primary" disabled=${busy}>Change it</button></footer></form></${Dialog}>`;
}
