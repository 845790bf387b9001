/**
 * `requests list`, `approve`, `deny`: what waits for a person.
 *
 * @module
 */
import { formatHostPort } from "../../core/host_port.ts";
import { apiClient, segment } from "../api/client.ts";
import { cell, ttlSecondsOf } from "../api/values.ts";
import type { CommandArgs } from "../command/command.ts";
import { usageError } from "../command/parse.ts";
import type { Io } from "../terminal/io.ts";

/** Lists those that wait. */
export async function listRequests(args: CommandArgs, io: Io): Promise<void> {
  const requests = await (await apiClient(args, io)).list("requests");
  if (args.has("json")) return io.output.json(requests);
  if (requests.length === 0) return io.output.note("nothing waits for a person");
  io.output.table(
    ["ID", "CLIENT", "METHOD", "URL", "UNTIL", "ASKS FOR A RULE"],
    requests.map(({ id, client, method, scheme, host, port, path, query, until, reason }) => [
      ...[cell(id), cell(client), cell(method)],
      `${cell(scheme)}://${formatHostPort({ host: cell(host), port: Number(port) })}${cell(path)}${
        query === undefined ? "" : `?${cell(query)}`
      }`,
      cell(until),
      reason === undefined ? "-" : cell(reason),
    ]),
  );
}

/** Lets one go on. */
export async function approveRequest(args: CommandArgs, io: Io): Promise<void> {
  const id = args.argument("ID");
  const forSeconds = ttlSecondsOf(args, "for");
  if ([forSeconds !== undefined, args.has("always"), args.has("once")].filter(Boolean).length > 1) {
    throw usageError("Cannot approve in several ways at once", "write one of --once, --for and --always");
  }
  const api = await apiClient(args, io);
  const body = {
    ...(forSeconds === undefined ? {} : { for_seconds: forSeconds }),
    ...(args.has("always") ? { always: true } : {}),
  };
  const { rule } = await api.object("POST", `requests/${segment(id)}/approve`, body);
  io.output.note(
    rule === undefined
      ? `approved ${id}, this once`
      : `approved ${id}, and added a rule for exactly this request; slicer-proxy rules lists it`,
  );
}

/** Refuses one. */
export async function denyRequest(args: CommandArgs, io: Io): Promise<void> {
  const id = args.argument("ID");
  await (await apiClient(args, io)).call("POST", `requests/${segment(id)}/deny`);
  io.output.note(`denied ${id}`);
}
