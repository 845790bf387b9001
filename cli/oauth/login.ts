/**
 * What every login on the host shares: it can be interrupted, its result is JSON on stdout that `secret create` adopts,
 * and the words around it go to stderr and hold nothing secret.
 *
 * @module
 */
import { quoteShell } from "../../core/escape.ts";
import { ProxyError } from "../../core/errors.ts";
import type { CommandArgs } from "../command/command.ts";
import { PROGRAM } from "../command/command.ts";
import { onInterrupt } from "../terminal/interrupt.ts";
import type { Io } from "../terminal/io.ts";
import { caCertsOf, openProviderHttp, type ProviderHttp } from "./http.ts";

/** Ten years: a life beyond it is nonsense, and no date. */
const MAX_LIFE_S = 315_360_000;

/** What a login has at hand. */
export interface LoginContext {
  /** Its calls end when the login is interrupted. */
  readonly http: ProviderHttp;
  /** Aborts with a ProxyError when the user interrupts. */
  readonly signal: AbortSignal;
  /** Resolves after so many milliseconds, or rejects when the login is interrupted. */
  wait(ms: number): Promise<void>;
}

/** Where the result goes: `secret create NAME --host HOST --type TYPE`. */
export interface Adoption {
  readonly type: string;
  readonly name: string;
  readonly host: string;
  /** One line: what ends this login if something else uses it. */
  readonly warning: string;
}

/**
 * Runs a login, and prints what it returns with the next command. SIGINT and SIGTERM end it; a second one ends the
 * process at once.
 *
 * @param what where the login goes, for errors
 * @throws ProxyError what `logIn` throws, or `credential.unavailable` after an interruption
 */
export async function runLogin(
  what: string,
  args: CommandArgs,
  io: Io,
  adoption: Adoption,
  logIn: (context: LoginContext) => Promise<Readonly<Record<string, string>>>,
): Promise<void> {
  const caCerts = await caCertsOf(args, io);
  if (Deno.stdout.isTerminal()) {
    io.output.warn(
      `the JSON will be shown on this terminal and holds live tokens: better to write it to a file, with ` +
        `(umask 077; ${PROGRAM} ${args.spec.name} … > FILE)`,
    );
  }
  using interrupt = onInterrupt(
    new ProxyError("credential.unavailable", `Cannot log in to ${what}: it was interrupted`),
  );
  using http = openProviderHttp({ caCerts, signal: interrupt.signal });
  const wait = (ms: number) => sleep(ms, interrupt.signal);
  const result = await logIn({ http, signal: interrupt.signal, wait });
  io.output.json(result);
  const { name, host, type, warning } = adoption;
  io.output.note("");
  io.output.note(
    "Logged in. To let the proxy use it (it keeps its own copy, so FILE can be deleted afterwards):",
  );
  io.output.note("");
  io.output.note(
    `    ${PROGRAM} secret create ${name} --host ${quoteShell(host)} --type ${type} --value-file FILE`,
  );
  io.output.note("");
  if (result.refresh_token === undefined) {
    io.output.warn("the provider gave no refresh token: this login cannot be renewed");
  }
  io.output.warn(warning);
}

/** `work`, or the reason of `signal` as soon as it aborts. The work itself goes on unheard. */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort);
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** RFC 3339 in whole seconds, `afterS` seconds after `fromMs` (epoch); undefined for a life that is none. */
export function timeAfter(fromMs: number, afterS: unknown): string | undefined {
  if (typeof afterS !== "number" || !(afterS >= 0 && afterS <= MAX_LIFE_S)) return undefined;
  return new Date(fromMs + afterS * 1_000).toISOString().replace(/\.\d+/, "");
}

/** Without the fields that are undefined. */
export function defined(
  fields: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) kept[name] = value;
  return kept;
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  try {
    await untilAborted(promise, signal);
  } finally {
    clearTimeout(timer);
  }
}
