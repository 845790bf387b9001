/**
 * The narrowest rules that would have let denied requests through: the exact host, methods and paths that were asked for,
 * a path prefix only where identifiers vary (`path_groups.ts`), and what a well-known program asks for next
 * (`followups.ts`). Pure.
 *
 * The requests come from a client that may be hostile. A rule is proposed only when it can be typed and read back, and a
 * request counts as its reason only when `decide.ts` allows that request by that rule, behind the rules that are there.
 * Never proposed are addresses, passed-through tunnels and credentials: whoever reviews the rules adds a secret.
 *
 * @module
 */
import { decideRequest } from "./decide.ts";
import {
  asRule,
  type DeniedRequest,
  findRemedy,
  isTunnelSolved,
  portsFor,
  tryRule,
} from "./denial_remedy.ts";
import type { Denial } from "./denial_tally.ts";
import { type FollowUp, followUpsOf, type ImpliedRequest } from "./followups.ts";
import { matchHost, matchMethod, matchPort } from "./match.ts";
import { type ExpectedPasses, expectedPasses, wholeRegistry } from "./package_trees.ts";
import { groupPaths, writePath } from "./path_groups.ts";
import { matchPath, upperEscapes } from "./path.ts";
import { DEFAULT_PORTS, type Rule, type RuleSpec } from "./rule.ts";
import { hasConditions } from "./rule_words.ts";
import { callOf } from "./words/grpc.ts";
import { suggestWords } from "./words/suggest_words.ts";

/** A request behind a proposal. */
export interface SeenRequest {
  /** As sent, in any case. */
  readonly method: string;
  /** As sent, without the query. */
  readonly path: string;
  /** How often. */
  readonly count: number;
  /** Epoch milliseconds. */
  readonly lastMs: number;
  /** Which of the rule's paths lets it through. */
  readonly pattern: string;
}

/** A rule, and why. At least one of the two lists holds something. */
export interface Proposal {
  /** For one exact host, with methods and paths, or with gRPC calls; without secret, not passed through. */
  readonly rule: RuleSpec;
  /** The denied requests that it lets through. */
  readonly because: readonly SeenRequest[];
  /** What it lets through besides. */
  readonly implied: readonly ImpliedRequest[];
  /** Secrets that the client's present rules inject on this host; the proposed rule injects none. */
  readonly otherSecrets: readonly string[];
}

/** Denials that no proposal helps. */
export interface Skipped {
  /** Canonical. Absent when the request could not be read. */
  readonly host?: string | undefined;
  /** Absent for a look-up of a name. */
  readonly port?: number | undefined;
  /** One clause, lower case, no full stop. */
  readonly why: string;
  /** How often. */
  readonly count: number;
}

/** The answer. Proposals never overlap: no request falls under two of them. */
export interface Suggestion {
  /** In the order in which their hosts were first asked for. */
  readonly proposals: readonly Proposal[];
  /** By host, port and cause. */
  readonly skipped: readonly Skipped[];
  /** Of programs whose packages depend on others. */
  readonly passes: readonly ExpectedPasses[];
}

/** What is to be solved. */
export interface SuggestOptions {
  /** Of one client. */
  readonly denials: readonly Denial[];
  /** The client's live rules in declaration order. */
  readonly rules: readonly Rule[];
  /** Only the paths that were asked for: no prefixes, nothing implied. */
  readonly isExact?: boolean;
}

/** A rule stays reviewable, and far below what the store takes; the rest is for the next time. */
const MAX_PATHS = 100;
const MAX_METHODS = 100;
const MAX_PATH_CHARS = 16_000;

const TOO_MANY = "one rule would list too many methods or paths: add the proposed ones, then suggest again";

/** A follow-up, and the path of the request that it follows. */
interface NextRequest extends FollowUp {
  readonly after: string;
}

/** All paths of one host and port (or of the two usual ports) by method. */
interface Place {
  readonly host: string;
  readonly ports: readonly number[];
  readonly methods: Map<string, { readonly seen: string[]; readonly implied: NextRequest[] }>;
  /** gRPC calls, which are no paths of a method besides. */
  readonly calls: Set<string>;
}

