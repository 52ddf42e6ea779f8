// Where the user is: what stands after the # of the address.

import { computed, signal } from "./vendor/signals.js";

const hash = signal(location.hash);
addEventListener("hashchange", () => (hash.value = location.hash));

/** The parts of the place: ["queues", "jobs", "dead"]. */
export const place = computed(() => placeOf(hash.value));

export function placeOf(text) {
  const parts = text.replace(/^#\/?/, "").split("/").filter(Boolean).map(decoded);
  return parts.length ? parts : ["queues"];
}

/** What a part stands for; one that somebody has typed and that stands for nothing is itself. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of a place. */
export function to(...parts) {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

/** Go to a place. */
export function go(...parts) {
  location.hash = to(...parts);
}
