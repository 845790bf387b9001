/**
 * A denial in words, for the person or agent that was refused: what was refused, which rule came closest and where it
 * fell short, and the one command with which an operator would allow exactly this. Pure.
 *
 * Everything shown comes from a client that may be hostile: words are escaped and cut, and a command is offered only
 * when it reads back as a rule for this one request and `decide.ts` then allows the request.
 *
 * Not here: the HTTP body around it (`proxy/error_response.ts`), and rules from whole audit logs (`slicer-proxy suggest`).
 *
 * @module
 */
import { isProxyError } from "../core/errors.ts";
import { escapeTerminal, quoteShell } from "../core/escape.ts";
import { formatHost, formatHostPort } from "../core/host_port.ts";
import { parseName } from "../core/names.ts";
import { allowArguments, canBeTyped } from "./allow_command.ts";
import { decideConnect, decideRequest } from "./decide.ts";
import { type ClosestRule, closestRule, type Dimension, matchHost, type Target } from "./match.ts";
import { hasDotSegments, isTooLong, normalisePath } from "./path.ts";
import { type Reason, REASONS } from "./reason.ts";
import { DEFAULT_PORTS, parseRule, type Rule, type RuleSpec } from "./rule.ts";
import { conditionsOf, type RuleWordsInput, wordsOf, wordTexts } from "./rule_words.ts";
import { callOf } from "./words/grpc.ts";
import { missedConditions, narrowConditions } from "./words/conditions.ts";

/** What was refused to whom. Method and path are absent when a tunnel was refused. */
export interface DeniedTarget extends Target {
  /** The client's name. */
  readonly client: string;
  /** It was sent as a gRPC call. */
  readonly isGrpc?: boolean;
  /** One clause of ours about a body that could not be read. */
  readonly why?: string | undefined;
}

/** A denial explained. No part holds control characters. */
export interface Explanation {
  /** Some sentences: who was refused what, why, and which rule came closest. */
  readonly text: string;
  /** What an operator would run, quoted for a POSIX shell; absent when no rule would help or none can be written safely. */
  readonly command?: string;
  /** The path to send instead of the one that was sent, when only that one would be allowed. */
  readonly sendPath?: string;
}

const MAX_SHOWN = 200;
const MAX_LISTED = 4;

/**
 * Explains a denial.
 *
 * @param rules the client's live rules in declaration order, for every host
 */
export function explainDenial(
  denied: DeniedTarget,
  reason: Reason,
  rules: readonly Rule[],
): Explanation {
  const closest = closestRule(rules, denied);
  const isForRules = reason === "no-rule" || reason === "path-ambiguous" || reason === "rule-denied";
  const remedy = isForRules ? findRemedy(denied, reason, rules, closest) : {};
  const isLong = reason === "path-encoding" && denied.path !== undefined && isTooLong(denied.path);
  const why = isLong
    ? "its path is unusual and has more than 4,096 characters"
    : denied.why ?? REASONS[reason];
  const advice = isLong
    ? "Send what is long in the query or the body."
    : "Send the path in its plain form, encoded once.";
  const sentences = [
    `Client ${shown(denied.client)} may not ${describeTarget(denied)}: ${why}.`,
    ...(isForRules ? [describeClosest(denied, rules, closest)] : []),
    ...(reason === "path-encoding" ? [advice] : []),
    ...(denied.why === undefined ? [] : ["A rule says what the body has to be about."]),
    ...(remedy.sendPath === undefined ? [] : [`Send the path as ${shown(remedy.sendPath)}.`]),
    "This is the proxy's policy, not a bad credential.",
  ];
  return { text: sentences.filter((sentence) => sentence !== "").join(" "), ...remedy };
}

function findRemedy(
  denied: DeniedTarget,
  reason: Reason,
  rules: readonly Rule[],
  closest: ClosestRule | undefined,
): Pick<Explanation, "command" | "sendPath"> {
  const { path } = denied;
  const plainPath = path === undefined ? undefined : normalisePath(path);
  const plain = { ...denied, path: plainPath };
  const isChanged = plainPath !== path;
  if (isChanged && plainPath !== undefined && isAllowed(rules, plain)) return { sendPath: plainPath };
  // A rule for dot segments or backslashes would be a rule for something else than it seems.
  const mayBeRule = reason === "no-rule" &&
    !(path !== undefined && (hasDotSegments(path) || path.includes("\\")));
  for (const target of mayBeRule ? [denied, plain] : [plain]) {
    const spec = narrowestRule(target, closest);
    if (!spec) continue;
    const rule: Rule = { ...spec, id: "", client: denied.client };
    if (!isAllowed([...rules, rule], target)) continue;
    const command = allowArguments(denied.client, spec).map(quoteShell).join(" ");
    return target.path === path || target.path === undefined
      ? { command }
      : { command, sendPath: target.path };
  }
  return {};
}

