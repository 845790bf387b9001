/**
 * `agent ca list`, `show`, `remove`, `wipe`: what the helper has put into this VM's stores.
 *
 * @module
 */
import { mustBeRoot } from "../../agent/install.ts";
import { type PlacedCa, placedCa, placedCas, removePlacedCas } from "../../agent/placed_cas.ts";
import type { CommandArgs } from "../command/command.ts";
import type { JsonObject } from "../api/client.ts";
import type { Io } from "../terminal/io.ts";

/** Lists them. */
export async function listPlaced(args: CommandArgs, io: Io): Promise<void> {
  mustBeRoot();
  const cas = await placedCas();
  if (args.has("json")) return io.output.json(cas.map(jsonOf));
  if (cas.length === 0) return io.output.note("the helper has put no CA into this VM");
  io.output.table(
    ["SHA-256", "SUBJECT", "NOT AFTER", "STORES"],
    cas.map((ca) => [colons(ca.fingerprint.slice(0, 16)), ca.subject, ca.notAfter, ca.stores.join(", ")]),
  );
}

/** Describes one. */
export async function showPlaced(args: CommandArgs, io: Io): Promise<void> {
  mustBeRoot();
  const ca = await placedCa(args.optionalArgument("SHA256"));
  if (args.has("json")) return io.output.json(jsonOf(ca));
  io.output.table(["WHAT", "VALUE"], [
    ["sha-256", colons(ca.fingerprint)],
    ["subject", ca.subject],
    ["not before", ca.notBefore],
    ["not after", ca.notAfter],
    ...ca.stores.map((store) => ["store", store]),
  ]);
}

/** Takes one out of every store. */
export async function removePlaced(args: CommandArgs, io: Io): Promise<void> {
  mustBeRoot();
  const { fingerprint } = await placedCa(args.argument("SHA256"));
  sayRemoved(await removePlacedCas(fingerprint), io);
}

/** Takes all of them out. */
export async function wipePlaced(_args: CommandArgs, io: Io): Promise<void> {
  mustBeRoot();
  sayRemoved(await removePlacedCas(), io);
}

function sayRemoved(stores: readonly string[], io: Io): void {
  for (const store of stores) io.output.note(`took the CA out of ${store}`);
  if (stores.length === 0) return io.output.note("nothing to remove: the helper has put no CA into this VM");
  io.output.note(
    "programs do not trust the proxy any more; slicer-proxy-agent proxy install puts the CA back",
  );
}

/** As the host's `ca show` writes it, so that the two can be compared. */
function colons(fingerprint: string): string {
  return (fingerprint.toUpperCase().match(/../g) ?? []).join(":");
}

function jsonOf({ fingerprint, subject, notBefore, notAfter, stores }: PlacedCa): JsonObject {
  return { fingerprint: colons(fingerprint), subject, not_before: notBefore, not_after: notAfter, stores };
}
