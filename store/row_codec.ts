/**
 * Rows as bytes. Deno KV would store an object in V8's own serialisation, which another version of the runtime may not read;
 * bytes it stores as they are, so that state survives an update of the program and the way back.
 *
 * A row is a 4-byte big-endian length, that many bytes of JSON, and the byte fields one after the other. In the JSON a byte
 * field is `{"bytes": <length>}`, which no other field looks like: rows are flat.
 *
 * @module
 */

const HEADER_BYTES = 4;
/** Made once: a large fleet has as many rows as it has rules. */
const ENCODER = new TextEncoder();
const DECODER = new TextDecoder("utf-8", { fatal: true });

/** The bytes of a flat record of strings, numbers, booleans, lists of them, and byte arrays. */
export function encodeRow(fields: Readonly<Record<string, unknown>>): Uint8Array<ArrayBuffer> {
  const blobs = Object.values(fields).filter((value) => value instanceof Uint8Array);
  const json = ENCODER.encode(JSON.stringify(blobs.length === 0 ? fields : withLengths(fields)));
  const row = new Uint8Array(HEADER_BYTES + json.length + blobs.reduce((sum, blob) => sum + blob.length, 0));
  new DataView(row.buffer).setUint32(0, json.length);
  row.set(json, HEADER_BYTES);
  let at = HEADER_BYTES + json.length;
  for (const blob of blobs) {
    row.set(blob, at);
    at += blob.length;
  }
  return row;
}

/** The record of a row, or undefined when it is none. */
export function decodeRow(row: unknown): Record<string, unknown> | undefined {
  if (!(row instanceof Uint8Array) || row.length < HEADER_BYTES) return undefined;
  let at = HEADER_BYTES + new DataView(row.buffer, row.byteOffset).getUint32(0);
  let plain: unknown;
  try {
    plain = JSON.parse(DECODER.decode(row.subarray(HEADER_BYTES, at)));
  } catch {
    return undefined;
  }
  if (typeof plain !== "object" || plain === null) return undefined;
  const fields = plain as Record<string, unknown>;
  for (const name of Object.keys(fields)) {
    const length = blobLength(fields[name]);
    if (length !== undefined) fields[name] = row.slice(at, at += length);
  }
  return at === row.length ? fields : undefined;
}

function withLengths(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const each = Object.entries(fields).map(([name, value]) =>
    value instanceof Uint8Array ? [name, { bytes: value.length }] : [name, value]
  );
  return Object.fromEntries(each);
}

function blobLength(value: unknown): number | undefined {
  if (typeof value !== "object" || value === null || !("bytes" in value)) return undefined;
  return typeof value.bytes === "number" && Number.isSafeInteger(value.bytes) && value.bytes >= 0
    ? value.bytes
    : undefined;
}
