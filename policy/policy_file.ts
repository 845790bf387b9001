/**
 * The policy file: clients, their rules, and references to secrets, as one YAML text that people review. Read strictly:
 * what is unknown, repeated or of the wrong type is an error with file, line and column, and never a default.
 *
 *     version: 1
 *     secrets: # references: they must exist with this host and type; values are never here
 *       gh: { host: api.github.com, type: bearer }
 *     clients:
 *       ci-1:
 *         budget: [requests=1K/h]
 *         allow:
 *           - host: api.github.com
 *             methods: [GET]
 *             paths: [/repos/*]
 *             secret: gh
 *             ttl: 1h # or expires: 2026-12-01T00:00:00Z
 *         profiles: [npm@1] # rules of profiles, behind those
 *
 * `docs/policy.schema.json` says the same to editors.
 *
 * Not here: what a file changes (`policy_diff.ts`).
 *
 * @module
 */
import { formatExactDuration } from "../core/duration.ts";
import { parseName } from "../core/names.ts";
import { hasPlaceFor, SEGMENT_PLACEHOLDER } from "./placeholder.ts";
import { hostWithin, parseHostPattern, parseRule, ruleKey, type RuleSpec } from "./rule.ts";
import {
  parseWords,
  readWordTexts,
  type RuleWords,
  WORD_ROWS,
  wordTexts,
  type WordValue,
} from "./rule_words.ts";
import { readProfile } from "./policy_file_profiles.ts";
import { parseBudgets, parseBudgetText } from "./budget.ts";
import { type KnownKeys, readText, YamlFields } from "./yaml_fields.ts";
import { type Lifetime, readLifetime } from "./yaml_lifetime.ts";
import { isAmbiguousPlain, type YamlNode, YamlSource } from "./yaml_tree.ts";

/** What a policy file says. */
export interface PolicyFile {
  /** Every client with its rules in the order in which they are tried. */
  readonly clients: ReadonlyMap<string, readonly PolicyRule[]>;
  /** Of clients for which it says one: what they have for an hour or a day, sorted; empty for none. */
  readonly budgets: ReadonlyMap<string, readonly string[]>;
  /** The secrets that rules may name. */
  readonly secrets: ReadonlyMap<string, PolicySecret>;
}

/** A rule, and how long it lives. */
export interface PolicyRule extends Lifetime {
  /** What it allows. */
  readonly spec: RuleSpec;
}

/** What a secret has to be for the file to be about it. */
export interface PolicySecret {
  /** The host that it is bound to, canonical. */
  readonly host: string;
  /** In canonical spelling. */
  readonly type: string;
  /** `FILE:LINE:COLUMN` for messages, in a file that was read. No part of what the file says. */
  readonly place?: string;
}

const POLICY: KnownKeys = { what: "a policy", required: ["version", "clients"], optional: ["secrets"] };
const SECRET: KnownKeys = { what: "a secret", required: ["host"], optional: ["type"] };
const CLIENT: KnownKeys = { what: "a client", required: ["allow"], optional: ["profiles", "budget"] };
/** One that has profiles needs no rules of its own. */
const CLIENT_WITH_PROFILES: KnownKeys = {
  what: "a client",
  required: ["profiles"],
  optional: ["allow", "budget"],
};
const RULE: KnownKeys = {
  what: "a rule",
  required: ["host"],
  optional: [
    ...["methods", "paths", "ports", "secret", "passthrough", "ttl", "expires"],
    ...WORD_ROWS.map(({ name }) => name),
  ],
};

/**
 * Reads a policy file. A rule's secret must be listed under `secrets`, the rule's host lie within the secret's, and its paths
 * have a place for one that goes there.
 *
 * @param text YAML or JSON
 * @param fileName what errors call it
 * @throws ProxyError `input.invalid`; the message begins with `Cannot read FILE:LINE:COLUMN: `
 */
export function parsePolicyFile(text: string, fileName: string): PolicyFile {
  const source = new YamlSource(text, fileName);
  const top = new YamlFields(source, source.root, POLICY);
  const version = top.node("version");
  if (version?.kind !== "scalar" || !version.isPlain || version.text !== "1") {
    top.refuse("version", "this version of policy files is not known", "write version: 1");
  }
  const secrets = new Map<string, PolicySecret>();
  for (const [name, node] of top.named("secrets", (text) => parseName("secret", text))) {
    secrets.set(name, readSecret(source, node));
  }
  const clients = new Map<string, readonly PolicyRule[]>();
  const budgets = new Map<string, readonly string[]>();
  for (const [name, node] of top.named("clients", (text) => parseName("client", text))) {
    const hasProfiles = node.kind === "map" && node.entries.some(({ key }) => key.text === "profiles");
    const fields = new YamlFields(source, node, hasProfiles ? CLIENT_WITH_PROFILES : CLIENT);
    clients.set(name, readRules(source, fields, secrets));
    if (fields.node("budget")) budgets.set(name, readBudget(source, fields));
  }
  return { clients, budgets, secrets };
}

