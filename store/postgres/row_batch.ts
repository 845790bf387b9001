/**
 * Rows and changes of rows on their way to PostgreSQL and back, as JSON that one parameter takes.
 *
 *     [{ "k": key, "v": row or null when it goes, "e": milliseconds until it may be swept or null }, …]   bytes as base64
 *
 * Rules end by the clock of the host that made them, and hosts' clocks differ: in the store an end is by the database's clock,
 * and every host reads it by its own.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProxyError } from "../../core/errors.ts";
import type { Mutation, Row } from "../engine.ts";
import { decodeRow, encodeRow } from "../row_codec.ts";
import { decodeKey, encodeKey } from "./row_key.ts";

/** The field of a row that is a time by which hosts act. */
const END_FIELD = "expiresAt";

/** @param aheadMs how far the database's clock is ahead of this host's */
export function encodeBatch(mutations: readonly Mutation[], aheadMs: number): string {
  // Of one key the last change counts; a statement that changes a row twice is an error.
  const byKey = new Map<string, unknown>();
  for (const { key, value, expireInMs } of mutations) {
    const k = Buffer.from(encodeKey(key)).toString("base64");
    const v = value && Buffer.from(encodeRow(shifted(value, aheadMs))).toString("base64");
    byKey.set(k, { k, v: v ?? null, e: expireInMs ?? null });
  }
  return JSON.stringify([...byKey.values()]);
}

/** The batch of the rows of several, no two of one key. */
export function joinBatches(batches: readonly string[]): string {
  return `[${batches.map((each) => each.slice(1, -1)).filter((each) => each !== "").join(",")}]`;
}

/** The inverse of {@linkcode encodeBatch}. @throws ProxyError `state.damaged` */
export function decodeBatch(text: string, aheadMs: number): Mutation[] {
  const list: unknown = JSON.parse(text);
  if (!Array.isArray(list)) throw damaged();
  return list.map((each: unknown): Mutation => {
    if (typeof each !== "object" || each === null || !("k" in each) || typeof each.k !== "string") {
      throw damaged();
    }
    const key = decodeKey(bytesOf(each.k));
    if (!("v" in each) || each.v === null) return { key };
    if (typeof each.v !== "string") throw damaged();
    const value = decodeRow(bytesOf(each.v));
    if (!value) throw damaged();
    return { key, value: shifted(value, -aheadMs) };
  });
}

/** A row as the database has it, key and value in base64. A value that is none is left for its reader to refuse. */
export function decodeStored(key: unknown, value: unknown, aheadMs: number): Row {
  if (typeof key !== "string" || typeof value !== "string") throw damaged();
  const fields = decodeRow(bytesOf(value));
  return { key: decodeKey(bytesOf(key)), value: fields && shifted(fields, -aheadMs) };
}

/** Not a Buffer, of which slices would be parts. */
function bytesOf(base64: string): Uint8Array {
  const { buffer, byteOffset, length } = Buffer.from(base64, "base64");
  return new Uint8Array(buffer, byteOffset, length);
}

function shifted(value: Readonly<Record<string, unknown>>, byMs: number): Readonly<Record<string, unknown>> {
  const end = value[END_FIELD];
  return byMs === 0 || typeof end !== "number" ? value : { ...value, [END_FIELD]: end + byMs };
}

function damaged(): ProxyError {
  return new ProxyError("state.damaged", "Cannot read a change of the store: it is damaged", {
    hint: "restore the database from a backup",
  });
}
