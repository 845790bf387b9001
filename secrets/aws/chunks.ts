/**
 * A body of chunks that are signed one by one (aws-chunked with `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`), signed anew as it
 * passes. A signature stands before its chunk and has the same length as the one that it replaces: so one chunk is held at a
 * time, and no length changes.
 *
 * Not here: HTTP's own chunks, unsigned aws-chunked bodies (they pass as they are).
 *
 * Source: "Signature calculations for the Authorization header: transferring payload in multiple chunks", and the page on
 * trailing headers beside it (Amazon S3 API Reference).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { ProxyError } from "../../core/errors.ts";
import { GrowingBytes } from "../../core/growing_bytes.ts";

/** Bytes that may be held, of all bodies together. */
export interface Room {
  /** False, and nothing taken, when there is none. */
  take(bytes: number): boolean;
  give(bytes: number): void;
}

/** What the first signature hangs on. */
export interface ChunkParts {
  /** The head's signature, in hex. */
  readonly seed: string;
  readonly longDate: string;
  /** `20260102/eu-west-1/s3/aws4_request` */
  readonly scope: string;
  /** @returns hex */
  readonly signText: (text: string) => Promise<string>;
  readonly hasTrailer: boolean;
  readonly room: Room;
}

/** SDKs send 64 or 128 KiB. */
const MAX_CHUNK_BYTES = 1_048_576;
/** S3's own least, but for the last one: each chunk costs a signature, however small. */
const MIN_CHUNK_BYTES = 8_192;
const MAX_LINE_BYTES = 256;
const MAX_TRAILER_BYTES = 4_096;

const CHUNK_HEAD = /^([0-9A-Fa-f]{1,8});chunk-signature=[0-9A-Fa-f]{64}$/;
const SIGNATURE_CHARS = 64;
const TRAILER_SIGNATURE = /^x-amz-trailer-signature: ?[0-9A-Fa-f]{64}$/i;
const EMPTY_HASH = createHash("sha256").digest("hex");
const NOTHING = new Uint8Array(0);

/** One body. {@linkcode drop} it when it is over, however. */
export class ChunkSigner {
  readonly #parts: ChunkParts;
  #signature: string;
  /** What came and has not left. */
  readonly #held = new GrowingBytes();
  #isDropped = false;
  /** As many bytes have to be held before the next step is possible. */
  #need = 1;
  #state: "chunk" | "trailer" | "done" = "chunk";
  #wasShort = false;

  constructor(parts: ChunkParts) {
    this.#parts = parts;
    this.#signature = parts.seed;
  }

