/**
 * The first bytes of a client's connection (RFC 9113 §3.4), told from those of HTTP/1.
 *
 * @module
 */
import type { ByteReader } from "../streams/byte_reader.ts";
import { PREFACE } from "./frames.ts";

/**
 * Waits until it is known whether a connection begins with the preface; it stays in the reader. No request that a server of
 * HTTP/1 takes begins so.
 */
export async function beginsWithPreface(reader: ByteReader): Promise<boolean> {
  for (;;) {
    const start = reader.available.subarray(0, PREFACE.length);
    if (!start.every((byte, i) => byte === PREFACE[i])) return false;
    if (start.length === PREFACE.length) return true;
    if (!await reader.fill()) return false;
  }
}