/** Proposes rules. */
export function suggestRules({ denials, rules, isExact = false }: SuggestOptions): Suggestion {
  const remedies = denials.map((denial) => ({ denial, remedy: findRemedy(denial, rules) }));
  const requests = remedies.flatMap(({ remedy }) => remedy.kind === "rule" ? [remedy.request] : []);
  const { proposals, rest, unsaid } = isExact
    ? { proposals: [], rest: requests, unsaid: new Map<DeniedRequest, string>() }
    : suggestWords(requests);
  const drafts = [
    ...proposals.map(({ rule, implied }) => ({
      rule,
      implied,
      because: [],
      otherSecrets: secretsAt(rules, rule.host),
    })),
    ...[...placesOf(rest, rules, isExact).values()].flatMap((place) => proposalsFor(place, rules, isExact)),
  ];
  const proposed = drafts.map(({ rule }) => asRule(rule));
  const skipped = new Map<string, Skipped>();
  for (const { denial, remedy } of remedies) {
    if (remedy.kind === "none-needed") continue;
    if (remedy.request ? assign(remedy.request, drafts) : isTunnelSolved(denial, proposed)) continue;
    const { host, port, count } = denial;
    const why = remedy.kind === "rule" ? unsaid.get(remedy.request) ?? TOO_MANY : remedy.why;
    const key = JSON.stringify([host, port, why]);
    skipped.set(key, { host, port, why, count: count + (skipped.get(key)?.count ?? 0) });
  }
  return {
    proposals: drafts.filter(({ because, implied }) => because.length + implied.length > 0),
    skipped: [...skipped.values()],
    passes: expectedPasses(
      requests.map((request) => ({ ...request, method: request.method.toUpperCase() })),
      isExact
        ? undefined
        : (host, all) => proposed.some((rule) => rule.host === host && rule.paths.includes(all)),
    ),
  };
}

function placesOf(
  requests: readonly DeniedRequest[],
  rules: readonly Rule[],
  isExact: boolean,
): ReadonlyMap<string, Place> {
  const places = new Map<string, Place>();
  const placeAt = (host: string, ports: readonly number[]) => {
    const key = JSON.stringify([host, ports]);
    const place: Place = places.get(key) ?? { host, ports, methods: new Map(), calls: new Set() };
    places.set(key, place);
    return place;
  };
  const at = (host: string, ports: readonly number[], method: string) => {
    const { methods } = placeAt(host, ports);
    const paths = methods.get(method) ?? { seen: [], implied: [] };
    methods.set(method, paths);
    return paths;
  };
  for (const request of requests) {
    const call = request.isGrpc ? callOf(request) : undefined;
    if (call !== undefined) placeAt(request.host, portsFor(request.port)).calls.add(call);
  }
  for (const request of requests) {
    const { host, port, method, path } = request;
    const call = callOf(request);
    if (call !== undefined && placeAt(host, portsFor(port)).calls.has(call)) continue;
    const verb = method.toUpperCase();
    at(host, portsFor(port), verb).seen.push(path);
    for (const next of isExact ? [] : followUpsOf({ host, method: verb, path })) {
      at(next.host ?? host, next.host === undefined ? portsFor(port) : [], next.method).implied.push({
        ...next,
        path: writePath(next.path),
        after: path,
      });
    }
  }
  for (const { host, ports, methods } of isExact ? [] : places.values()) {
    const get = methods.get("GET");
    const whole = get && ports.length === 0
      ? wholeRegistry(host, get.seen, readableAt(host, rules))
      : undefined;
    if (whole) get?.implied.push(whole);
  }
  return places;
}

/** The paths of rules that let a host be read. */
function readableAt(host: string, rules: readonly Rule[]): readonly string[] {
  return rules.filter((rule) => matchHost(rule.host, host) && matchMethod(rule.methods, "GET"))
    .flatMap(({ paths }) => paths);
}

interface Draft extends Proposal {
  readonly because: SeenRequest[];
}

