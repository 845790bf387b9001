/**
 * The provider's answer to a login in the browser, as the callback or a paste brings it: is it one, and is it ours?
 *
 * Not here: what it means (`oauth/cmd_xai.ts` hands it to the OAuth library), the listener (`oauth/callback.ts`).
 *
 * @module
 */

/** The login that an answer must belong to. */
export interface ExpectedAnswer {
  /** Sent with the request; every answer repeats it (RFC 6749 §10.12). */
  readonly state: string;
  /** The issuer's name, for codes that are pasted alone. */
  readonly issuer: string;
}

/** `ours` has our state and exactly one code or error; `foreign` has another state or none; `incomplete` has no answer. */
export type AnswerVerdict = "ours" | "foreign" | "incomplete";

/** Above any code or callback address seen; a line is not kept beyond it. */
const MAX_LINE_CHARS = 8_192;

/** Shorter words are typed by people ("yes", "help"); a code has 128 bits or more. */
const BARE_CODE = /^[A-Za-z0-9._~+\/=-]{16,4096}$/;

/** Judges the query of a callback. A parameter that stands twice is no answer: readers could differ in which they take. */
export function judgeAnswer(query: URLSearchParams, expected: ExpectedAnswer): AnswerVerdict {
  const states = query.getAll("state");
  const answers = [...query.getAll("code"), ...query.getAll("error")];
  if (answers.length !== 1 || answers[0] === "" || states.length > 1) return "incomplete";
  return states[0] === expected.state ? "ours" : "foreign";
}

/**
 * The answer in a pasted line: the whole address that the browser ended at, or the code alone. A lone code carries no
 * state; it is of use only together with this login's PKCE verifier, so it is taken for ours (RFC 7636 §1).
 *
 * @returns the answer's parameters, or why it cannot be used
 */
export function readPasted(line: string, expected: ExpectedAnswer): URLSearchParams | string {
  const text = line.trim();
  if (/^https?:\/\//i.test(text)) {
    const query = URL.canParse(text) ? new URL(text).searchParams : new URLSearchParams();
    const verdict = judgeAnswer(query, expected);
    if (verdict === "ours") return query;
    return verdict === "foreign"
      ? "that address belongs to another login: open the address above once more"
      : "that address holds no code: paste the one that the browser ended at, all of it";
  }
  if (BARE_CODE.test(text)) {
    return new URLSearchParams({ code: text, state: expected.state, iss: expected.issuer });
  }
  return "that is neither a code nor an address: paste the one that the browser ended at, all of it";
}

/**
 * The lines of an input, without their ends; the rest before the end of input is a line too. Bytes beyond
 * 8,192 characters of a line are dropped.
 */
export async function* readLines(
  input: { read(buffer: Uint8Array): Promise<number | null> },
): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(4_096);
  let pending = "";
  for (let count = await input.read(buffer); count !== null; count = await input.read(buffer)) {
    const [first = "", ...more] = decoder.decode(buffer.subarray(0, count), { stream: true }).split(
      /\r\n|[\r\n]/,
    );
    pending += first;
    for (const next of more) {
      yield pending.slice(0, MAX_LINE_CHARS);
      pending = next;
    }
    pending = pending.slice(0, MAX_LINE_CHARS);
  }
  if (pending !== "") yield pending;
}
