// Dark or light: as the system has it, or as was chosen. The choice is kept in the browser.

import { signal } from "./vendor/signals.js";

const KEY = "mqd-console-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

/** "dark" or "light": what is shown. */
export const theme = signal(shown());

/** Change to the other one. */
export function switchTheme() {
  const next = theme.value === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // A browser that keeps nothing still shows it until the page is left.
  }
  set(next);
}

function shown() {
  let chosen = null;
  try {
    chosen = localStorage.getItem(KEY);
  } catch {
    chosen = null;
  }
  return chosen ?? (dark.matches ? "dark" : "light");
}

function set(value) {
  document.documentElement.dataset.theme = value;
  theme.value = value;
}

dark.addEventListener("change", () => set(shown()));
set(theme.value);