/** The text of a policy file; {@linkcode parsePolicyFile} is its inverse. */
export function formatPolicyFile({ clients, budgets, secrets }: PolicyFile): string {
  const lines = ["version: 1", secrets.size === 0 ? "secrets: {}" : "secrets:"];
  for (const [name, { host, type }] of secrets) {
    lines.push(`  ${formatText(name)}: { host: ${formatText(host)}, type: ${formatText(type)} }`);
  }
  lines.push(clients.size === 0 ? "clients: {}" : "clients:");
  for (const [name, rules] of clients) {
    lines.push(`  ${formatText(name)}:`);
    const budget = budgets.get(name);
    if (budget) lines.push(`    budget: ${formatList(budget.map(formatText))}`);
    lines.push(rules.length === 0 ? "    allow: []" : "    allow:");
    for (const { spec, ttlMs, expiresAt } of rules) {
      const problem = secretProblem(spec, secrets);
      if (problem !== undefined) {
        lines.push(`      # ${problem}: this rule denies, and the file cannot be applied`);
      }
      lines.push(...formatPolicyRule(spec).split("\n").map((line) => `      ${line}`));
      if (ttlMs !== undefined) lines.push(`        ttl: ${formatExactDuration(ttlMs)}`);
      if (expiresAt !== undefined) lines.push(`        expires: ${formatTime(expiresAt)}`);
    }
  }
  return lines.join("\n") + "\n";
}

/** Why the reader refuses the secret that a rule in force names: it was deleted or replaced since. */
function secretProblem(
  { host, secret, paths }: RuleSpec,
  secrets: ReadonlyMap<string, PolicySecret>,
): string | undefined {
  if (secret === undefined) return undefined;
  const bound = secrets.get(secret);
  if (!bound) return `there is no secret ${secret}`;
  if (!hostWithin(host, bound.host)) return `secret ${secret} is bound to ${bound.host}`;
  return hasPlaceFor(bound.type, paths) ? undefined : `the paths do not say where secret ${secret} goes`;
}

/** One rule as an item of a client's `allow`, from `- host: …` on, lines without indentation of their own or a final line feed. */
export function formatPolicyRule(
  { host, methods, paths, ports, secret, passthrough, ...words }: RuleSpec,
): string {
  return [
    `- host: ${formatText(host)}`,
    ...(methods.length === 0 ? [] : [`  methods: ${formatList(methods.map(formatText))}`]),
    ...(paths.length === 0 ? [] : [`  paths: ${formatList(paths.map(formatText))}`]),
    ...(ports.length === 0 ? [] : [`  ports: ${formatList(ports.map(String))}`]),
    ...(secret === undefined ? [] : [`  secret: ${formatText(secret)}`]),
    ...(passthrough ? ["  passthrough: true"] : []),
    ...WORD_ROWS.flatMap(({ field, name }) => {
      const value = words[field];
      return value === undefined ? [] : [`  ${name}: ${formatWord(value)}`];
    }),
  ].join("\n");
}

function formatWord(value: WordValue): string {
  if (value === true) return "true";
  const texts = wordTexts(value);
  if (typeof value === "object") return formatList(texts.map(formatText));
  return texts.map((text) => typeof value === "number" ? text : formatText(text)).join();
}

function readSecret(source: YamlSource, node: YamlNode): PolicySecret {
  const fields = new YamlFields(source, node, SECRET);
  const host = fields.text("host", parseHostPattern) ?? "";
  const type = fields.text("type", (text) => text) ?? "bearer";
  // The other spelling that `secret create --type` takes.
  return { host, type: type === "basic-auth" ? "basic" : type, place: source.place(node.at) };
}

/** A client's own. Here no items say something: unlike a list that limits a rule, none means none. */
function readBudget(source: YamlSource, fields: YamlFields): readonly string[] {
  return parseBudgets(
    fields.items("budget").map((item) => readText(source, item, "budget", parseBudgetText)),
  );
}

