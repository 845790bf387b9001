/**
 * `status`: what the running proxy says of itself.
 *
 * @module
 */
import { apiClient } from "../api/client.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { statusText } from "./status_text.ts";

/** Prints it for people, or with `--json` as it was answered. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const api = await apiClient(args, io);
  const status = await api.object("GET", "status");
  if (args.has("json")) return io.output.json(status);
  io.output.data(statusText(status));
}
