/**
 * What the stages of forwarding share: how a request stands, and the errors that end it, in one set of words.
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { lateTlsError } from "./tls/errors.ts";

/** A request under way, as its stages see it. */
export interface Course {
  /** Why it has ended; undefined while it goes on. */
  readonly failure: ProxyError | undefined;
  /** Something has happened: the next has `ms` milliseconds. */
  touch(ms: number): void;
  /** Ends everything that is under way; pending reads and writes reject. Only the first reason counts. */
  fail(failure: ProxyError): void;
}

/** The client has closed its connection, or reset its stream. */
export function clientGone(): ProxyError {
  return new ProxyError("client.closed", "Cannot answer: the client closed the connection");
}

export function stopping(): ProxyError {
  return new ProxyError("limit.reached", "Cannot go on: the proxy is stopping", { reason: "shutdown" });
}

export function revoked(): ProxyError {
  return new ProxyError(
    "policy.revoked",
    "Cannot go on: the client, rule or secret that admitted this is gone",
    { reason: "revoked" },
  );
}

/** An error of the runtime's about the connection to the upstream `host` as one of ours; every other error as it is. */
export function toUpstreamError(error: unknown, host: string): unknown {
  if (error instanceof ProxyError || !(error instanceof Error)) return error;
  const late = lateTlsError(host, error);
  if (late) return late;
  const isConnectionError = error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.UnexpectedEof || error instanceof Deno.errors.ConnectionAborted ||
    error instanceof Deno.errors.InvalidData || error instanceof Deno.errors.Interrupted ||
    error instanceof Deno.errors.BadResource || error instanceof Deno.errors.TimedOut ||
    error instanceof Deno.errors.NotConnected;
  if (!isConnectionError) return error;
  return new ProxyError("upstream.closed", "Cannot complete the request: the upstream connection broke", {
    cause: error,
  });
}
