/**
 * `export`: what is in force as a policy file.
 *
 * @module
 */
import { apiClient } from "../api/client.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";

/** Prints the policy file, which `apply` takes and which changes nothing; or its JSON Schema. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  if (args.has("schema")) {
    const { default: schema } = await import("../../docs/policy.schema.json", { with: { type: "json" } });
    return io.output.json(schema);
  }
  const api = await apiClient(args, io);
  if (args.has("json")) return io.output.json(await api.object("GET", "policy"));
  io.output.data((await api.text("policy", "application/yaml")).trimEnd());
}
