/**
 * Decoding a content coding beside the stream (RFC 9110 §8.4.1, RFC 8878), within bounds.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Transform } from "node:stream";
import * as zlib from "node:zlib";
import { ProxyError } from "../../core/errors.ts";

/** Makes what decodes a body that begins with these bytes. */
export type MakeDecoder = (first: Uint8Array) => Transform;

/** Decoded bytes that are always looked at, and how many for each that was received beyond: looking costs time. */
const FREE_BYTES = 64 * 1_048_576;
const MAX_RATIO = 100;

/** What decodes a content coding; undefined for one that is not known here. */
export function decoderOf(coding: string): MakeDecoder | undefined {
  switch (coding) {
    case "gzip":
    case "x-gzip":
      return () => zlib.createGunzip();
    case "deflate":
      return (first) => isZlib(first) ? zlib.createInflate() : zlib.createInflateRaw();
    case "br":
      return () => zlib.createBrotliDecompress();
    case "zstd":
      return () => zlib.createZstdDecompress();
    default:
      return undefined;
  }
}

/** RFC 1950 §2.2. Servers are known that leave the header out, and clients take both. */
function isZlib([cmf = 0, flags = 0]: Uint8Array): boolean {
  return (cmf & 0x0f) === 8 && (cmf * 256 + flags) % 31 === 0;
}

/** See the module. */
export class Decoder {
  readonly #make: MakeDecoder;
  readonly #onText: (text: string) => void;
  #transform: Transform | undefined;
  #received = 0;
  #decoded = 0;
  #isOver = false;
  #failure: unknown;

  /** @param onText called with the decoded bytes as Latin-1; what it throws ends the decoding */
  constructor(make: MakeDecoder, onText: (text: string) => void) {
    this.#make = make;
    this.#onText = onText;
  }

  /**
   * Decodes a piece and has all of it looked at. What cannot be decoded no client can read either, and is not looked at.
   *
   * @throws ProxyError `upstream.malformed` for what becomes too much, and whatever `onText` throws
   */
  async write(piece: Uint8Array): Promise<void> {
    if (this.#isOver || piece.length === 0) return;
    const transform = this.#transform ??= this.#open(piece);
    this.#received += piece.length;
    const { promise, resolve } = Promise.withResolvers<void>();
    const stop = () => resolve();
    transform.once("close", stop);
    transform.write(Uint8Array.from(piece), stop);
    await promise;
    transform.off("close", stop);
    if (this.#failure) throw this.#failure;
  }

  close(): void {
    this.#isOver = true;
    this.#transform?.destroy();
  }

  #open(first: Uint8Array): Transform {
    const transform = this.#make(first);
    transform.on("data", (bytes: Uint8Array) => this.#take(bytes));
    transform.on("error", () => this.close());
    transform.on("end", () => this.#isOver = true);
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
