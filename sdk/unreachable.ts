/**
 * Why no answer came: what the runtimes throw, in words that say what to do.
 *
 * @module
 */
import { SlicerProxyError } from "./error.ts";
import type { Target } from "./target.ts";

const START_HINT = "is the proxy running? start it with slicer-proxy up, or say where it is";

/** What the runtimes say, in codes (Node) or English (Deno), what it means, and what to do. The first match counts. */
const CAUSES: readonly (readonly [pattern: RegExp, state: string, hint: string])[] = [
  [/\bENOENT\b|No such file/, "there is no such socket", START_HINT],
  [
    /\bE(ACCES|PERM)\b|Permission denied/,
    "permission denied",
    "the proxy belongs to another user: run this as that user, or with sudo",
  ],
  [/\bECONNREFUSED\b|refused/i, "nothing listens there", START_HINT],
  [/\bENOTFOUND\b|\bEAI_AGAIN\b|dns error|lookup/, "there is no such host", "look at the address"],
  [
    /certificate|\bCERT_|_CERT\b|ALTNAME/i,
    "its certificate is not trusted, or not valid for it",
    "set ca, or SLICER_CA_FILE, to the ca.crt of the proxy's host group",
  ],
];

/** The error of a call that had no answer; `failure` is what was thrown, or that it took too long. */
export function explainFailure(target: Target, failure: unknown): SlicerProxyError {
  const prefix = `Cannot reach the proxy's API at ${target.label}`;
  if (failure === "late") {
    return new SlicerProxyError(`${prefix}: no answer in time`, {
      hint: "look at the log of slicer-proxy up",
    });
  }
  if (failure instanceof Error && failure.name === "NotCapable") {
    return new SlicerProxyError(`${prefix}: ${failure.message}`, {
      hint: "Deno needs --allow-net, and for a socket --allow-read and --allow-write too",
      cause: failure,
    });
  }
  const text = describe(failure);
  const [, state, hint] = CAUSES.find(([pattern]) => pattern.test(text)) ??
    [undefined, "the connection was cut", "look at the log of slicer-proxy up"];
  return new SlicerProxyError(`${prefix}: ${state}`, { hint, cause: failure });
}

function describe(failure: unknown): string {
  if (!(failure instanceof Error)) return "";
  const { code } = failure as { readonly code?: unknown };
  return `${typeof code === "string" ? code : ""} ${failure.message} ${describe(failure.cause)}`;
}
