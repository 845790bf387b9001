/**
 * Transcripts of the HTTP/2 codec: frames in, frames out, and what its user saw. A file is a list of cases; everything that a
 * case does not list must not happen.
 *
 *     # a comment
 *     == what the case shows
 *     role client              the codec is the client; without it, it is the server of a small application (`replay.ts`)
 *     raw                      the peer's preface and SETTINGS are not sent for the case, and ours are listed
 *     limit maxHttp2Streams=2  another limit than the default
 *     > FRAME                  the peer sends it (`frame_text.ts`)
 *     > 3x FRAME               … three times; a `%` is the odd number of the turn: 1, 3, 5
 *     do WORDS                 our side does something: `shutdown`, `close CODE`, `extended`,
 *                              `open GET:/path body`, or `wait`: lets everything before happen
 *     < FRAME                  the peer gets it
 *     * TEXT                   our user sees it
 *     = closed                 we close the connection
 *
 * Lines `<` and `*` are compared by stream: between streams their order is free.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { parseFrameLine, PREFACE } from "./frame_text.ts";

export interface Outcome {
  readonly frames: readonly string[];
  readonly events: readonly string[];
  readonly end: "open" | "closed";
}

export interface Http2Case {
  readonly name: string;
  readonly line: number;
  readonly role: "client" | "server";
  /** The frames that every connection begins with are not listed. */
  readonly hidesHello: boolean;
  readonly limits: Readonly<Record<string, number>>;
  /** The peer's bytes, and what our side does between them. */
  readonly steps: readonly (Buffer | string)[];
  readonly outcome: Outcome;
}

interface Draft {
  name: string;
  line: number;
  role: "client" | "server";
  hidesHello: boolean;
  limits: Record<string, number>;
  steps: (Buffer | string)[];
  frames: string[];
  events: string[];
  end: "open" | "closed";
}

/** The cases of a file. A line that is none of the above is a `SyntaxError`. */
export function parseTranscript(text: string): readonly Http2Case[] {
  const drafts: Draft[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line === "" || line.startsWith("#")) continue;
    if (line.startsWith("== ")) {
      drafts.push({
        name: line.slice(3),
        line: index + 1,
        role: "server",
        hidesHello: true,
        limits: {},
        steps: [],
        frames: [],
        events: [],
        end: "open",
      });
      continue;
    }
    const draft = drafts.at(-1);
    if (!draft || !readLine(draft, line)) throw new SyntaxError(`line ${index + 1}: ${line}`);
  }
  return drafts.map(({ frames, events, end, steps, ...rest }) => ({
    ...rest,
    steps: rest.hidesHello ? [hello(rest.role), ...merged(steps)] : merged(steps),
    outcome: { frames, events, end },
  }));
}

function readLine(draft: Draft, line: string): boolean {
  const [, mark = "", rest = ""] = /^(\S+)(?: (.*))?$/.exec(line) ?? [];
  if (mark === ">") draft.steps.push(bytesOf(rest));
  else if (mark === "<") draft.frames.push(rest);
  else if (mark === "*") draft.events.push(line);
  else if (mark === "do") draft.steps.push(rest);
  else if (mark === "role") draft.role = rest === "client" ? "client" : "server";
  else if (mark === "raw") draft.hidesHello = false;
  else if (line === "= closed") draft.end = "closed";
  else if (mark === "limit") {
    for (const word of rest.split(" ")) draft.limits[word.split("=")[0] ?? ""] = Number(word.split("=")[1]);
  } else return false;
  return true;
}

function bytesOf(text: string): Buffer {
  const [, count = "1", frame = ""] = /^(?:(\d+)x )?(.*)$/.exec(text) ?? [];
  return Buffer.concat(
    Array.from({ length: Number(count) }, (_, i) => parseFrameLine(frame.replace("%", String(i * 2 + 1)))),
  );
}

function hello(role: "client" | "server"): Buffer {
  const settings = parseFrameLine("SETTINGS");
  return role === "server" ? Buffer.concat([PREFACE, settings]) : settings;
}

/** Neighbouring bytes as one piece. */
function merged(steps: readonly (Buffer | string)[]): (Buffer | string)[] {
  const out: (Buffer | string)[] = [];
  for (const step of steps) {
    const last = out.at(-1);
    if (typeof step !== "string" && last !== undefined && typeof last !== "string") {
      out[out.length - 1] = Buffer.concat([last, step]);
    } else out.push(step);
  }
  return out;
}