  /**
   * What may leave after this piece; empty while a chunk is not whole.
   *
   * @throws ProxyError `client.malformed`, `limit.reached`
   */
  async push(piece: Uint8Array): Promise<Uint8Array> {
    if (this.#isDropped) throw givenUp();
    if (!this.#parts.room.take(piece.length)) {
      throw new ProxyError("limit.reached", "Cannot sign the body: too many bodies are held to be signed", {
        reason: "quota",
      });
    }
    this.#held.add(piece);
    if (this.#held.size < this.#need) return NOTHING;
    const taken = await this.#run(this.#held.bytes);
    if (this.#isDropped) throw givenUp(); // meanwhile: nothing is held any more
    this.#parts.room.give(taken);
    return this.#held.take(taken);
  }

  /** The body has ended. @throws ProxyError `client.malformed` when its last chunk is missing */
  end(): void {
    if (this.#state !== "done") throw malformed("its last chunk is missing");
  }

  /** Nothing more is held. */
  drop(): void {
    this.#isDropped = true;
    this.#parts.room.give(this.#held.size);
    this.#held.clear();
  }

  /** Signs in place what is whole of it. @returns how many bytes that are */
  async #run(bytes: Buffer): Promise<number> {
    let at = 0;
    while (at < bytes.length) {
      if (this.#state === "done") throw malformed("something follows its last chunk");
      const rest = bytes.subarray(at);
      const step = this.#state === "chunk" ? await this.#chunk(rest) : await this.#trailer(rest);
      if (step === 0) return at;
      at += step;
      this.#need = 1;
    }
    return at;
  }

  /** `SIZE;chunk-signature=HEX CRLF data CRLF`; that of size 0 is the last one. */
  async #chunk(bytes: Buffer): Promise<number> {
    const lineEnd = lineEndIn(bytes, MAX_LINE_BYTES);
    if (lineEnd < 0) return this.#waitFor(bytes.length + 1);
    const match = CHUNK_HEAD.exec(bytes.toString("latin1", 0, lineEnd));
    if (!match) throw malformed("a chunk has no size or no signature");
    const size = parseInt(match[1] ?? "", 16);
    if (size > MAX_CHUNK_BYTES) throw malformed(`a chunk is larger than ${MAX_CHUNK_BYTES} bytes`);
    if (size > 0 && this.#wasShort) {
      throw malformed(`a chunk before the last one has less than ${MIN_CHUNK_BYTES} bytes`);
    }
    const from = lineEnd + 2;
    const isLast = size === 0;
    // With a trailer its lines follow at once, and the empty line is behind them.
    const whole = from + size + (isLast && this.#parts.hasTrailer ? 0 : 2);
    if (bytes.length < whole) return this.#waitFor(whole);
    if (whole > from + size && bytes.toString("latin1", from + size, whole) !== "\r\n") {
      throw malformed("a chunk is longer than its size says");
    }
    const hash = createHash("sha256").update(bytes.subarray(from, from + size)).digest("hex");
    await this.#sign("AWS4-HMAC-SHA256-PAYLOAD", [EMPTY_HASH, hash]);
    bytes.write(this.#signature, lineEnd - SIGNATURE_CHARS, "latin1");
    this.#wasShort = size < MIN_CHUNK_BYTES;
    if (isLast) this.#state = this.#parts.hasTrailer ? "trailer" : "done";
    return whole;
  }

  /** `name:value CRLF` for each field, `x-amz-trailer-signature:HEX CRLF`, CRLF. */
  async #trailer(bytes: Buffer): Promise<number> {
    let signed = "";
    for (let at = 0;;) {
      const lineEnd = lineEndIn(bytes.subarray(at), MAX_TRAILER_BYTES - at);
      const end = at + lineEnd + 2;
      if (lineEnd < 0) return this.#waitFor(bytes.length + 1);
      const line = bytes.toString("latin1", at, at + lineEnd);
      if (!TRAILER_SIGNATURE.test(line)) {
        signed += canonicalTrailer(line);
        at = end;
        continue;
      }
      if (bytes.length < end + 2) return this.#waitFor(end + 2);
      if (bytes.toString("latin1", end, end + 2) !== "\r\n") throw malformed("its trailer does not end");
      const hash = createHash("sha256").update(signed, "latin1").digest("hex");
      await this.#sign("AWS4-HMAC-SHA256-TRAILER", [hash]);
      bytes.write(this.#signature, at + lineEnd - SIGNATURE_CHARS, "latin1");
      this.#state = "done";
      return end + 2;
    }
  }

  async #sign(algorithm: string, hashes: readonly string[]): Promise<void> {
    const { longDate, scope, signText } = this.#parts;
    this.#signature = await signText([algorithm, longDate, scope, this.#signature, ...hashes].join("\n"));
  }

  #waitFor(bytes: number): 0 {
    this.#need = bytes;
    return 0;
  }
}

/** Where the first line ends, before its CRLF; -1 when its end is not here yet. */
function lineEndIn(bytes: Buffer, limit: number): number {
  const lf = bytes.subarray(0, limit).indexOf(10);
  if (lf < 0 && bytes.length >= limit) throw malformed("a line is too long");
  if (lf < 0) return -1;
  if (lf === 0 || bytes[lf - 1] !== 13) throw malformed("a line ends without CR");
  return lf - 1;
}

function canonicalTrailer(line: string): string {
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)$/.exec(line);
  if (!match) throw malformed("its trailer has a line that is no field, or no signature");
  return `${match[1]?.toLowerCase()}:${match[2]?.trim()}\n`;
}

function givenUp(): ProxyError {
  return new ProxyError("client.closed", "Cannot sign the body: the request was given up");
}

function malformed(what: string): ProxyError {
  return new ProxyError("client.malformed", `Cannot sign the body anew: ${what} (aws-chunked)`);
}
