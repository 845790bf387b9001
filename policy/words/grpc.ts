/**
 * Conditions about gRPC calls: `package.Service/Method`, or `package.Service/*` for every method of a service, which means
 * `POST` and the path of that name (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
 *
 * @module
 */
import { quoteText } from "../../core/escape.ts";
import { ProxyError } from "../../core/errors.ts";

/** A service with its package, as protobuf writes names, and a method; none of it has a spelling besides. */
const CALL = /^[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*\/(?:[A-Za-z_][A-Za-z0-9_]*|\*)$/;
const MAX_CHARS = 512;

/** What of a request says which call it is. */
export interface CallRequest {
  /** As sent: `post` is no call. */
  readonly method: string;
  /** Without the query. */
  readonly path: string;
}

/**
 * A call in a rule, canonical: names are compared as they are written.
 *
 * @throws ProxyError `input.invalid`
 */
export function parseGrpcCall(text: string): string {
  const call = text.startsWith("/") ? text.slice(1) : text;
  if (call.length <= MAX_CHARS && CALL.test(call)) return call;
  throw new ProxyError("input.invalid", `Cannot use ${quoteText(text, 80)} as a gRPC method`, {
    hint:
      "write package.Service/Method, such as grpc.health.v1.Health/Check, or package.Service/* for all of it",
  });
}

/** The call that a request is, as a rule would say it; undefined for what is none. */
export function callOf({ method, path }: CallRequest): string | undefined {
  const call = path.slice(1);
  const isCall = method === "POST" && path.startsWith("/") && call.length <= MAX_CHARS &&
    CALL.test(call) && !call.endsWith("*");
  return isCall ? call : undefined;
}

/** True when a request is one of the calls. */
export function coversCall(calls: readonly string[], request: CallRequest): boolean {
  const call = callOf(request);
  if (call === undefined) return false;
  const ofService = `${call.slice(0, call.indexOf("/"))}/*`;
  return calls.includes(call) || calls.includes(ofService);
}
