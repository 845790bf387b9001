/**
 * What would have been decided otherwise, had other rules been in force: records of the audit log against the rules of a
 * policy file. Pure.
 *
 * Only what a record says is judged: names, methods and paths. Whether an upstream answered, a token was right or a secret
 * could be had is taken as it was. The life of a rule does not matter: it is as if every rule had been made just before.
 *
 * Not here: reading policy files and logs.
 *
 * @module
 */
import { isCut, type StoredRecord } from "./audit_record.ts";
import {
  contentNeeded,
  decideConnect,
  decideRequest,
  paramsNeeded,
  type RequestTarget,
  rulesThatReach,
} from "./decide.ts";
import { matchHost } from "./match.ts";
import type { PolicyFile } from "./policy_file.ts";
import type { Reason } from "./reason.ts";
import type { Rule, RuleSpec } from "./rule.ts";
import { parseSays, queryOf } from "./words/says.ts";

/**
 * How a record's outcome would differ: `denied` and `allowed` say what it would become; `inspected` is a tunnel that was
 * passed through and whose requests would now be decided one by one, `passthrough` the opposite; `credential` is a request
 * that goes through as before, with another secret's credential or none.
 */
export const CHANGE_KINDS = ["denied", "inspected", "passthrough", "credential", "allowed"] as const;

/** One of {@linkcode CHANGE_KINDS}. */
export type ChangeKind = typeof CHANGE_KINDS[number];

/** Records that would be decided otherwise, all for the same request. */
export interface Change {
  /** What would differ. */
  readonly kind: ChangeKind;
  /** Absent for a tunnel that showed no credential. */
  readonly client?: string | undefined;
  /** Absent for a tunnel. */
  readonly method?: string | undefined;
  /** Canonical. */
  readonly host: string;
  /** Absent for a look-up of the name. */
  readonly port?: number | undefined;
  /** Absent for a tunnel. */
  readonly path?: string | undefined;
  /** Why it would be denied, or was. */
  readonly reason?: Reason | undefined;
  /** The secret that was injected, for `credential`. */
  readonly from?: string | undefined;
  /** The secret that would be injected, for `credential`. */
  readonly to?: string | undefined;
  /** Requests. */
  readonly count: number;
}

/** The outcome. Requests that stand behind one record, coalesced, count each. */
export interface Replay {
  /** What would be denied first, then by count. */
  readonly changes: readonly Change[];
  /** Requests that were let through and would be denied. */
  readonly denied: number;
  /** Tunnels that would be inspected. */
  readonly inspected: number;
  /** Requests that would be passed through unseen. */
  readonly passthrough: number;
  /** Requests that would go out with another credential. */
  readonly credential: number;
  /** Requests and tunnels that were denied and would be let through. */
  readonly allowed: number;
  /** Would be decided as they were. */
  readonly unchanged: number;
  /** Say nothing about rules: bad tokens, malformed requests, quotas, failed handshakes. */
  readonly notJudged: number;
  /** Changes beyond those that are listed; they are counted all the same. */
  readonly unlisted: number;
}

/** Denials that rules alone decide. */
const BY_RULES: ReadonlySet<Reason | undefined> = new Set(
  [
    "no-rule",
    "rule-denied",
    "path-ambiguous",
    "path-encoding",
    "secret-missing",
    "body-too-large",
    "body-encoding",
    "body-unreadable",
  ] as const,
);

/** Different changes that are listed; a log may hold millions. */
const MAX_CHANGES = 5_000;
/** Characters of all of them: a path may be as long as a request's head. */
const MAX_CHARS = 4_194_304;

const TUNNELS: ReadonlySet<string | undefined> = new Set(["CONNECT", "SOCKS4", "SOCKS5"]);

/** Each client's rules in declaration order, for ever: what is tested is what the file allows, not when. */
export function rulesToReplay({ clients }: PolicyFile): ReadonlyMap<string, readonly RuleSpec[]> {
  return new Map([...clients].map(([client, rules]) => [client, rules.map(({ spec }) => spec)]));
}

/** Judges records, one after the other. */
export class Replayer {
  readonly #rules: ReadonlyMap<string, readonly Rule[]>;
  readonly #changes = new Map<string, Change>();
  readonly #counts = { denied: 0, inspected: 0, passthrough: 0, credential: 0, allowed: 0 };
  #chars = 0;
  #unchanged = 0;
  #notJudged = 0;
  #unlisted = 0;

