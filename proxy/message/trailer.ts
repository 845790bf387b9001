/**
 * Which fields must not stand in a trailer section, in either version of HTTP.
 *
 * @module
 */
import { foldName, isCredentialHeader, isHopByHop, isOverride } from "./fields.ts";

/** Framing, routing, credentials and what says how to read the content do not belong in trailers (RFC 9110 §6.5.1). */
const FORBIDDEN_TRAILERS = new Set([
  "content-length",
  "transfer-encoding",
  "host",
  "trailer",
  "cookie",
  "set-cookie",
  "expect",
  "content-encoding",
  "content-type",
  "content-range",
]);

/** Some servers merge trailers into the header, after we have checked it (SPEC section 9.3). `key` is in lower case. */
export function isForbiddenTrailer(key: string): boolean {
  const name = foldName(key);
  return FORBIDDEN_TRAILERS.has(name) || isHopByHop(name) || isCredentialHeader(name) || isOverride(name) ||
    name.startsWith("x-slicer-proxy-");
}
