/**
 * What the environment must not do to a process that holds secrets (SPEC section 9.11): open a debugger, log TLS keys, add
 * roots to trust, move the state or the API's listener.
 *
 * Found by running every variable that Deno 2.9.6 and a binary compiled with 2.7.11 read. A variable that takes effect
 * before `main.ts` runs, or that deleting does not undo, is refused; one that the runtime reads only when it first needs
 * it is taken away. Until `main.ts` runs there is a window: from source, `NODE_OPTIONS=--inspect` listens for it, and
 * SIGUSR1 does; in the compiled binary neither does, SIGUSR1 ends it.
 *
 * Not here: `DENO_TLS_CA_STORE`, which `upstream_trust.ts` sets.
 *
 * @module
 */
import { PROGRAM_PATHS } from "../../agent/programs.ts";
import { ProxyError } from "../../core/errors.ts";
import { logger } from "../../core/log.ts";
import { ignoreDebuggerSignal } from "../../core/native.ts";

/** Why a variable is refused, given its value; undefined when that value does no harm. */
type Harm = (value: string) => string | undefined;

const always = (harm: string): Harm => () => harm;
/** Node's options that open a debugger, load code, or write keys or memory; developers have harmless ones set. */
const HARMFUL_NODE_OPTION =
  /(^|\s)["']?(--inspect|--tls-keylog|--require|--import|-r\b|--env-file|--heap|--report)/;
/** Flags that only size the heap. */
const SIZE_FLAG = /^--(max|min)[-_](old[-_]space|semi[-_]space|heap)[-_]size=\d+$/;

const REFUSED: Readonly<Record<string, Harm>> = {
  SSLKEYLOGFILE: always("it could give away keys and secrets"),
  // Read by neither version that was tried; refused in case another does.
  DENO_INSPECT: always("it could give away keys and secrets"),
  DENO_INSPECT_BRK: always("it could give away keys and secrets"),
  DENO_INSPECT_WAIT: always("it could give away keys and secrets"),
  NODE_OPTIONS: (value) =>
    HARMFUL_NODE_OPTION.test(value) ? "its options could open a debugger or load other code" : undefined,
  DENO_V8_FLAGS: (value) =>
    value.split(/[\s,]+/).every((flag) => flag === "" || SIZE_FLAG.test(flag))
      ? undefined
      : "its flags could write memory to a file",
  NODE_DEBUG: always("it prints what passes through sockets"),
  OTEL_DENO: (value) => value === "false" ? undefined : "it sends addresses of calls elsewhere",
};

/** What becomes of the setting, for who wonders why it has no effect. */
const TAKEN_AWAY: Readonly<Record<string, string>> = {
  NODE_EXTRA_CA_CERTS: "--upstream-ca names roots to trust",
  DENO_CERT: "--upstream-ca names roots to trust",
  NODE_TLS_REJECT_UNAUTHORIZED: "certificates are always verified",
  DENO_SERVE_ADDRESS: "--api-socket and --api-bind say where the API listens",
  DENO_KV_DB_MODE: "the state is always kept on the disk",
  DENO_KV_PATH_PREFIX: "--state-dir says where the state is",
};

/** Every variable that this file reads: the process needs the right to each. */
export const GUARDED_VARIABLES: readonly string[] = [...Object.keys(REFUSED), ...Object.keys(TAKEN_AWAY)];

/**
 * Refuses settings that would give away what a command handles. For every command.
 *
 * @throws ProxyError `input.invalid`
 */
export function refuseLeakyEnvironment(env: (name: string) => string | undefined): void {
  for (const [name, harmOf] of Object.entries(REFUSED)) {
    const value = env(name);
    const harm = value === undefined ? undefined : harmOf(value);
    if (harm === undefined) continue;
    throw new ProxyError("input.invalid", `Cannot run with ${name} set: ${harm}`, { hint: `unset ${name}` });
  }
}

/**
 * Refuses the same, takes away what would change whom the daemon trusts and where it listens and keeps its state, and
 * makes the process ignore the signal that opens the debugger. To be called before the first TLS connection.
 *
 * @returns false where the signal cannot be ignored
 * @throws ProxyError `input.invalid`
 */
export function lockDownProcess(env: (name: string) => string | undefined): boolean {
  refuseLeakyEnvironment(env);
  for (const [name, instead] of Object.entries(TAKEN_AWAY)) {
    if (env(name) === undefined) continue;
    Deno.env.delete(name);
    logger("up").info(`${name} is set and has no effect: ${instead}`);
  }
  return ignoreDebuggerSignal();
}

/**
 * Gives up the right to run anything but `ip`: what the helper in a VM runs is nothing to a process that holds secrets. From
 * source with all rights there is no list to take from, and nothing changes.
 */
export function dropProgramRights(): void {
  for (const command of PROGRAM_PATHS) {
    if (!command.endsWith("/ip")) Deno.permissions.revokeSync({ name: "run", command });
  }
}