  /**
   * A replay of nothing yet.
   *
   * @param rules each client's in declaration order; a client that is not there reaches nothing. The secrets that they
   * name are taken to exist, bound to a host that the rule's lies in: `policy_file.ts` has seen to it
   */
  constructor(rules: ReadonlyMap<string, readonly RuleSpec[]>) {
    this.#rules = new Map(
      [...rules].map((
        [client, specs],
      ) => [client, specs.map((spec, i) => ({ ...spec, id: String(i), client }))]),
    );
  }

  /** Judges a record. */
  add(record: StoredRecord): void {
    const { repeated } = record;
    const was = outcomeOf(record);
    const change = was === undefined ? undefined : this.#judge(record, was);
    if (change === undefined) this.#notJudged += repeated;
    else if (change === "same") this.#unchanged += repeated;
    else this.#note(record, change, repeated);
  }

  /** What was found so far, what would be denied first. */
  result(): Replay {
    const changes = [...this.#changes.values()].sort((a, b) =>
      CHANGE_KINDS.indexOf(a.kind) - CHANGE_KINDS.indexOf(b.kind) || b.count - a.count
    );
    return {
      changes,
      ...this.#counts,
      unchanged: this.#unchanged,
      notJudged: this.#notJudged,
      unlisted: this.#unlisted,
    };
  }

  #judge(record: StoredRecord, was: Outcome): Difference | "same" | undefined {
    const { client, host, port, scheme, method, path } = record;
    if (host === undefined) return undefined;
    if (client === undefined) return this.#judgeAnonymous(record);
    const rules = (this.#rules.get(client) ?? []).filter((rule) => matchHost(rule.host, host));
    if (method === "DNS") {
      return differenceOf(was, rulesThatReach(rules).length > 0 ? "allowed" : "denied", "no-rule");
    }
    if (port === undefined) return undefined;
    if (path === undefined) {
      // A tunnel. Inspected or denied, nothing is known of what was, or would have been, asked for inside.
      const decision = decideConnect(rules, { host, port });
      if (decision.verdict === "deny") return differenceOf(was, "denied", decision.reason);
      return differenceOf(was, decision.verdict === "inspect" ? "inspected" : "passthrough");
    }
    if (method === undefined || isCut(path)) return undefined;
    // What a tunnel passes through is never decided on. Cleartext is asked of the proxy itself, which always looks at it.
    if (scheme !== "http" && decideConnect(rules, { host, port }).verdict === "passthrough") {
      return differenceOf(was, "passthrough");
    }
    const request = requestOf(record, { host, port, method, path }, rules);
    if (!request) return undefined;
    const decision = decideRequest(rules, request);
    if (decision.verdict === "deny") return differenceOf(was, "denied", decision.reason);
    const { rule } = decision;
    // A request that failed on its way may not have got as far as its credential.
    if (was !== "allowed" || record.reason !== undefined || record.secret === rule.secret) {
      return differenceOf(was, "allowed");
    }
    return { kind: "credential", from: record.secret, to: rule.secret };
  }

  /** SOCKS without credentials: only a passthrough rule with this exact host and a named port admits it, whoever owns it. */
  #judgeAnonymous(record: StoredRecord): Difference | "same" | undefined {
    const { verdict, ruleOwner, host, port } = record;
    if (verdict !== "passthrough" || ruleOwner === undefined || host === undefined || port === undefined) {
      return undefined;
    }
    for (const rules of this.#rules.values()) {
      const decision = decideConnect(rules, { host, port });
      if (decision.verdict !== "passthrough") continue;
      if (decision.rule.host === host && decision.rule.ports.includes(port)) return "same";
    }
    return { kind: "denied", reason: "no-rule" };
  }

  #note(record: StoredRecord, { kind, reason, from, to }: Difference, count: number): void {
    this.#counts[kind] += count;
    const { client, host = "", port, path } = record;
    const method = TUNNELS.has(record.method) ? undefined : record.method;
    const change = { kind, client, method, host, port, path, reason: reason ?? record.reason, from, to };
    const key = JSON.stringify(Object.values(change).map((value) => value ?? null));
    const known = this.#changes.get(key);
    if (!known && (this.#changes.size >= MAX_CHANGES || this.#chars + key.length > MAX_CHARS)) {
      this.#unlisted += count;
      return;
    }
    if (!known) this.#chars += key.length;
    this.#changes.set(key, { ...change, count: count + (known?.count ?? 0) });
  }
}

/** The request as the rules have to know it, or undefined where the record does not say enough. */
function requestOf(
  { query, says }: StoredRecord,
  request: RequestTarget,
  rules: readonly Rule[],
): RequestTarget | undefined {
  const names = paramsNeeded(rules, request);
  const kinds = contentNeeded(rules, request);
  const said = parseSays(says === undefined || isCut(says) ? "" : says);
  const asked = query === undefined || isCut(query) ? queryOf(said, names) : { query };
  const isKnown = kinds.every((kind) => said.content[kind] !== undefined);
  return asked && isKnown ? { ...request, ...asked, content: said.content } : undefined;
}

/** What rules said: `allowed` for a request, whatever the upstream made of it. */
type Outcome = "allowed" | "passthrough" | "denied";

type Difference = Pick<Change, "kind" | "reason" | "from" | "to">;

/** What the rules in force had decided, or undefined when the record does not say. */
function outcomeOf({ verdict, reason }: StoredRecord): Outcome | undefined {
  if (verdict === "allow") return "allowed";
  if (verdict === "passthrough") return "passthrough";
  return BY_RULES.has(reason) ? "denied" : undefined;
}

function differenceOf(
  was: Outcome,
  would: "allowed" | "denied" | "inspected" | "passthrough",
  reason?: Reason,
): Difference | "same" {
  if (would === "denied") return was === "denied" ? "same" : { kind: "denied", reason };
  if (was === "denied") return { kind: "allowed" };
  if (was === "passthrough" && would === "passthrough") return "same";
  if (was === "allowed" && would !== "passthrough") return "same";
  return { kind: would === "passthrough" ? "passthrough" : "inspected" };
}
