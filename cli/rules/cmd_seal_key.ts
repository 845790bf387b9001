/**
 * `seal-key`: everything is sealed with another key, at once on one host, and in a fleet when all hosts have the key.
 *
 * @module
 */
import { resolve } from "node:path";
import { apiClient, type JsonObject } from "../api/client.ts";
import { cell } from "../api/values.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";

/** Has the running proxy do it, or begin it. */
export async function rotateSealKey(args: CommandArgs, io: Io): Promise<void> {
  const brought = args.text("key-file");
  const api = await apiClient(args, io);
  // The proxy's working folder may be another.
  const body = brought === undefined ? {} : { key_file: resolve(brought) };
  const rotated = await api.object("POST", "seal-key/rotate", body);
  if (args.has("json")) return io.output.json(rotated);
  if (rotated.secrets === undefined) return printBegun(rotated, io);
  const { secrets, id, key_file, former_key_file } = rotated;
  const plural = secrets === 1 ? "" : "s";
  io.output.data(
    `sealed ${cell(secrets)} secret${plural} with the key ${cell(id)}, which is in ${cell(key_file)}`,
  );
  io.output.note(
    former_key_file === undefined
      ? `from now on the proxy starts with --seal-key-file ${
        cell(key_file)
      }; backups from before need the key from before`
      : `the key from before is in ${cell(former_key_file)}: backups from before need it; else remove it`,
  );
}

/** Says which key is in force, and how far another one is. */
export async function showSealKey(args: CommandArgs, io: Io): Promise<void> {
  const status = await (await apiClient(args, io)).object("GET", "seal-key");
  if (args.has("json")) return io.output.json(status);
  const rotation: JsonObject = Object(status.rotation);
  io.output.data([
    `sealed with key ${cell(status.id)}, which is in ${cell(status.key_file)}`,
    ...(status.rotation === undefined ? [] : [rotationLine(rotation)]),
  ].join("\n"));
  if (rotation.phase === "waiting") noteCopy(status, io);
}

/** Gives up a key that is not in force yet. */
export async function cancelSealKey(args: CommandArgs, io: Io): Promise<void> {
  await (await apiClient(args, io)).call("DELETE", "seal-key/rotation");
  io.output.note("no other seal key is to come into force; remove the files of the one that was");
}

/** How far a rotation is, in one line; `store status` has it too. */
export function rotationLine(rotation: JsonObject): string {
  const waiting = Array.isArray(rotation.waiting_for) ? rotation.waiting_for.map(cell).join(", ") : "";
  const id = cell(rotation.next_id);
  switch (rotation.phase) {
    case "waiting":
      return `key ${id} is to follow, when these hosts have it: ${waiting}`;
    case "sealing":
      return `key ${id} is to follow: ${cell(rotation.resealed)} of ${
        cell(rotation.rows)
      } rows are sealed with it`;
    default:
      return `key ${cell(rotation.former_id)} is needed until these hosts have ${id} in force: ${waiting}`;
  }
}

function printBegun(status: JsonObject, io: Io): void {
  const rotation: JsonObject = Object(status.rotation);
  // A fleet of one host may be done already.
  if (status.rotation === undefined) return io.output.data(`sealed with key ${cell(status.id)}`);
  io.output.data(`key ${cell(rotation.next_id)} is to follow ${cell(rotation.former_id)}`);
  noteCopy(status, io);
}

function noteCopy(status: JsonObject, io: Io): void {
  io.output.note(
    `every host needs it, with mode 600, beside its seal key: on this one it is ${
      cell(status.next_key_file)
    }; ` +
      "slicer-proxy seal-key status says who is waited for",
  );
}
