/**
 * Everything read anew, as the difference to what a view has: what did not change stays open.
 *
 * Not here: reading (`../load.ts`), and changes one by one (`remote_change.ts`).
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import type { StoredRule } from "../rules.ts";
import type { PolicyView } from "../view.ts";

/** Makes `view` what `fresh` is. */
export function bringTo(view: PolicyView, fresh: PolicyView, nowMs: number): void {
  for (const { name } of view.clients()) if (!fresh.client(name)) view.deleteClient(name);
  for (const stored of fresh.storedClients()) {
    const { name } = stored.record;
    const old = view.client(name);
    const rules = fresh.storedRules(name);
    if (old?.id !== stored.id) {
      view.replaceClient(stored, rules);
      continue;
    }
    if (!isDeepStrictEqual(old, stored)) view.setClient(stored);
    bringRulesTo(view, name, rules);
  }
  for (const { name } of view.secrets()) if (!fresh.secret(name)) view.deleteSecret(name);
  for (const { name } of fresh.secrets()) {
    const stored = fresh.secret(name);
    if (stored && !isDeepStrictEqual(view.secret(name), stored)) view.setSecret(stored);
  }
  for (const { hostgroup } of view.cas()) if (!fresh.ca(hostgroup)) view.deleteCa(hostgroup);
  for (const { hostgroup } of fresh.cas()) {
    const stored = fresh.ca(hostgroup);
    if (stored && !isDeepStrictEqual(view.ca(hostgroup), stored)) view.setCa(stored);
  }
  const since = fresh.suspensions().find(({ client }) => client === undefined)?.since;
  if (view.isAllSuspended !== fresh.isAllSuspended) view.suspendAll(since);
  const modes = fresh.modeSwitches(nowMs); // the one for all first, which ends those before it
  if (isDeepStrictEqual(modes, view.modeSwitches(nowMs))) return;
  view.switchMode({ mode: "strict", untilMs: 0 }); // over, and takes the place of all that the store has no more
  for (const made of modes) view.switchMode(made);
}

function bringRulesTo(view: PolicyView, client: string, rules: readonly StoredRule[]): void {
  const kept = new Set(rules.map(({ rule }) => rule.id));
  const gone = view.storedRules(client).filter(({ rule }) => !kept.has(rule.id));
  if (gone.length > 0) view.deleteRules(client, gone);
  const present = new Map(view.storedRules(client).map((stored) => [stored.rule.id, stored]));
  for (const stored of rules) {
    if (!isDeepStrictEqual(present.get(stored.rule.id), stored)) view.moveRule(stored);
  }
}
