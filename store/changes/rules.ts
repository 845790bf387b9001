/**
 * Adding and revoking allow rules.
 *
 * Not here: rows (`rules.ts`), and what makes a rule well-formed (`policy/rule.ts`).
 *
 * @module
 */
import { MAX_DURATION_MS } from "../../core/duration.ts";
import { hasPlaceFor, SEGMENT_PLACEHOLDER } from "../../policy/placeholder.ts";
import { hostWithin, parseHostPattern, type Rule, ruleKey, type RuleSpec } from "../../policy/rule.ts";
import { requireClient } from "./clients.ts";
import { MAX_RULE_CHARS, MAX_RULES, MAX_RULES_PER_CLIENT } from "../limits.ts";
import { checkRoom, quoted, refuseConflict, refuseInvalid, refuseNotFound } from "../refuse.ts";
import { removeRule, type StoredRule, writeRule } from "../rules.ts";
import { isUnexpired, type PolicyView } from "../view.ts";
import type { Writer } from "../writer.ts";

/** How long a rule lives, and where it stands. */
export interface RuleOptions {
  /** Whole milliseconds; for ever when undefined. */
  readonly ttlMs?: number | undefined;
  /** The place that it gets in the client's list, from 1; behind all others when undefined. */
  readonly place?: number | undefined;
}

/** Where a rule goes, in places from 1 among the client's live rules. */
export interface RuleMove {
  readonly from: number;
  /** Before the rule that is there now; behind all when undefined. */
  readonly before?: number | undefined;
}

/** A rule that is to be added. */
export interface NewRule extends RuleOptions {
  /** The owner's name. */
  readonly client: string;
  /** From `parseRule`. */
  readonly spec: RuleSpec;
}

/** Rules that are to be added, one behind the other. */
export interface NewRules extends RuleOptions {
  /** The owner's name. */
  readonly client: string;
  /** From `parseRule`, no two alike. */
  readonly specs: readonly RuleSpec[];
  /** Only checks what adding them would check. */
  readonly isDryRun?: boolean | undefined;
}

/** See `State.addRule`. */
export async function addRule(writer: Writer, { spec, ...options }: NewRule): Promise<Rule> {
  const [rule] = await addRules(writer, { specs: [spec], ...options });
  return rule ?? refuseInvalid("Cannot add a rule: there is none", "write its host");
}

/** See `State.addRules`. */
export async function addRules(
  writer: Writer,
  { client, specs, ttlMs, place, isDryRun = false }: NewRules,
): Promise<Rule[]> {
  const { view } = writer;
  const owner = view.client(client) ??
    refuseInvalid(`Cannot add a rule: unknown client ${quoted(client)}`, "create the client first");
  checkTtl(ttlMs);
  for (const spec of specs) checkNew(view, client, spec);
  checkRoom("rule", view.ruleCount + specs.length - 1, MAX_RULES);
  const present = [...view.storedRules(client)];
  checkRoom(`rule of client ${client}`, present.length + specs.length - 1, MAX_RULES_PER_CLIENT);
  const now = writer.clock.now();
  const expiresAt = ttlMs === undefined ? {} : { expiresAt: now + ttlMs };
  const added = specs.map((spec, i): StoredRule => {
    const rule = { ...spec, id: crypto.randomUUID(), client, ...expiresAt };
    if (place === undefined) return { rule, clientId: owner.id, sequence: writer.takeSequence() };
    const stored = { rule, clientId: owner.id, sequence: sequenceAt(present, place + i) };
    present.splice(place + i - 1, 0, stored);
    return stored;
  });
  const rules = added.map(({ rule }) => rule);
  if (isDryRun) return rules;
  await writer.commit(added.map((stored) => writeRule(stored, now)), () => {
    for (const stored of added) view.addRule(stored);
  });
  if (ttlMs !== undefined) writer.armTimer();
  return rules;
}

function checkNew(view: PolicyView, client: string, spec: RuleSpec): void {
  checkSecretOf(view, spec);
  if (JSON.stringify(spec).length > MAX_RULE_CHARS) {
    refuseInvalid("Cannot add a rule: it is too long", "split its paths over several rules");
  }
  const twin = findRule(view, client, spec);
  if (!twin) return;
  const place = view.storedRules(client).indexOf(twin) + 1;
  refuseConflict(
    `Cannot add a rule: client ${client} has this rule already, as rule ${place} for ${spec.host}`,
    "revoke it first",
  );
}

