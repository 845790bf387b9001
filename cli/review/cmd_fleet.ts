/**
 * `fleet`: the hosts that share this host's policy.
 *
 * @module
 */
import { formatDuration } from "../../core/duration.ts";
import { apiClient, isJsonObject } from "../api/client.ts";
import { cell } from "../api/values.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";

/** Lists them. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const fleet = await (await apiClient(args, io)).object("GET", "fleet");
  if (args.has("json")) return io.output.json(fleet);
  const hosts = Array.isArray(fleet.hosts) ? fleet.hosts.filter(isJsonObject) : [];
  const latest = hosts.reduce((most, { sequence }) => Math.max(most, Number(sequence)), 0);
  io.output.table(
    ["HOST", "VERSION", "SINCE", "LAST SEEN", "CHANGE", "TUNNELS", "DENIALS", "STATUS"],
    hosts.map(({ name, version, since, last_seen, sequence, open_tunnels, denials, is_dead }) => [
      ...[cell(name), cell(version), cell(since), ago(last_seen, io)],
      ...[cell(sequence), cell(open_tunnels), cell(denials)],
      is_dead === true ? "denies" : Number(sequence) < latest ? `${latest - Number(sequence)} behind` : "ok",
    ]),
  );
}

function ago(time: unknown, io: Io): string {
  const seconds = Math.max(0, Math.round((io.clock.now() - Date.parse(cell(time))) / 1_000));
  return `${seconds < 60 ? `${seconds}s` : formatDuration(seconds * 1_000)} ago`;
}
