/**
 * What the way to an upstream takes, for who reckons with descriptors (`core/limits.ts`).
 *
 * @module
 */
import { type DialFrom, FROM_ANYWHERE } from "../connect/connector.ts";
import { NO_PARENTS, type ParentProxies } from "./parents.ts";

/** Two ends of a loopback hop (`../connect/line.ts`). */
const PER_RELAY = 2;

/** The most descriptors of one connection: below TLS to a parent there is a hop where `node:net` dials, above it another. */
export function descriptorsPerUpstream(
  { byPattern }: ParentProxies = NO_PARENTS,
  { sources }: DialFrom = FROM_ANYWHERE,
): number {
  const isTlsInTls = byPattern.some(({ parent }) => parent.scheme === "https");
  return 1 + (isTlsInTls ? PER_RELAY : 0) + (sources.length > 0 ? PER_RELAY : 0);
}