function isAllowed(rules: readonly Rule[], { host, port, method, path, query, content }: Target): boolean {
  return method === undefined || path === undefined
    ? decideConnect(rules, { host, port }).verdict !== "deny"
    : decideRequest(rules, { host, port, method, path, query, content }).verdict === "allow";
}

/** The rule for exactly this target, or undefined when it could not be typed, or would say more than this target. */
function narrowestRule(target: DeniedTarget, closest: ClosestRule | undefined): RuleSpec | undefined {
  const { host, port, method, path } = target;
  if (!canBeTyped({ host, method, path })) return undefined;
  // What the operator asked for at this host counts for the rest of it too.
  const near = closest && matchHost(closest.rule.host, host) ? closest.rule : undefined;
  const call = target.isGrpc || near?.grpc ? callOf({ method: method ?? "", path: path ?? "" }) : undefined;
  try {
    parseName("client", target.client);
    return parseRule({
      host,
      ports: DEFAULT_PORTS.includes(port) ? [] : [port],
      methods: method === undefined || call ? [] : [method],
      paths: path === undefined || call ? [] : [path],
      secret: near?.secret,
      ...(near ? { ...wordsOf(near), ...wordsFor(near, target) } : {}),
      grpc: call === undefined ? undefined : [call],
    });
  } catch (error) {
    if (isProxyError(error, "input.invalid")) return undefined;
    throw error;
  }
}

/** The words of a rule nearby, as far as they limit requests those for this one. */
function wordsFor(near: Rule, target: Target): RuleWordsInput {
  const { method, path } = target;
  return method === undefined || path === undefined
    ? {}
    : narrowConditions(near, { ...target, method, path });
}

function describeTarget({ host, port, method, path }: Target): string {
  const authority = DEFAULT_PORTS.includes(port) ? formatHost(host) : formatHostPort({ host, port });
  return method === undefined
    ? `open a tunnel to ${shown(`${formatHost(host)}:${port}`)}`
    : `${shown(method)} ${shown(authority + (path ?? ""))}`;
}

function describeClosest(
  denied: DeniedTarget,
  rules: readonly Rule[],
  closest: ClosestRule | undefined,
): string {
  if (rules.length === 0) return "This client has no rules, so it reaches nothing.";
  if (!closest) return `None of this client's rules is for the host ${shown(denied.host)}.`;
  const { rule, missed } = closest;
  if (missed.length === 0) return rule.deny ? `Its deny rule for ${describeRule(rule)} says so.` : "";
  const shortfalls = missed.map((dimension) => describeMiss(dimension, rule, denied));
  return `The closest rule is for ${describeRule(rule)}; it falls short in ${shortfalls.join(" and in ")}.`;
}

function describeMiss(dimension: Dimension, rule: Rule, target: Target): string {
  const { host, port, method = "", path = "" } = target;
  switch (dimension) {
    case "host":
      return `the host: it allows ${shown(rule.host)}, not ${shown(host)}`;
    case "port":
      return `the port: it allows ${list(rule.ports.length > 0 ? rule.ports : DEFAULT_PORTS)}, not ${port}`;
    case "method":
      return `the method: it allows ${list(rule.methods)}, not ${shown(method)}`;
    case "path":
      return `the path: it allows ${list(rule.paths)}, not ${shown(path)}`;
    case "words":
      return missedConditions(rule, { ...target, method, path }).map(shown).join(" and in ");
  }
}

function describeRule({ host, methods, paths, ports, ...words }: Rule): string {
  const parts = [
    ...(methods.length > 0 ? [list(methods)] : []),
    shown(host),
    ...(ports.length > 0 ? [`port ${list(ports)}`] : []),
    ...(paths.length > 0 ? [`path ${list(paths)}`] : []),
    ...Object.entries(conditionsOf(words)).map(([field, value]) => `${field} ${list(wordTexts(value))}`),
  ];
  return parts.join(" ");
}

function list(values: readonly (string | number)[]): string {
  const more = values.length > MAX_LISTED ? ` or ${values.length - MAX_LISTED} more` : "";
  return values.slice(0, MAX_LISTED).map((value) => shown(String(value))).join(", ") + more;
}

function shown(text: string): string {
  return escapeTerminal(text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}...` : text);
}
