// Numbers, sizes, spans of time and moments as people read them. Pure.

const GROUPED = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A count: in full up to 99,999, then shortened ("1.24 M"). */
export function count(value) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) < 100_000 ? GROUPED.format(value) : shortened(value, 1000, ["", " k", " M", " G"]);
}

/** A size in bytes ("1.5 KiB"). */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  return value < 1024 ? `${value} B` : shortened(value, 1024, ["", " KiB", " MiB", " GiB", " TiB"]);
}

/** Something a second ("0.4", "12", "1.2 k"); a dash where nobody knows yet. */
export function rate(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  if (value < 0.01) return "<0.01";
  if (value < 10) return trimmed(value.toFixed(value < 1 ? 2 : 1));
  return value < 1000 ? value.toFixed(0) : shortened(value, 1000, ["", " k", " M"]);
}

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** A span of seconds, in its two largest units ("3 d 4 h", "12 min 5 s", "0.4 s"). */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return seconds < 0.0005 ? "0 s" : seconds < 0.1 ? `${trimmed((seconds * 1000).toFixed(1))} ms` : `${trimmed(seconds.toFixed(1))} s`;
  let left = Math.round(seconds);
  const words = [];
  for (const [size, unit] of UNITS) {
    const whole = Math.floor(left / size);
    left -= whole * size;
    if (whole) words.push(`${whole} ${unit}`);
    else if (words.length) break;
    if (words.length === 2) break;
  }
  return words.join(" ");
}

/** A span of time that is of small interest: its largest unit alone ("3 d", "12 min"). */
export function roughly(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const words = span(Math.floor(seconds)).split(" ");
  return seconds < 1 ? "<1 s" : words.slice(0, 2).join(" ");
}

/** A moment (seconds since 1970): the time of day, with the date where it is another day. */
export function moment(at, now = Date.now() / 1000) {
  if (!at) return "–";
  const date = new Date(at * 1000);
  const time = date.toLocaleTimeString("en-GB");
  if (date.toDateString() === new Date(now * 1000).toDateString()) return time;
  return `${isoDate(date)} ${time.slice(0, 5)}`;
}

/** A moment of today to the millisecond ("14:03:07.042"), for what comes close together. */
export function clock(at) {
  const date = new Date(at * 1000);
  return `${date.toLocaleTimeString("en-GB")}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** A moment in full, for a title. */
export function fullMoment(at) {
  return at ? `${new Date(at * 1000).toISOString().replace("T", " ").slice(0, 19)} UTC` : "";
}

/** The first line of a text that says something, cut to so many characters. */
export function firstLine(text, most = 120) {
  const line = text.split("\n").find((each) => each.trim()) ?? "";
  return cut(line.trim(), most);
}

/** The line of a traceback that says what was wrong: its last one. */
export function lastLine(text, most = 160) {
  const lines = text.split("\n").filter((each) => each.trim());
  return cut((lines[lines.length - 1] ?? "").trim(), most);
}

/** A text, cut to so many characters. */
export function cut(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** "1 message", "3 messages". */
export function plural(number, word, words = `${word}s`) {
  return `${count(number)} ${number === 1 ? word : words}`;
}

function shortened(value, base, units) {
  let index = 0;
  let left = value;
  while (Math.abs(left) >= base && index < units.length - 1) {
    left /= base;
    index += 1;
  }
  const digits = left < 10 ? 2 : left < 100 ? 1 : 0;
  return trimmed(left.toFixed(digits)) + units[index];
}

function trimmed(text) {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

function isoDate(date) {
  const two = (number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
