/**
 * Clients as rows, and their tokens. A token is known only while it is made; what is kept is its HMAC-SHA-256 under a
 * key of the store, so that neither the state file nor memory gives a token away, nor lets one be tested offline.
 *
 *     ["client", name] → { id, version, digest, createdAt, suspendedSince?, budget? }
 *
 * Not here: who may have which name or token at the moment (`state.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHmac } from "node:crypto";
import { ProxyError } from "../core/errors.ts";
import type { Mutation, Row } from "./engine.ts";
import { MAX_TOKEN_CHARS } from "./limits.ts";
import type { ClientRecord } from "./records.ts";
import { RowReader } from "./row.ts";

/** The prefix of all client rows. */
export const CLIENT_PREFIX: Deno.KvKey = ["client"];

/** A client with what only the store knows of it. */
export interface StoredClient {
  readonly record: ClientRecord;
  /** Random and never used again: rules hang on it, so a client made anew under an old name inherits none. */
  readonly id: string;
  /** See {@linkcode digestToken}. */
  readonly digest: string;
}

/** A new token: `spi_` and 256 random bits in base64url. */
export function makeToken(): string {
  return `spi_${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url")}`;
}

/**
 * Returns a token that a user brings, when it has 1 to 256 visible ASCII characters: it must pass through
 * `Proxy-Authorization` and RFC 1929 unchanged. A colon is fine, Basic splits at the first (RFC 7617 §2). How often short
 * ones may be guessed is the data plane's to bound.
 *
 * @throws ProxyError `input.invalid`, without the token
 */
export function parseOwnToken(token: string): string {
  if (token.length > MAX_TOKEN_CHARS || !/^[\x21-\x7e]+$/.test(token)) {
    throw new ProxyError(
      "input.invalid",
      `Cannot use this token: a token has 1 to ${MAX_TOKEN_CHARS} visible ASCII characters`,
      { hint: "leave the token out to have a strong one made" },
    );
  }
  return token;
}

/** What is kept of a token, and looked up for one that is presented. */
export function digestToken(key: Uint8Array, token: string): string {
  return createHmac("sha256", key).update(token, "utf8").digest("base64");
}

/** Writes a client's row. */
export function writeClient({ record, id, digest }: StoredClient): Mutation {
  const { name, ...fields } = record;
  return { key: [...CLIENT_PREFIX, name], value: { id, digest, ...fields } };
}

/** Removes a client's row. */
export function removeClient(name: string): Mutation {
  return { key: [...CLIENT_PREFIX, name] };
}

/** The inverse of {@linkcode writeClient}. @throws ProxyError `state.damaged` */
export function readClient({ key, value }: Row): StoredClient {
  const name = String(key[1]);
  const row = new RowReader(`client ${name}`, value);
  const budget = row.optionalStrings("budget");
  const suspendedSince = row.optionalNumber("suspendedSince");
  return {
    record: {
      name,
      version: row.string("version"),
      createdAt: row.number("createdAt"),
      ...(suspendedSince === undefined ? {} : { suspendedSince }),
      ...(budget === undefined ? {} : { budget }),
    },
    id: row.string("id"),
    digest: row.string("digest"),
  };
}
