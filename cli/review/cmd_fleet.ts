/**
 * `fleet`: the hosts that share the policy.
 *
 * @module
 */
import { formatDuration } from "../../core/duration.ts";
import { apiClient, type JsonObject } from "../api/client.ts";
import { cell } from "../api/values.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";

/** Prints them for people, or with `--json` as it was answered. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const api = await apiClient(args, io);
  const fleet = await api.object("GET", "fleet");
  if (args.has("json")) return io.output.json(fleet);
  const hosts: readonly JsonObject[] = Array.isArray(fleet.hosts) ? fleet.hosts : [];
  if (fleet.store_away_since !== undefined) {
    io.output.warn(`the store is away since ${cell(fleet.store_away_since)}: this is what was last known`);
  }
  const nowMs = io.clock.now();
  io.output.table(
    ["HOST", "STATE", "POLICY", "TUNNELS", "DENIED", "LAST SEEN", "SINCE", "VERSION"],
    hosts.map((host) => [
      `${cell(host.name)}${host.is_this === true ? " (this)" : ""}`,
      cell(host.state),
      policyOf(host),
      cell(host.open_tunnels),
      cell(Object(host.requests).deny),
      ago(host.last_seen, nowMs),
      cell(host.since),
      cell(host.version),
    ]),
  );
  if (fleet.more_hosts === true) io.output.note("there are more hosts than are listed");
}

/** `41`, `39, 2 behind for 6s`. */
function policyOf({ sequence, behind, behind_seconds: seconds }: JsonObject): string {
  if (typeof behind !== "number" || behind === 0) return cell(sequence);
  return `${cell(sequence)}, ${behind} behind${typeof seconds === "number" ? ` for ${whole(seconds)}` : ""}`;
}

function ago(time: unknown, nowMs: number): string {
  return `${whole(Math.max(0, (nowMs - Date.parse(cell(time))) / 1_000))} ago`;
}

/** In whole seconds, as it is told. */
function whole(seconds: number): string {
  const rounded = Math.round(seconds);
  return rounded < 60 ? `${rounded}s` : formatDuration(rounded * 1_000);
}
