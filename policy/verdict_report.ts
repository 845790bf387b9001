/**
 * What would be decided about a request, by which rule, and why not by the others: for people who ask before anything is sent.
 *
 * Not here: what only shows while a request is under way: its body, addresses, credentials, quotas.
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { formatHostPort, parsePort } from "../core/host_port.ts";
import { contentNeeded, decideConnect, decideRequest, type RequestTarget } from "./decide.ts";
import { explainDenial, type Explanation } from "./explain.ts";
import { type Dimension, DIMENSIONS, matchRule } from "./match.ts";
import type { Reason } from "./reason.ts";
import { parseHostPattern, type Rule } from "./rule.ts";
import { missedConditions } from "./words/conditions.ts";

/** A request that was asked about, and what its URL says beside it. */
export interface AskedRequest extends RequestTarget {
  /** `https` is asked in a tunnel, and then the tunnel has to be allowed too. */
  readonly scheme: "http" | "https";
}

/** What would become of it. */
export interface VerdictReport {
  /** `passthrough`: its tunnel is spliced, and nobody looks at the request. */
  readonly verdict: "allow" | "deny" | "passthrough";
  readonly reason?: Reason;
  /** The place, from 1, of the rule that decides; absent when none does. */
  readonly place?: number;
  /** A person is asked before it goes on. */
  readonly asks?: true;
  /** For a denial. */
  readonly explanation?: Explanation;
  /** Each of the client's rules, in order: what it does not cover. Empty lists cover the request as sent. */
  readonly rules: readonly { readonly rule: Rule; readonly missed: readonly Dimension[] }[];
}

/**
 * Reads a method and a URL as a client would send them: the path stays as it is written.
 *
 * @throws ProxyError `input.invalid`
 */
export function parseAsked(method: string, url: string): AskedRequest {
  const [, scheme, authority = "", path = "", query] =
    /^(https?):\/\/([^/?#\\@]+)([^?#]*)(?:\?([^#]*))?/i.exec(url) ?? [];
  const [, name = "", port] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(authority) ?? [];
  const isTls = scheme?.toLowerCase() === "https";
  const portNumber = port === undefined ? (isTls ? 443 : 80) : parsePort(port);
  if (scheme === undefined || name === "" || name.includes("*") || portNumber === undefined) {
    throw new ProxyError("input.invalid", "Cannot read the URL", {
      hint: "write it like https://api.example.com/v1/models, without user and password",
    });
  }
  if (!/^[A-Za-z][A-Za-z0-9_-]{0,31}$/.test(method)) {
    throw new ProxyError("input.invalid", "Cannot read the method", { hint: "write GET, POST or another" });
  }
  return {
    scheme: isTls ? "https" : "http",
    host: parseHostPattern(name),
    port: portNumber,
    method: method.toUpperCase(),
    path: path === "" ? "/" : path,
    ...(query === undefined ? {} : { query }),
  };
}

/** Finds out. @param rules the client's live rules in declaration order, for every host */
export function reportVerdict(client: string, rules: readonly Rule[], asked: AskedRequest): VerdictReport {
  const tunnel = asked.scheme === "https" ? decideConnect(rules, asked) : undefined;
  const looked = rules.map((rule) => ({ rule, missed: missedBy(rule, asked) }));
  if (tunnel?.verdict === "passthrough") {
    return { verdict: "passthrough", ...placed(rules, tunnel.rule), rules: looked };
  }
  const decision = tunnel?.verdict === "deny" ? tunnel : decideRequest(rules, asked);
  if (decision.verdict === "allow") {
    const asks = decision.rule.ask ? { asks: true as const } : {};
    return { verdict: "allow", ...placed(rules, decision.rule), ...asks, rules: looked };
  }
  const { reason, closest } = decision;
  const reader = rules.find((rule) => contentNeeded([rule], asked).length > 0);
  if (reason === "body-unreadable" && reader) return dependsOnBody(rules, reader, asked, looked);
  return {
    verdict: "deny",
    reason,
    ...(reason === "rule-denied" && closest ? placed(rules, closest.rule) : {}),
    explanation: explainDenial({ client, ...asked }, reason, rules),
    rules: looked,
  };
}

/** A URL has no body: what is said is what would be missing, not that something is wrong with the request. */
function dependsOnBody(
  rules: readonly Rule[],
  rule: Rule,
  asked: AskedRequest,
  looked: VerdictReport["rules"],
): VerdictReport {
  const { place } = placed(rules, rule);
  const wants = missedConditions(rule, asked).join("; ");
  const text =
    `The URL does not tell whether this is allowed: rule ${place} asks about the body, for ${wants}.`;
  return { verdict: "deny", reason: "body-unreadable", place, explanation: { text }, rules: looked };
}

/** The request as one line. */
export function describeAsked({ scheme, method, path, ...place }: AskedRequest): string {
  return `${method} ${scheme}://${formatHostPort(place)}${path}`;
}

function placed(rules: readonly Rule[], rule: Rule): { readonly place: number } {
  return { place: rules.indexOf(rule) + 1 };
}

function missedBy(rule: Rule, asked: AskedRequest): Dimension[] {
  const match = matchRule(rule, asked);
  return DIMENSIONS.filter((dimension) => !match[dimension]);
}