/** Its own rules, and behind them those of its profiles. */
function readRules(
  source: YamlSource,
  fields: YamlFields,
  secrets: ReadonlyMap<string, PolicySecret>,
): readonly PolicyRule[] {
  const seen = new Set<string>();
  const checkNew = (at: number, { spec }: PolicyRule, what: string) => {
    const key = ruleKey(spec);
    if (seen.has(key)) {
      source.refuse(
        at,
        `this client has the same rule above${what}`,
        "leave one of them out; secret, ttl, expires and options do not tell rules apart",
      );
    }
    seen.add(key);
  };
  const own = fields.items("allow").map((item) => {
    const rule = readRule(new YamlFields(source, item, RULE), secrets);
    checkNew(item.at, rule, "");
    return rule;
  });
  const profiles = fields.items("profiles").flatMap((item) => {
    const rules = readProfile(source, item, secrets);
    for (const rule of rules) {
      checkNew(item.at, rule, `, for ${rule.spec.host}`);
      checkPlace(rule.spec, secrets, (problem, hint) => source.refuse(item.at, problem, hint));
    }
    return rules;
  });
  return [...own, ...profiles];
}

function readRule(fields: YamlFields, secrets: ReadonlyMap<string, PolicySecret>): PolicyRule {
  // Each value goes through the one reader of rules by itself too, so that an error has its place.
  const host = fields.text("host", parseHostPattern) ?? "";
  const methods = fields.texts("methods", (text) => parseRule({ host: "*", methods: [text] }));
  const paths = fields.texts("paths", (text) => parseRule({ host: "*", paths: [text] }));
  const ports = fields.integers("ports", (port) => parseRule({ host: "*", ports: [port] }));
  const passthrough = fields.boolean("passthrough");
  const secret = readSecretOf(fields, host, secrets);
  if (passthrough && (secret !== undefined || methods.length > 0 || paths.length > 0)) {
    fields.refuse(
      "passthrough",
      "cannot use passthrough with a secret, methods or paths: passed-through bytes are not inspected",
      "leave out passthrough, or secret, methods and paths",
    );
  }
  const words = readWords(fields);
  const said = WORD_ROWS.filter(({ field }) => words[field] !== undefined).map(({ name }) => name).join(", ");
  if (passthrough && said !== "") {
    fields.refuse(
      "passthrough",
      `cannot use passthrough with ${said}: passed-through bytes are not inspected`,
      `leave out passthrough, or ${said}`,
    );
  }
  const spec = parseRule({ host, methods, paths, ports, secret, passthrough, ...words });
  checkPlace(spec, secrets, (problem, hint) => fields.refuse("paths", problem, hint));
  return { spec, ...readLifetime(fields) };
}

/** Of a listed secret: as `allow` has it (`store/changes/rules.ts`). */
function checkPlace(
  { secret = "", paths }: RuleSpec,
  secrets: ReadonlyMap<string, PolicySecret>,
  refuse: (problem: string, hint: string) => never,
): void {
  const bound = secrets.get(secret);
  if (!bound || hasPlaceFor(bound.type, paths)) return;
  refuse(
    `the rule's paths do not say where in the path secret ${secret} goes`,
    `write each path with one ${SEGMENT_PLACEHOLDER}, such as paths: ["/bot${SEGMENT_PLACEHOLDER}/*"]`,
  );
}

function readWords(fields: YamlFields): RuleWords {
  const words: Partial<Record<keyof RuleWords, WordValue | boolean | undefined>> = {};
  for (const row of WORD_ROWS) {
    const { field, name, shape } = row;
    const read = (texts: readonly string[]) => parseWords({ [field]: readWordTexts(row, texts) })[field];
    words[field] = shape === "switch"
      ? fields.boolean(name)
      : shape === "list"
      ? fields.texts(name, (text) => read([text]))
      : fields.text(name, (text) => read([text]));
  }
  return parseWords(words);
}

function readSecretOf(
  fields: YamlFields,
  host: string,
  secrets: ReadonlyMap<string, PolicySecret>,
): string | undefined {
  const name = fields.text("secret", (text) => text);
  if (name === undefined) return undefined;
  const secret = secrets.get(name);
  // The name is not shown: somebody may have put the credential itself there.
  if (!secret) {
    fields.refuse(
      "secret",
      "this secret is not listed under secrets",
      "list it there, with its host and type",
    );
  }
  if (!hostWithin(host, secret.host)) {
    fields.refuse(
      "secret",
      `secret ${name} is bound to ${secret.host}, and this rule is for ${host}`,
      `use a host within ${secret.host}, or another secret`,
    );
  }
  return name;
}

/** A scalar that every YAML reader takes for this text: plain where that is certain, else as JSON writes it. */
function formatText(text: string): string {
  const isPlain = /^(?:[A-Za-z/][A-Za-z0-9._/*~@+=%$-]*|\d+\.\d+\.\d+\.\d+)$/.test(text) &&
    !isAmbiguousPlain(text);
  return isPlain ? text : JSON.stringify(text);
}

function formatList(items: readonly string[]): string {
  return `[${items.join(", ")}]`;
}

function formatTime(epochMs: number): string {
  return new Date(epochMs).toISOString().replace(".000Z", "Z");
}
