// Requests to mqweb: JSON, problem documents, event streams. The token is handed in with each
// call and kept by nobody here.

const SECONDS = 30;

/** A request that was refused or has failed, in words. */
export class Problem extends Error {
  constructor(status, code, title, detail) {
    super(detail || title);
    this.status = status;
    this.code = code;
    this.title = title;
    this.detail = detail;
  }

  /** Whether mqd or mqweb is not reached, so that trying again may help. */
  get isAway() {
    return this.status === 0 || AWAY.includes(this.code);
  }

  get isSignedOut() {
    return this.status === 401;
  }
}

const AWAY = ["SERVER_AWAY", "SERVER_LATE", "SERVER_BROKEN", "SHUTTING_DOWN"];

function headersOf(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/**
 * Make a request and return what the answer holds; null where it holds nothing.
 *
 * @throws {Problem}
 */
export async function request(token, method, path, { query, json, text, headers, seconds = SECONDS } = {}) {
  const said = { ...headersOf(token), ...headers };
  const body = text ?? (json === undefined ? undefined : JSON.stringify(json));
  if (body !== undefined && !said["Content-Type"]) said["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path + queryOf(query), {
      method, body, headers: said, cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(seconds * 1000),
    });
    if (!answer.ok) throw await problemOf(answer);
    return answer.status === 204 ? null : parsed(await answer.text());
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(0, "GATEWAY_AWAY", "no answer", "mqweb does not answer");
  }
}

/** A JSON document; integers that a number cannot hold are kept as they stand, for showing. */
export function parsed(text) {
  return JSON.parse(text, (_name, value, context) => {
    const isTooLarge = Number.isInteger(value) && !Number.isSafeInteger(value);
    return isTooLarge && context?.source && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
  });
}

/** A query string out of what is given; what is empty is left out. */
export function queryOf(values) {
  const said = Object.entries(values ?? {}).filter(([, value]) => value !== undefined && value !== "" && value !== null);
  return said.length ? `?${new URLSearchParams(said)}` : "";
}

async function problemOf(answer) {
  try {
    const problem = await answer.json();
    return new Problem(answer.status, problem.code, problem.title, problem.detail);
  } catch {
    return new Problem(answer.status, "", answer.statusText, `the answer was ${answer.status}`);
  }
}

/**
 * Read an event stream until it ends: calls `tell(kind, data)` for each event.
 *
 * @throws {Problem}
 */
export async function readEvents(token, query, signal, tell) {
  let answer;
  try {
    answer = await fetch(`/events${queryOf(query)}`, {
      headers: headersOf(token), cache: "no-store", credentials: "omit", signal,
    });
  } catch {
    throw new Problem(0, "GATEWAY_AWAY", "no answer", "mqweb does not answer");
  }
  if (!answer.ok) throw await problemOf(answer);
  tell("open", {});
  const parser = new EventParser(tell);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    parser.take(value);
  }
}

/** Takes the text of an event stream in pieces, and tells of each whole event. */
export class EventParser {
  constructor(tell) {
    this.tell = tell;
    this.left = "";
    this.kind = "";
    this.data = [];
  }

  take(piece) {
    const lines = (this.left + piece).split("\n");
    this.left = lines.pop();
    for (const line of lines) this.line(line.endsWith("\r") ? line.slice(0, -1) : line);
  }

  line(line) {
    if (line === "") {
      if (this.data.length) this.tell(this.kind || "message", JSON.parse(this.data.join("\n")));
      this.kind = "";
      this.data = [];
      return;
    }
    const [name, value] = splitAt(line);
    if (name === "event") this.kind = value;
    else if (name === "data") this.data.push(value);
  }
}

function splitAt(line) {
  const place = line.indexOf(":");
  if (place < 0) return [line, ""];
  const value = line.slice(place + 1);
  return [line.slice(0, place), value.startsWith(" ") ? value.slice(1) : value];
}
