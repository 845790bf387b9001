/**
 * What the environment must not do to a process that holds secrets (SPEC section 9.11): open a debugger, or log TLS keys.
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { ignoreDebuggerSignal } from "../core/native.ts";

/** Variables that make the runtime log TLS keys or open an inspector. */
const REFUSED = ["SSLKEYLOGFILE", "DENO_INSPECT", "DENO_INSPECT_BRK", "DENO_INSPECT_WAIT"];

/**
 * Refuses to run with such a setting, and makes the process ignore the signal that opens the inspector.
 *
 * @returns false where the signal cannot be ignored
 * @throws ProxyError `input.invalid`
 */
export function lockDownProcess(env: (name: string) => string | undefined): boolean {
  const found = REFUSED.find((name) => env(name) !== undefined) ??
    (/--inspect/.test(`${env("NODE_OPTIONS") ?? ""} ${env("DENO_V8_FLAGS") ?? ""}`)
      ? "NODE_OPTIONS"
      : undefined);
  if (found !== undefined) {
    throw new ProxyError(
      "input.invalid",
      `Cannot run with ${found} set: it could give away keys and secrets`,
      {
        hint: `unset ${found}`,
      },
    );
  }
  return ignoreDebuggerSignal();
}
