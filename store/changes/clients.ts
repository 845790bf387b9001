/**
 * Creating, rotating and deleting clients.
 *
 * Not here: rows and token formats (`clients.ts`).
 *
 * @module
 */
import { parseName } from "../../core/names.ts";
import { parseBudgets } from "../../policy/budget.ts";
import {
  digestToken,
  makeToken,
  parseOwnToken,
  removeClient,
  type StoredClient,
  writeClient,
} from "../clients.ts";
import { MAX_BUDGETS_PER_CLIENT, MAX_CLIENTS } from "../limits.ts";
import type { ClientRecord, NewClient } from "../records.ts";
import { checkRoom, quoted, refuseConflict, refuseNotFound } from "../refuse.ts";
import { removeRule } from "../rules.ts";
import type { PolicyView } from "../view.ts";
import type { Writer } from "../writer.ts";

/** See `State.createClient`. */
export async function createClient(writer: Writer, name: string, ownToken?: string): Promise<NewClient> {
  parseName("client", name);
  const token = ownToken === undefined ? makeToken() : parseOwnToken(ownToken);
  if (writer.view.client(name)) {
    refuseConflict(`Cannot create client ${name}: the name is taken`, "rotate its token, or delete it first");
  }
  const digest = digestToken(writer.keys.token, token);
  if (writer.view.clientByDigest(digest)) {
    refuseConflict(`Cannot create client ${name}: another client has this token`, "leave the token out");
  }
  checkRoom("client", writer.view.clientCount, MAX_CLIENTS);
  const record = { name, version: crypto.randomUUID(), createdAt: writer.clock.now() };
  await commitClient(writer, { record, id: crypto.randomUUID(), digest });
  return { ...record, token };
}

/** See `State.rotateClient`. */
export async function rotateClient(writer: Writer, name: string): Promise<NewClient> {
  const { id, record: old } = requireClient(writer.view, name, "rotate the token of");
  const token = makeToken();
  const record = { ...old, version: crypto.randomUUID() };
  await commitClient(writer, { record, id, digest: digestToken(writer.keys.token, token) });
  return { ...record, token };
}

/** See `State.deleteClient`. One commit, so that a crash leaves neither a client without its rules nor the reverse. */
export async function deleteClient(writer: Writer, name: string): Promise<void> {
  requireClient(writer.view, name, "delete");
  await writer.commit(
    [removeClient(name), ...writer.view.storedRules(name).map(removeRule)],
    () => writer.view.deleteClient(name),
  );
}

/** See `State.setBudget`. */
export async function setBudget(writer: Writer, name: string, texts: readonly string[]): Promise<void> {
  const stored = requireClient(writer.view, name, "give a budget to");
  const budget = parseBudgets(texts);
  checkRoom(`budget of client ${name}`, budget.length - 1, MAX_BUDGETS_PER_CLIENT);
  await commitClient(writer, { ...stored, record: withBudget(stored.record, budget) });
}

/** A client's record with another budget; none for an empty one. */
export function withBudget({ budget: _, ...record }: ClientRecord, budget: readonly string[]): ClientRecord {
  return budget.length === 0 ? record : { ...record, budget };
}

/**
 * The client of a name.
 *
 * @param verb what cannot be done to it, for the message
 * @throws ProxyError `input.not-found`
 */
export function requireClient(view: PolicyView, name: string, verb: string): StoredClient {
  return view.client(name) ?? refuseNotFound(`Cannot ${verb} client ${quoted(name)}: unknown client`);
}

function commitClient(writer: Writer, client: StoredClient): Promise<void> {
  return writer.commit([writeClient(client)], () => writer.view.setClient(client));
}
