/**
 * The one map from errors to HTTP statuses and bodies of the REST API. A body is text, as the published clients expect:
 * one line that says what is wrong, and when there is one, a line `hint: …`. It never holds a credential.
 *
 * Not here: errors of the data plane (`proxy/error_response.ts`).
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";
import { type ErrorCode, isProxyError, ProxyError } from "../core/errors.ts";
import { escapeTerminal } from "../core/escape.ts";
import type { ApiLog } from "./control.ts";

/** Codes that are not here are failures of this program or its host: 500. */
const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  "input.invalid": 400,
  "input.not-found": 404,
  "input.conflict": 409,
  "seal.key-missing": 400,
  "seal.key-invalid": 400,
  // RFC 4918 §11.5: the server cannot store what the call needs stored.
  "limit.reached": 507,
  "state.write-failed": 507,
  "store.away": 503,
  "store.refused": 503,
};

/** What else an error response says. */
export interface RefusalOptions {
  readonly hint?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An error response: `message`, and the hint on a line of its own. */
export function refuse(status: number, message: string, { hint, headers }: RefusalOptions = {}): Response {
  const lines = hint === undefined ? [message] : [message, `hint: ${hint}`];
  return new Response(lines.map((line) => `${escapeTerminal(line)}\n`).join(""), {
    status,
    headers: { ...headers, "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" },
  });
}

/**
 * The response to anything that was thrown. What was not expected is reported to `log`, and the caller only learns that
 * it happened: its text was written for nobody's eyes.
 */
export function errorResponse(error: unknown, call: string, log: ApiLog): Response {
  if (!isProxyError(error)) {
    log.error(`Cannot answer ${escapeTerminal(call)}: ${describeUnexpected(error)}`);
    return refuse(500, "internal error", { hint: "the log of slicer-proxy says more" });
  }
  const status = STATUS[error.code] ?? 500;
  if (status >= 500) log.error(`Cannot answer ${escapeTerminal(call)}: ${escapeTerminal(error.message)}`);
  return refuse(status, error.message, { hint: error.hint });
}

/** Says which field is wrong and how, never what was in it. Names of unknown fields are the caller's, so cut and escaped. */
export function invalidBody({ issues }: z.ZodError): ProxyError {
  const problems = issues.slice(0, 3).map((issue) => {
    if (issue.code === "unrecognized_keys") {
      return `unknown field ${JSON.stringify((issue.keys[0] ?? "").slice(0, 40))}`;
    }
    const field = issue.path.map((part) => typeof part === "number" ? `[${part}]` : `.${String(part)}`).join(
      "",
    );
    return `${field.slice(1, 80) || "the body"}: ${issue.message}`;
  });
  return new ProxyError("input.invalid", `Cannot read the request: ${problems.join("; ")}`, {
    hint: "GET /proxy/v1/openapi.json describes every field",
  });
}

/**
 * A line for the log about an error that nobody foresaw. The message of a `SyntaxError` quotes the text that could not
 * be parsed, which may be a credential, so it is left out.
 */
function describeUnexpected(error: unknown): string {
  if (!(error instanceof Error)) return `something that is no Error was thrown (${typeof error})`;
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line)).slice(0, 8);
  const message = error instanceof SyntaxError ? "" : `: ${error.message}`;
  return escapeTerminal([`${error.name}${message}`, ...frames.map((frame) => frame.trim())].join(" < "));
}
