/**
 * A connection to an upstream, as whoever dialled it hands it on.
 *
 * @module
 */
import type { ReachedParent } from "./parents/parent_hop.ts";
import type { ByteReader, ByteStream } from "../streams/byte_reader.ts";

/** The protocols that the proxy speaks, as TLS names them (RFC 7301). */
export type Alpn = "h2" | "http/1.1";

/** Where a pool has a connection, which stays the same for as long as it is open. */
export interface PlaceInPool {
  /** What must be equal for it to be used again. */
  readonly name: string;
  /** Scheme, host and port. */
  readonly place: string;
  /** Counts those of that name. */
  readonly counter: string;
}

/** A connection to an upstream, with the reader that knows what has been read of it. */
export interface UpstreamConnection {
  readonly stream: ByteStream;
  readonly reader: ByteReader;
  /** True when requests were sent on it before. */
  isReused: boolean;
  /** When its dial began, in milliseconds of `performance.now()`: what is retired is what was dialled before. */
  readonly dialledAt: number;
  /** What the pool keeps it under, once it has. */
  kept?: PlaceInPool;
  /** What the upstream has picked; without an answer it is HTTP/1.1. */
  readonly protocol: Alpn;
  /** It ends at this parent proxy, which takes requests in absolute form. Undefined where it ends at the upstream. */
  readonly parent?: ReachedParent;
}
