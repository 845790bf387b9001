/**
 * What a peer did wrong, while its frames are read: thrown by whatever reads them, caught in one place, which answers with
 * RST_STREAM or GOAWAY.
 *
 * Not here: what users of the codec see (`error.ts`).
 *
 * @module
 */

/** An error of the peer's. `what` continues "Cannot read the stream: …" and holds nothing that the peer sent. */
export class Fault extends Error {
  /** A stream error cuts one stream, a connection error everything (RFC 9113 §5.4). */
  readonly scope: "stream" | "connection";
  readonly h2Code: number;
  /** The peer asks for more than it may: `limit.reached` and not `malformed`. */
  readonly isFlood: boolean;

  constructor(scope: "stream" | "connection", h2Code: number, what: string, isFlood = false) {
    super(what);
    this.scope = scope;
    this.h2Code = h2Code;
    this.isFlood = isFlood;
  }
}
