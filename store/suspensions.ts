/**
 * The suspension of all clients, as a row; it outlives a restart. That of one client is in the client's own row.
 *
 *     ["suspended", "all"] → { since }
 *
 * Not here: what that means for what is open (`view.ts`, `proxy/grants.ts`).
 *
 * @module
 */
import type { Mutation, Row } from "./engine.ts";
import { RowReader } from "./row.ts";

/** The prefix of the row. */
export const SUSPENSION_PREFIX: Deno.KvKey = ["suspended"];

const KEY: Deno.KvKey = [...SUSPENSION_PREFIX, "all"];

/** Somebody who is suspended. */
export interface Suspension {
  /** All clients, also those that are made later, when undefined. */
  readonly client?: string | undefined;
  /** Epoch milliseconds. */
  readonly since: number;
}

/** Writes the row, or removes it when nobody suspends all. */
export function writeSuspension(since: number | undefined): Mutation {
  return since === undefined ? { key: KEY } : { key: KEY, value: { since } };
}

/** The inverse of {@linkcode writeSuspension}. @throws ProxyError `state.damaged` */
export function readSuspension({ value }: Row): number {
  return new RowReader("the suspension of all", value).number("since");
}
