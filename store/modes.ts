/**
 * Switches of the mode as rows, in the store of a fleet: there they are for all hosts, and outlive each of them. A host that is
 * alone keeps them in memory.
 *
 *     ["mode", client's name, or "" for all] → { mode, expiresAt? }
 *
 * Not here: what a switch means (`policy/mode.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import type { ModeSwitch } from "../policy/mode.ts";
import type { Mutation, Row } from "./engine.ts";
import { RowReader } from "./row.ts";

/** The prefix of the rows. */
export const MODE_PREFIX: Deno.KvKey = ["mode"];

/** Writes a switch's row. */
export function writeMode({ client = "", mode, untilMs }: ModeSwitch, nowMs: number): Mutation {
  const key = [...MODE_PREFIX, client];
  if (untilMs === undefined) return { key, value: { mode } };
  return { key, value: { mode, expiresAt: untilMs }, expireInMs: Math.max(1, untilMs - nowMs) };
}

/** Removes the switch of a client. */
export function removeMode(client: string): Mutation {
  return { key: [...MODE_PREFIX, client] };
}

/** The inverse of {@linkcode writeMode}. @throws ProxyError `state.damaged` */
export function readMode({ key, value }: Row): ModeSwitch {
  const row = new RowReader("a switch of the mode", value);
  const mode = row.string("mode");
  const client = String(key[1]);
  const untilMs = row.optionalNumber("expiresAt");
  if (mode !== "strict" && mode !== "audit") {
    throw new ProxyError("state.newer", "Cannot read a switch of the mode: a newer slicer-proxy wrote it");
  }
  return {
    mode,
    ...(client === "" ? {} : { client }),
    ...(untilMs === undefined ? {} : { untilMs }),
  };
}
