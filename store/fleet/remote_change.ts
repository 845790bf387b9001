/**
 * A change that another host has made, as rows, made in this host's view: the same steps in the same order, so that what it ends
 * ends here, and what it leaves alone goes on.
 *
 * Not here: which changes there are (`../postgres/database.ts`), and reading everything (`reload.ts`).
 *
 * @module
 */
import { CA_PREFIX, readCa } from "../cas.ts";
import { CLIENT_PREFIX, readClient, type StoredClient } from "../clients.ts";
import type { Mutation, Row } from "../engine.ts";
import { MODE_PREFIX, readMode } from "../modes.ts";
import { readRule, RULE_PREFIX, ruleOwner, type StoredRule } from "../rules.ts";
import { readSecret, SECRET_PREFIX } from "../secrets.ts";
import { readSuspension, SUSPENSION_PREFIX } from "../suspensions.ts";
import type { PolicyView } from "../view.ts";

/** A step that is ready to be made. */
type Step = (view: PolicyView) => void;

/** The mutations of one kind of row. */
interface Kind {
  readonly put: readonly Row[];
  readonly gone: readonly Deno.KvKey[];
}

/**
 * Reads a change whole; the function that it returns makes it in a view. Nothing is made when it cannot be read.
 *
 * @throws ProxyError `state.damaged`, `state.newer`, `seal.row-damaged`
 */
export async function readChange(
  mutations: readonly Mutation[],
  sealing: CryptoKey,
  view: PolicyView,
): Promise<() => void> {
  const secrets = kindOf(mutations, SECRET_PREFIX);
  const stored = await Promise.all(secrets.put.map((row) => readSecret(sealing, row)));
  const cas = kindOf(mutations, CA_PREFIX);
  const storedCas = await Promise.all(cas.put.map((row) => readCa(sealing, row)));
  const steps: Step[] = [
    ...stored.map((secret): Step => (view) => view.setSecret(secret)),
    ...clientSteps(mutations, view),
    ...secrets.gone.map((key): Step => (view) => view.deleteSecret(String(key[1]))),
    ...storedCas.map((ca): Step => (view) => view.setCa(ca)),
    ...cas.gone.map((key): Step => (view) => view.deleteCa(String(key[1]))),
    ...suspensionSteps(mutations),
    ...modeSteps(mutations),
  ];
  return () => {
    for (const step of steps) step(view);
  };
}

/** Clients and their rules. A client that has another id than before has exactly the rules that come with it. */
function clientSteps(mutations: readonly Mutation[], view: PolicyView): Step[] {
  const clients = kindOf(mutations, CLIENT_PREFIX);
  const rules = kindOf(mutations, RULE_PREFIX);
  const put = clients.put.map(readClient);
  const rowsOf = Map.groupBy(rules.put, ruleOwner);
  const owners = new Map(view.storedClients().map((client) => [client.id, client]));
  const steps: Step[] = [];
  for (const client of put) {
    const isSame = owners.has(client.id);
    if (isSame) steps.push((view) => view.setClient(client));
    else {
      const own = rulesOf(rowsOf.get(client.id) ?? [], client);
      steps.push((view) => view.replaceClient(client, own));
    }
  }
  for (const [id, rows] of rowsOf) {
    const owner = owners.get(id);
    if (!owner) continue; // of a client that has come with them, or that nobody has
    for (const rule of rulesOf(rows, owner)) steps.push((view) => view.moveRule(rule));
  }
  steps.push(...goneRules(rules.gone, owners));
  for (const key of clients.gone) steps.push((view) => view.deleteClient(String(key[1])));
  return steps;
}

function rulesOf(rows: readonly Row[], { record: { name } }: StoredClient): StoredRule[] {
  return rows.map((row) => readRule(row, name));
}

/** A rule that was moved has gone from its old place already, and is not the one that is there. */
function goneRules(keys: readonly Deno.KvKey[], owners: ReadonlyMap<string, StoredClient>): Step[] {
  const byOwner = Map.groupBy(keys, (key) => String(key[1]));
  return [...byOwner].flatMap(([id, own]): Step[] => {
    const owner = owners.get(id);
    if (!owner) return [];
    const { name } = owner.record;
    const sequences = new Set(own.map((key) => Number(key[2])));
    return [(view) => {
      if (view.client(name)?.id !== id) return; // it has other rules by now
      const gone = view.storedRules(name).filter(({ sequence }) => sequences.has(sequence));
      if (gone.length > 0) view.deleteRules(name, gone);
    }];
  });
}

function suspensionSteps(mutations: readonly Mutation[]): Step[] {
  const { put, gone } = kindOf(mutations, SUSPENSION_PREFIX);
  const since = put.map(readSuspension);
  return [
    ...since.map((since): Step => (view) => view.suspendAll(since)),
    ...gone.map((): Step => (view) => view.suspendAll(undefined)),
  ];
}

/** That a client's switch has gone needs no step: its client has gone, or one for all has taken its place. */
function modeSteps(mutations: readonly Mutation[]): Step[] {
  return kindOf(mutations, MODE_PREFIX).put.map(readMode).map((made): Step => (view) =>
    view.switchMode(made)
  );
}

function kindOf(mutations: readonly Mutation[], [kind]: Deno.KvKey): Kind {
  const own = mutations.filter(({ key }) => key[0] === kind);
  return {
    put: own.flatMap(({ key, value }) => value === undefined ? [] : [{ key, value }]),
    gone: own.flatMap(({ key, value }) => value === undefined ? [key] : []),
  };
}
