/**
 * `status`: what the daemon says of itself.
 *
 * @module
 */
import { apiClient, type JsonObject } from "./api_client.ts";
import type { CommandArgs } from "./command.ts";
import type { Io } from "./io.ts";
import { cell } from "./values.ts";

/** Prints every field of the answer, nested ones under their dotted name. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const api = await apiClient(args, io);
  const status = await api.object("GET", "status");
  if (args.has("json")) return io.output.json(status);
  io.output.table(["WHAT", "VALUE"], [...fields(status)]);
}

function* fields(object: JsonObject, prefix = ""): Generator<readonly string[]> {
  for (const [key, value] of Object.entries(object)) {
    const name = prefix + key;
    if (typeof value === "object" && value !== null && !isPlainList(value)) {
      yield* fields(Object.fromEntries(Object.entries(value)), `${name}.`);
    } else yield [name, cell(value) || "-"];
  }
}

function isPlainList(value: object): boolean {
  return Array.isArray(value) && value.every((each) => typeof each !== "object");
}
