/**
 * Reading the JSON that people bring as a login: each error names the field and the login, and never shows what is in it.
 *
 * Not here: which fields a kind needs (`kind_*.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProxyError } from "../core/errors.ts";
import { parseHost } from "../core/host_port.ts";

/** Servers take 8 to 16 KiB of header; two of these and the rest of a login fit a row of the store. */
const MAX_TOKEN_CHARS = 16_000;

/** Numbers above are milliseconds since the epoch, others seconds: 1e11 s is the year 5138, 1e11 ms is 1973. */
const SMALLEST_MS = 1e11;

/** Further ahead than this no token is valid: the number means something else, or the clock that wrote it was wrong. */
const LONGEST_LIFE_MS = 10 * 365 * 86_400_000;

/** The fields of one JSON object. Getters return undefined for what is absent, null or empty. */
export class Fields {
  readonly #what: string;
  readonly #hint: string;
  readonly #values: ReadonlyMap<string, unknown>;

  /** @param what names the login in messages, such as "Codex login"; `hint` says where a good one comes from */
  constructor(what: string, hint: string, value: unknown) {
    this.#what = what;
    this.#hint = hint;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      this.refuse("it is no JSON object");
    }
    this.#values = new Map(Object.entries(value));
  }

  /** The object that a JSON text holds. */
  static parse(what: string, hint: string, text: string): Fields {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      value = undefined; // the error of JSON.parse quotes the text, so it is no cause either
    }
    return new Fields(what, hint, value);
  }

  names(): string[] {
    return [...this.#values.keys()];
  }

  has(name: string): boolean {
    const value = this.#values.get(name);
    return value !== undefined && value !== null && value !== "";
  }

  /** The object in a field. */
  child(name: string): Fields | undefined {
    if (!this.has(name)) return undefined;
    const value = this.#values.get(name);
    if (typeof value !== "object" || Array.isArray(value)) this.refuse(`its ${name} is no object`);
    return new Fields(this.#what, this.#hint, value);
  }

  /** The text in the first of these fields that has any. */
  text(...names: readonly string[]): string | undefined {
    const name = names.find((each) => this.has(each));
    if (name === undefined) return undefined;
    const value = this.#values.get(name);
    if (typeof value !== "string") this.refuse(`its ${name} is no text`);
    if (!value.isWellFormed() || value.length > MAX_TOKEN_CHARS) {
      this.refuse(`its ${name} is too long or no text`);
    }
    return value;
  }

  needText(...names: readonly string[]): string {
    return this.text(...names) ?? this.refuse(`it has no ${names[0]}`);
  }

  /** A text that can stand in a header as it is. */
  token(...names: readonly string[]): string | undefined {
    const token = this.text(...names);
    if (token === undefined || isToken(token)) return token;
    return this.refuse(`its ${names.find((each) => this.has(each))} has characters that no token has`);
  }

  needToken(...names: readonly string[]): string {
    return this.token(...names) ?? this.refuse(`it has no ${names[0]}`);
  }

  /** A number, or digits. */
  number(...names: readonly string[]): number | undefined {
    const name = names.find((each) => this.has(each));
    if (name === undefined) return undefined;
    const value = this.#values.get(name);
    const number = typeof value === "string" && /^\d{1,15}(\.\d+)?$/.test(value) ? Number(value) : value;
    return typeof number === "number" && Number.isFinite(number)
      ? number
      : this.refuse(`its ${name} is no number`);
  }

  /** What is written as a number or as a text. */
  numberOrText(name: string): number | string | undefined {
    return typeof this.#values.get(name) === "number" ? this.number(name) : this.text(name);
  }

  /** A list of texts, or one text with spaces between them. */
  words(name: string): readonly string[] {
    const value = this.#values.get(name);
    if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
    return this.text(name)?.split(" ").filter((word) => word !== "") ?? [];
  }

  flag(name: string): boolean {
    return this.#values.get(name) === true;
  }

  /**
   * A time as epoch milliseconds: a number of seconds or milliseconds, or RFC 3339. 0 means unknown to those who write
   * it (Claude Code, opencode), and so does a time that no token lives to see.
   */
  time(nowMs: number, ...names: readonly string[]): number | undefined {
    const name = names.find((each) => this.has(each));
    if (name === undefined) return undefined;
    const value = this.#values.get(name);
    const isDate = typeof value === "string" && !/^\d+(\.\d+)?$/.test(value);
    // Nanoseconds, as Rust writes them, are more digits than Date reads.
    const time = isDate ? Date.parse(value.replace(/(\.\d{3})\d+/, "$1")) : this.number(name) ?? 0;
    if (Number.isNaN(time)) this.refuse(`its ${name} is no time`);
    if (time <= 0) return undefined;
    const ms = isDate || time > SMALLEST_MS ? time : time * 1_000;
    return ms > nowMs + LONGEST_LIFE_MS ? undefined : Math.round(ms);
  }

  /** An https URL, canonical. Plain http would hand the credential to the network, whatever it is for. */
  url(...names: readonly string[]): string | undefined {
    const text = this.text(...names);
    if (text === undefined) return undefined;
    const name = names.find((each) => this.has(each));
    const url = URL.parse(text);
    const isUsable = url?.protocol === "https:" && url.username === "" && url.password === "" &&
      url.hash === "" && parseHost(url.hostname.replace(/^\[|\]$/g, "")) !== undefined;
    return isUsable ? url.href : this.refuse(`its ${name} is no https URL`);
  }

  /** Throws ProxyError `input.invalid` about the whole login. */
  refuse(problem: string, hint = this.#hint): never {
    throw new ProxyError("input.invalid", `Cannot use this ${this.#what}: ${problem}`, { hint });
  }
}

/** True for text that can stand in an `Authorization` header after the scheme. */
export function isToken(text: string): boolean {
  return text.length <= MAX_TOKEN_CHARS && /^[\x21-\x7e]+$/.test(text);
}

/** The claims of a JWT, unverified: they are used to find out when to renew, never to trust anything. */
export function jwtClaims(token: string | undefined): Fields | undefined {
  const payload = token?.split(".")[1];
  if (payload === undefined) return undefined;
  try {
    return new Fields("token", "", JSON.parse(Buffer.from(payload, "base64url").toString("utf8")));
  } catch {
    return undefined;
  }
}

/** When a JWT ends (RFC 7519 §4.1.4), epoch milliseconds. */
export function jwtExpiry(token: string, nowMs: number): number | undefined {
  try {
    return jwtClaims(token)?.time(nowMs, "exp");
  } catch {
    return undefined;
  }
}
