/**
 * How much the store holds. Every bound has its reason beside it; all of them are per state folder.
 *
 * Not here: limits of the data plane (`core/limits.ts`).
 *
 * @module
 */

/** Ten times the 1,000 clients that the policy benchmark runs with. Start took 0.2 s with those and 2.6 s with these. */
export const MAX_CLIENTS = 10_000;

/** One atomic commit of Deno KV takes 1,000 mutations, and deleting a client drops its row and all its rules in one. */
export const MAX_RULES_PER_CLIENT = 999;

/** Each kind of budget by the hour and by the day, with room. */
export const MAX_BUDGETS_PER_CLIENT = 16;

/**
 * Ten times the 10,000 rules that the policy benchmark runs with: 45 MB of heap. A host of a fleet takes 1.8 s of CPU to start with
 * them, keeps a third of a GB, and writes its copy after changes for 1.4 s; ten times as many would be ten times that (docs/FLEET.md).
 */
export const MAX_RULES = 100_000;

/** Every value is unsealed into memory at start; with the largest values these are 48 MiB. */
export const MAX_SECRETS = 1_000;

/** Bytes of a secret's value as UTF-8. Deno KV refuses rows above 65,536 bytes; the rest is for the other fields. */
export const MAX_SECRET_VALUE_BYTES = 49_152;

/** Linux's PATH_MAX. Control characters are refused, so JSON at most doubles it, which still fits the row. */
export const MAX_SOURCE_FILE_BYTES = 4_096;

/** Characters of a rule as JSON. Rules are ASCII, so that a row stays at half of what Deno KV takes. */
export const MAX_RULE_CHARS = 32_768;

/** Host groups whose CA is in the store. A host uses one of them; each takes 2 KB where the key is elliptic. */
export const MAX_CAS = 100;

/** Characters of a CA's certificate and its chain as PEM: a dozen certificates. With the key it fits a row of Deno KV. */
export const MAX_CA_CERT_CHARS = 32_768;

/** Characters of a CA's private key as PEM: RSA 16384 fits. */
export const MAX_CA_KEY_CHARS = 16_384;

/** 1,024 bits even as hex: longer says no more. (Above 255 SOCKS5 cannot carry it, RFC 1929 §2; HTTP can.) */
export const MAX_TOKEN_CHARS = 256;

/** Hosts whose matching rules are remembered per client. A client that visits more starts over; it costs a scan. */
export const MAX_REMEMBERED_HOSTS = 64;

/** Rows of one atomic commit: what Deno KV takes. */
export const MAX_COMMIT_ROWS = 1_000;

/** Characters of the rows of one commit, as JSON without their keys; Deno KV takes 819,200 bytes with them. */
export const MAX_COMMIT_CHARS = 524_288;

/** Deletions per commit when many rows go at once; well below the 1,000 mutations that Deno KV takes. */
export const SWEEP_BATCH = 500;
