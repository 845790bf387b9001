/**
 * `client create`, `list`, `rotate`, `delete`, `suspend`, `resume`; `suspend` and `resume` of all.
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../core/limits.ts";
import { parseName } from "../../core/names.ts";
import { apiClient, type JsonObject, segment } from "../api/client.ts";
import type { CommandArgs } from "../command/command.ts";
import { usageError } from "../command/parse.ts";
import type { Io } from "../terminal/io.ts";
import { readSecret } from "./secret_input.ts";
import { cell } from "../api/values.ts";

/** Makes a client. Nothing but the token goes to stdout, so that `TOKEN=$(…)` holds it. */
export async function createClient(args: CommandArgs, io: Io): Promise<void> {
  const name = parseName("client", args.argument("NAME"));
  const api = await apiClient(args, io);
  const token = await readSecret(args, io, { what: "token", value: "token", files: ["token-file"] });
  if (token && token.text.length < DEFAULT_LIMITS.minUnguessableTokenChars) {
    io.output.warn(
      `a token of fewer than ${DEFAULT_LIMITS.minUnguessableTokenChars} characters can be guessed: ` +
        "leave it out to have a strong one made",
    );
  }
  const body = { name, ...(token === undefined ? {} : { token: token.text }) };
  printToken(await api.object("POST", "clients", body), io);
  io.output.note(`created client ${name}; its token is shown only this once`);
}

/** Lists names and ages. */
export async function listClients(args: CommandArgs, io: Io): Promise<void> {
  const api = await apiClient(args, io);
  const clients = await api.list("clients");
  if (args.has("json")) return io.output.json(clients);
  if (clients.length === 0) {
    return io.output.note("no clients yet: slicer-proxy client create NAME makes one");
  }
  const isUsual = clients.every(({ suspended_since: since }) => since === undefined);
  io.output.table(
    isUsual ? ["NAME", "CREATED"] : ["NAME", "CREATED", "SUSPENDED"],
    clients.map((client) => [
      cell(client.name),
      cell(client.created_at),
      ...(isUsual ? [] : [cell(client.suspended_since)]),
    ]),
  );
}

/** Replaces the token; prints it as {@linkcode createClient} does. */
export async function rotateClient(args: CommandArgs, io: Io): Promise<void> {
  const name = parseName("client", args.argument("NAME"));
  const api = await apiClient(args, io);
  printToken(await api.object("POST", `clients/${segment(name)}/rotate`), io);
  io.output.note(`client ${name} has a new token, shown only this once; the old one no longer works`);
}

/** Deletes a client with its rules. */
export async function deleteClient(args: CommandArgs, io: Io): Promise<void> {
  const name = parseName("client", args.argument("NAME"));
  const api = await apiClient(args, io);
  await api.call("DELETE", `clients/${segment(name)}`);
  io.output.note(`deleted client ${name} and its rules`);
}

/** Stops a client at once. */
export async function suspendClient(args: CommandArgs, io: Io): Promise<void> {
  const name = parseName("client", args.argument("NAME"));
  const api = await apiClient(args, io);
  await api.call("POST", `clients/${segment(name)}/suspend`);
  io.output.note(
    `suspended client ${name}: what it had open has ended; slicer-proxy client resume ${name} ends it`,
  );
}

/** Lets a client go on. */
export async function resumeClient(args: CommandArgs, io: Io): Promise<void> {
  const name = parseName("client", args.argument("NAME"));
  const api = await apiClient(args, io);
  await api.call("POST", `clients/${segment(name)}/resume`);
  io.output.note(`client ${name} goes on`);
}

/** The kill switch: stops every client. */
export async function suspendAll(args: CommandArgs, io: Io): Promise<void> {
  requireAll(args);
  await (await apiClient(args, io)).call("POST", "suspensions/all");
  io.output.note("suspended every client: nothing goes out any more; slicer-proxy resume --all ends it");
}

/** Lets all go on but those that were suspended by name. */
export async function resumeAll(args: CommandArgs, io: Io): Promise<void> {
  requireAll(args);
  await (await apiClient(args, io)).call("DELETE", "suspensions/all");
  io.output.note("every client goes on, but those that are suspended by name: slicer-proxy client list");
}

function requireAll(args: CommandArgs): void {
  if (args.has("all")) return;
  throw usageError("Cannot tell whom: --all is missing", "for one client: slicer-proxy client suspend NAME");
}

function printToken(answer: JsonObject, io: Io): void {
  if (typeof answer.token !== "string") {
    throw new ProxyError("api.refused", "Cannot show the token: the API's answer holds none");
  }
  io.output.data(answer.token);
}