/** One rule for gRPC calls, and one for each set of methods with the same paths, so that no request is in two rules of a place. */
function proposalsFor(
  { host, ports, methods, calls }: Place,
  rules: readonly Rule[],
  isExact: boolean,
): Draft[] {
  const here = rules.filter((rule) => matchHost(rule.host, host));
  const otherSecrets = secretsAt(rules, host);
  const byPaths = new Map<
    string,
    { paths: readonly string[]; methods: string[]; implied: ImpliedRequest[] }
  >();
  for (const [method, { seen, implied }] of methods) {
    const missing = implied.filter(({ path }) =>
      tryRule({ host, paths: [path] }) !== undefined && !isCovered(here, { host, ports, method, path })
    );
    const own = new Set(groupPaths(seen));
    const more = missing.map(({ path }) => path);
    const paths = limit(isExact ? [...new Set(seen.map(upperEscapes))].sort() : groupPaths(seen, more));
    if (paths.length === 0) continue;
    const key = JSON.stringify(paths);
    const group = byPaths.get(key) ?? { paths, methods: [], implied: [] };
    if (group.methods.length >= MAX_METHODS) continue; // a method is any word, so a client may send thousands
    byPaths.set(key, group);
    group.methods.push(method);
    for (const path of paths) {
      const next = own.has(path) ? undefined : missing.find((each) => each.path === path);
      if (next) group.implied.push({ method, path, by: next.by, after: next.after });
    }
  }
  const grpc = limit([...calls].sort());
  const ofCalls = grpc.length === 0 ? undefined : tryRule({ host, ports, grpc });
  const drafts = [...byPaths.values()].flatMap(({ paths, methods, implied }) => {
    const rule = tryRule({ host, ports, methods, paths });
    return rule ? [{ rule, because: [], implied, otherSecrets }] : [];
  });
  return ofCalls ? [{ rule: ofCalls, because: [], implied: [], otherSecrets }, ...drafts] : drafts;
}

function secretsAt(rules: readonly Rule[], host: string): readonly string[] {
  const here = rules.filter((rule) => matchHost(rule.host, host));
  return [...new Set(here.flatMap(({ secret }) => secret === undefined ? [] : [secret]))];
}

/** True when a present rule allows a pattern for every port of it. Rules before it may still say otherwise; no harm. */
function isCovered(
  rules: readonly Rule[],
  { host, ports, method, path }: Pick<RuleSpec, "host" | "ports"> & {
    readonly method: string;
    readonly path: string;
  },
): boolean {
  return rules.some((rule) =>
    !rule.deny && !hasConditions(rule) && matchHost(rule.host, host) && matchMethod(rule.methods, method) &&
    (ports.length === 0 ? DEFAULT_PORTS : ports).every((port) => matchPort(rule.ports, port)) &&
    (rule.paths.length === 0 || rule.paths.some((pattern) => pattern === path || matchPath(pattern, path)))
  );
}

function limit(paths: readonly string[]): readonly string[] {
  let chars = 0;
  return paths.slice(0, MAX_PATHS).filter((path) => (chars += path.length) <= MAX_PATH_CHARS);
}

/**
 * Puts a request under the proposal that allows it. The only place where a request becomes the reason of a rule. No
 * present rule matches any reading of it, and no two proposals of a place share a method, or what is a gRPC call: so only
 * this one has a say.
 */
function assign(request: DeniedRequest, drafts: readonly Draft[]): boolean {
  const { method, host, path, count, lastMs } = request;
  for (const { rule, because } of drafts.filter(({ rule }) => rule.host === host)) {
    // Further patterns of the same rule could only match as well.
    const paths = rule.paths.filter((pattern) => matchPath(pattern, path));
    const [pattern = rule.grpc ? path : hasConditions(rule) ? "*" : undefined] = paths;
    if (pattern === undefined) continue;
    if (decideRequest([asRule({ ...rule, paths })], request).verdict !== "allow") continue;
    because.push({ method, path, count, lastMs, pattern });
    return true;
  }
  return false;
}
