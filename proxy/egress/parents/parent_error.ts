/**
 * What goes wrong with a parent proxy, in words that say that it was the parent. Its address stays out of them: clients read
 * them, and it is a part of a network that is none of theirs.
 *
 * @module
 */
import { type ErrorCode, isProxyError, ProxyError } from "../../../core/errors.ts";
import type { Reason } from "../../../policy/reason.ts";

type ParentReason = Extract<Reason, `parent-${string}`>;

const CODES: Readonly<Record<ParentReason, ErrorCode>> = {
  "parent-unreachable": "upstream.unreachable",
  "parent-tls": "upstream.tls",
  "parent-auth": "upstream.refused",
  "parent-denied": "upstream.refused",
  "parent-failed": "upstream.unreachable",
  "parent-timeout": "upstream.timeout",
  "parent-malformed": "upstream.malformed",
};

/** The error for `where`, a host with or without its port. */
export function parentError(
  where: string,
  reason: ParentReason,
  { words, cause }: { readonly words: string; readonly cause?: unknown },
): ProxyError {
  return new ProxyError(
    CODES[reason],
    `Cannot connect to ${where} through the parent proxy: ${words}`,
    { reason, ...(cause === undefined ? {} : { cause }) },
  );
}

/** The error for a status that a parent answers `CONNECT` with (RFC 9110 §9.3.6), or a request in absolute form with. */
export function refusedByParent(where: string, status: number): ProxyError {
  if (status === 407 || status === 401) { // tinyproxy says 401 of a wrong password
    return parentError(where, "parent-auth", {
      words: `it answers ${status}: it does not take the user and password that it gets, or wants some`,
    });
  }
  if (status === 504) {
    return parentError(where, "parent-timeout", { words: "it answers 504: the upstream is silent" });
  }
  return status >= 500
    ? parentError(where, "parent-failed", { words: `it answers ${status}: it could not connect` })
    : parentError(where, "parent-denied", { words: `it answers ${status}: it refuses to connect there` });
}

/** What kept us from reaching the parent itself. */
export function notReached(where: string, error: unknown): unknown {
  if (isProxyError(error, "limit.reached")) {
    const what = `Cannot connect to ${where} through the parent proxy: too much is under way`;
    return new ProxyError(error.code, what, { cause: error, reason: error.reason ?? "overload" });
  }
  if (!isProxyError(error) || !error.code.startsWith("upstream.")) return error;
  if (error.reason === "own-address" || error.reason?.startsWith("parent-")) return error;
  const fail = (reason: ParentReason, words: string) => parentError(where, reason, { words, cause: error });
  if (error.code === "upstream.timeout") return fail("parent-timeout", "it does not answer in time");
  if (error.code === "upstream.tls") {
    return fail("parent-tls", "its certificate is not trusted here (see --upstream-ca), or TLS failed");
  }
  if (error.code === "upstream.dns") return fail("parent-unreachable", "its name has no address");
  if (error.code === "upstream.refused") return fail("parent-unreachable", "it refuses connections");
  return fail("parent-unreachable", "it cannot be reached");
}
