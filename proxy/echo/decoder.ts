/**
 * Decoding a content coding beside the stream (RFC 9110 §8.4.1, RFC 8878), within bounds.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Transform } from "node:stream";
import * as zlib from "node:zlib";
import { ProxyError } from "../../core/errors.ts";

/** What decodes, and says how much of its input it has used. */
type Decoding = Transform & { readonly bytesWritten: number };

/** Makes what decodes a body that begins with these four bytes or more; undefined when they are not in the coding. */
export type MakeDecoder = (first: Uint8Array) => Decoding | undefined;

/** Decoded bytes that are always looked at, and how many for each that was received beyond: looking costs time. */
const FREE_BYTES = 64 * 1_048_576;
const MAX_RATIO = 100;
/** So many bytes tell what it is. */
const MAGIC_BYTES = 4;
/** A body of zstd may be many frames. Each costs a decoder, and the smallest is nine bytes. */
const MAX_FRAMES = 4_096;

const NOTHING: Uint8Array = new Uint8Array(0);

/** What decodes a content coding; undefined for one that is not known here. */
export function decoderOf(coding: string): MakeDecoder | undefined {
  switch (coding) {
    case "gzip":
    case "x-gzip":
      return (first) => viewOf(first).getUint16(0) === 0x1f8b ? zlib.createGunzip() : undefined;
    case "deflate":
      return (first) => isZlib(first) ? zlib.createInflate() : zlib.createInflateRaw();
    case "br":
      return () => zlib.createBrotliDecompress();
    case "zstd":
      return (first) => isZstd(first) ? zlib.createZstdDecompress() : undefined;
    default:
      return undefined;
  }
}

/** RFC 1950 §2.2. Servers are known that leave the header out, and clients take both. */
function isZlib(first: Uint8Array): boolean {
  const header = viewOf(first).getUint16(0);
  return (header & 0x0f00) === 0x0800 && header % 31 === 0;
}

/** RFC 8878 §3.1: a frame, or one to be skipped. */
function isZstd(first: Uint8Array): boolean {
  const magic = viewOf(first).getUint32(0, true);
  return magic === 0xfd2fb528 || magic >>> 4 === 0x184d2a5;
}

function viewOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, length);
}

/** See the module. */
export class Decoder {
  readonly #make: MakeDecoder;
  readonly #onText: (text: string) => void;
  #transform: Decoding | undefined;
  /** Bytes that do not tell yet what they begin. */
  #first: Uint8Array = NOTHING;
  #frames = 0;
  #received = 0;
  #decoded = 0;
  #hasFrameEnded = false;
  #isOver = false;
  #isBroken = false;
  #failure: unknown;

  /** @param onText called with the decoded bytes as Latin-1; what it throws ends the decoding */
  constructor(make: MakeDecoder, onText: (text: string) => void) {
    this.#make = make;
    this.#onText = onText;
  }

  /** True once something could not be decoded: what it holds was not looked at, though a client may get a part of it. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /**
   * Decodes a piece and has all of it looked at. What is not in the coding, or behind its end, is not looked at.
   *
   * @throws ProxyError `upstream.malformed` for what becomes too much, and whatever `onText` throws
   */
  async write(piece: Uint8Array): Promise<void> {
    if (this.#isOver || piece.length === 0) return;
    this.#received += piece.length;
    let rest: Uint8Array = this.#first.length === 0 ? piece : Buffer.concat([this.#first, piece]);
    this.#first = NOTHING;
    while (!this.#isOver && rest.length > 0) {
      if (!this.#transform && rest.length < MAGIC_BYTES) {
        this.#first = Uint8Array.from(rest);
        return;
      }
      rest = await this.#decode(rest);
    }
  }

  close(): void {
    this.#isOver = true;
    this.#transform?.destroy();
  }

  /** @returns what is behind the end of a frame */
  async #decode(bytes: Uint8Array): Promise<Uint8Array> {
    const transform = this.#transform ??= this.#open(bytes);
    if (!transform) return NOTHING;
    const before = transform.bytesWritten;
    const { promise, resolve } = Promise.withResolvers<void>();
    const stop = () => resolve();
    transform.once("close", stop);
    transform.write(Uint8Array.from(bytes), stop);
    await promise;
    transform.off("close", stop);
    if (this.#failure) throw this.#failure;
    if (!this.#hasFrameEnded) return NOTHING;
    this.#hasFrameEnded = false;
    this.#transform = undefined;
    transform.destroy();
    return bytes.subarray(transform.bytesWritten - before);
  }

  #open(first: Uint8Array): Decoding | undefined {
    if (++this.#frames > MAX_FRAMES) {
      throw new ProxyError("upstream.malformed", "Cannot pass the response on: it has too many frames");
    }
    const transform = this.#make(first);
    this.#isOver = transform === undefined;
    transform?.on("data", (bytes: Uint8Array) => this.#take(bytes));
    transform?.on("error", () => {
      this.#isBroken = true;
      this.close();
    });
    transform?.on("end", () => this.#hasFrameEnded = true);
    return transform;
  }

  #take(bytes: Uint8Array): void {
    if (this.#failure) return;
    this.#decoded += bytes.length;
    try {
      if (this.#decoded > FREE_BYTES + MAX_RATIO * this.#received) {
        throw new ProxyError("upstream.malformed", "Cannot pass the response on: it decodes to too much");
      }
      this.#onText(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1"));
    } catch (failure) {
      this.#failure = failure;
      this.close();
    }
  }
}
