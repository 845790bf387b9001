/**
 * `store migrate`: the policy of a state folder into a fleet's store, or back.
 *
 * @module
 */
import { join } from "node:path";
import type { Engine, SealedEngine } from "../../store/engine.ts";
import { Database } from "../../store/kv.ts";
import { migrate } from "../../store/migrate.ts";
import type { CommandArgs } from "../command/command.ts";
import { usageError } from "../command/parse.ts";
import type { Io } from "../terminal/io.ts";
import { openStore } from "./open_store.ts";
import { storePlaceOf } from "./place.ts";

/** Copies it. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const [from, to] = [args.textOf("from"), args.textOf("to")];
  const folder = [from, to].find((place) => !isUrl(place));
  const sealKeyFile = args.text("seal-key-file") ?? (folder === undefined ? undefined : join(folder, "mk"));
  if (isUrl(from) === isUrl(to) || sealKeyFile === undefined) {
    throw usageError(
      "Cannot migrate: one of --from and --to is a state folder, and the other a postgres:// address",
      "slicer-proxy store migrate --from ./.slicer/proxy --to postgres://slicer_proxy@db.internal/slicer_proxy",
    );
  }
  await using source = await openPlace(args, from, io);
  await using target = await openPlace(args, to, io);
  const { clients, rules, secrets, cas } = await migrate(
    { from: source, to: target },
    sealKeyFile,
    io.clock.now(),
  );
  const caWords = cas === 0 ? "" : `, and the CAs of ${cas} host groups`;
  io.output.note(`copied ${clients} clients, ${rules} rules and ${secrets} secrets${caWords}`);
  io.output.note(
    isUrl(to)
      ? `every host of the fleet needs the seal key, ${sealKeyFile}: copy it over a channel that nobody reads`
      : `the proxy needs the same seal key: --seal-key-file ${sealKeyFile}, or a copy of it as ${
        join(to, "mk")
      }`,
  );
}

function openPlace(args: CommandArgs, place: string, io: Io): Promise<Engine & SealedEngine> {
  const store = isUrl(place) ? storePlaceOf(args, place) : undefined;
  return store ? openStore(store, io) : Database.open(place);
}

function isUrl(place: string): boolean {
  return /^postgres(ql)?:/.test(place);
}