/** See `State.moveRule`. */
export async function moveRule(writer: Writer, client: string, { from, before }: RuleMove): Promise<Rule> {
  const { view } = writer;
  requireClient(view, client, "move a rule of");
  const now = writer.clock.now();
  const rules = view.storedRules(client).filter(({ rule }) => isUnexpired(rule, now));
  const moved = rules[from - 1] ??
    refuseNotFound(`Cannot move rule ${from}: client ${client} has ${rules.length}`);
  if (before !== undefined && !rules[before - 1]) {
    refuseInvalid(
      `Cannot move rule ${from} before rule ${before}: the client has ${rules.length}`,
      "slicer-proxy rules lists them in order; leave --before out to move it behind them",
    );
  }
  const others = rules.filter((each) => each !== moved);
  // Counted in the list as it is: before rule M means right before the rule that is M now.
  const place = before === undefined ? undefined : before > from ? before - 1 : before;
  const sequence = place === undefined || place > others.length
    ? writer.takeSequence()
    : sequenceAt(others, place);
  const stored: StoredRule = { ...moved, sequence };
  await writer.commit([removeRule(moved), writeRule(stored, now)], () => view.moveRule(stored));
  return stored.rule;
}

/** See `State.revokeHost`. */
export async function revokeHost(writer: Writer, client: string, hostPattern: string): Promise<Rule[]> {
  requireClient(writer.view, client, "revoke a rule of");
  const host = parseHostPattern(hostPattern);
  const gone = writer.view.storedRules(client).filter(({ rule }) => rule.host === host);
  if (gone.length === 0) refuseNotFound(`Cannot revoke: client ${client} has no rule for host ${host}`);
  await commitGone(writer, client, gone);
  return gone.map(({ rule }) => rule);
}

/** See `State.revokeRule`. */
export async function revokeRule(writer: Writer, client: string, spec: RuleSpec): Promise<Rule> {
  requireClient(writer.view, client, "revoke a rule of");
  const found = findRule(writer.view, client, spec);
  if (!found) {
    refuseNotFound(`Cannot revoke: client ${client} has no such rule for host ${spec.host}`);
  }
  await commitGone(writer, client, [found]);
  return found.rule;
}

/** A sequence that puts a rule at that place: halfway between its neighbours. */
function sequenceAt(rules: readonly StoredRule[], place: number): number {
  const next = rules[place - 1];
  if (!next) {
    refuseInvalid(
      `Cannot add a rule before rule ${place}: the client has ${rules.length}`,
      "slicer-proxy rules lists them in order; leave --before out to add it behind them",
    );
  }
  const previous = rules[place - 2];
  if (!previous) return next.sequence - 1;
  const sequence = (previous.sequence + next.sequence) / 2;
  if (sequence > previous.sequence && sequence < next.sequence) return sequence;
  return refuseInvalid(
    `Cannot add a rule before rule ${place}: too many were put there, one before the other`,
    "write them in order: slicer-proxy export > policy.yaml, then slicer-proxy apply -f policy.yaml",
  );
}

function commitGone(writer: Writer, client: string, gone: readonly StoredRule[]): Promise<void> {
  return writer.commit(gone.map(removeRule), () => writer.view.deleteRules(client, gone));
}

function findRule(view: PolicyView, client: string, spec: RuleSpec): StoredRule | undefined {
  const key = ruleKey(spec);
  return view.storedRules(client).find(({ rule }) => rule.host === spec.host && ruleKey(rule) === key);
}

function checkSecretOf(view: PolicyView, { host, secret, paths }: RuleSpec): void {
  if (secret === undefined) return;
  const bound = view.secret(secret)?.record ??
    refuseInvalid(`Cannot add a rule: unknown secret ${quoted(secret)}`, "create the secret first");
  if (!hostWithin(host, bound.host)) {
    refuseInvalid(
      `Cannot add a rule for host ${host} with secret ${secret}: the secret is bound to ${bound.host}`,
      `use a host within ${bound.host}, or another secret`,
    );
  }
  // Checked again at each injection: another secret may take its name.
  if (hasPlaceFor(bound.type, paths)) return;
  refuseInvalid(
    `Cannot add a rule with secret ${secret}: its paths do not say where in the path the secret goes`,
    `write each path with one ${SEGMENT_PLACEHOLDER}, such as --path '/bot${SEGMENT_PLACEHOLDER}/*'`,
  );
}

function checkTtl(ttlMs: number | undefined): void {
  if (ttlMs === undefined || (Number.isSafeInteger(ttlMs) && ttlMs > 0 && ttlMs <= MAX_DURATION_MS)) return;
  refuseInvalid(
    "Cannot add a rule: its TTL is not between a millisecond and ten years",
    "leave it out for none",
  );
}
