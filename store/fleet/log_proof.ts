/**
 * What hosts of a fleet show each other so that one reads the audit log of another: a token for it, and the proof of where
 * it is read. Both are made from the seal key, which every host has and the database has not:
 *
 * - nothing is stored, so that nothing has to be rotated: with another seal key they are others;
 * - whoever can write to the database cannot make a host show its token elsewhere: a way without a proof is not taken;
 * - a token is for the log of one host, so that what one host is shown lets nobody in at another.
 *
 * Not here: where ways are kept (`log_ways.ts`), and what the token opens (`api/guard.ts`).
 *
 * @module
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { Buffer } from "node:buffer";
import type { StoreKeys } from "../seal.ts";

/** Where a host's API is reached by the other hosts, and the CA by which it is known. */
export interface LogWay {
  /** `https://HOST:PORT`. */
  readonly origin: string;
  /** PEM. */
  readonly caPem: string;
}

/** One process of a host in its fleet. */
export interface LogHostId {
  readonly fleet: string;
  /** Of the host. */
  readonly id: string;
  /** Of its process. */
  readonly instance: string;
  readonly name: string;
}

type PeerKeys = Pick<StoreKeys, "peers">;

/** The token that the log of the host `id` is read with. A secret. */
export function logToken({ peers }: PeerKeys, { fleet, id }: Pick<LogHostId, "fleet" | "id">): string {
  return `spf_${macOf(peers, ["log token", fleet, id]).toString("base64url")}`;
}

/** The proof that this process of this host says so. May be shown. */
export function proveWay({ peers }: PeerKeys, host: LogHostId, { origin, caPem }: LogWay): string {
  const { fleet, id, instance, name } = host;
  return macOf(peers, ["log way", fleet, id, instance, name, origin, caPem]).toString("base64url");
}

/** True when it is that proof. */
export function isProof(proof: string, keys: PeerKeys, host: LogHostId, way: LogWay): boolean {
  const [given, expected] = [proof, proveWay(keys, host, way)].map((text) => Buffer.from(text, "utf8"));
  return given !== undefined && expected !== undefined && given.length === expected.length &&
    timingSafeEqual(given, expected);
}

/** A JSON list of strings reads back in one way only, so no two purposes share their bytes. */
function macOf(key: Uint8Array, parts: readonly string[]): Buffer {
  return createHmac("sha256", key).update(JSON.stringify(parts), "utf8").digest();
}
