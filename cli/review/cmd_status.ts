/**
 * `status`: what the running proxy says of itself; in a VM, where there is none, what the helper says.
 *
 * @module
 */
import { isAgentInstalled } from "../../agent/status.ts";
import { isProxyError } from "../../core/errors.ts";
import { showAgent } from "../agent/cmd_agent.ts";
import { apiClient, type JsonObject } from "../api/client.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { statusText } from "./status_text.ts";

/** Prints it for people, or with `--json` as it was answered. */
export async function run(args: CommandArgs, io: Io): Promise<number | void> {
  const api = await apiClient(args, io);
  let status: JsonObject;
  try {
    status = await api.object("GET", "status");
  } catch (error) {
    const isInVm = isProxyError(error, "api.unreachable") && !args.has("url") && await isAgentInstalled();
    if (isInVm) return await showAgent(args, io);
    throw error;
  }
  if (args.has("json")) return io.output.json(status);
  io.output.data(statusText(status));
}
