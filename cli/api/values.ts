/**
 * Flag values that several commands read the same way.
 *
 * @module
 */
import { parseDuration } from "../../core/duration.ts";
import { parsePort } from "../../core/host_port.ts";
import { parseRule, type RuleSpec } from "../../policy/rule.ts";
import { parseWords } from "../../policy/rule_words.ts";
import { wordsToJson } from "../../policy/rule_words_json.ts";
import type { JsonObject } from "./client.ts";
import type { CommandArgs } from "../command/command.ts";
import { wordsOfFlags } from "./rule_words.ts";
import { usageError } from "../command/parse.ts";

/**
 * The ports of a flag.
 *
 * @throws ProxyError `cli.usage`
 */
export function portsOf(args: CommandArgs, flag: string): readonly number[] {
  const texts = args.has(flag) ? args.list(flag) : [args.text(flag)].filter((text) => text !== undefined);
  return texts.map((text) => {
    const port = parsePort(text);
    if (port === undefined) {
      throw usageError(`Cannot use --${flag} with this value: a port is a number from 1 to 65535`);
    }
    return port;
  });
}

/**
 * The rule that the flags of `allow` and `revoke` describe, checked and canonical.
 *
 * @throws ProxyError `cli.usage`, `input.invalid`
 */
export function ruleOf(args: CommandArgs): RuleSpec {
  return parseRule({
    ...wordsOfFlags(args),
    host: args.textOf("host"),
    methods: args.list("method"),
    paths: args.list("path"),
    ports: portsOf(args, "port"),
    secret: args.declares("secret") ? args.text("secret") : undefined,
    passthrough: args.declares("passthrough") && args.has("passthrough"),
  });
}

/** A rule as the API takes it. Fields that mean "any" are left out. */
export function ruleBody(client: string, rule: RuleSpec): JsonObject {
  return {
    client,
    host: rule.host,
    ...(rule.methods.length === 0 ? {} : { methods: rule.methods }),
    ...(rule.paths.length === 0 ? {} : { paths: rule.paths }),
    ...(rule.ports.length === 0 ? {} : { ports: rule.ports }),
    ...(rule.secret === undefined ? {} : { secret: rule.secret }),
    ...(rule.passthrough ? { passthrough: true } : {}),
    ...wordsToJson(rule),
  };
}

/**
 * The whole seconds of `--ttl`, or of another flag, or undefined without it.
 *
 * @throws ProxyError `input.invalid`, `cli.usage` for parts of a second
 */
export function ttlSecondsOf(args: CommandArgs, flag = "ttl"): number | undefined {
  const text = args.text(flag);
  if (text === undefined) return undefined;
  const ms = parseDuration(text);
  if (ms % 1_000 !== 0) {
    throw usageError(`Cannot use --${flag} with parts of a second`, "write 1s or more, in whole seconds");
  }
  return ms / 1_000;
}

/**
 * The milliseconds of `--response-timeout`, or undefined without it.
 *
 * @throws ProxyError `input.invalid`
 */
export function responseTimeoutOf(args: CommandArgs): number | undefined {
  const text = args.text("response-timeout");
  return text === undefined
    ? undefined
    : parseWords({ responseTimeoutMs: parseDuration(text) }).responseTimeoutMs;
}

/** What the API says is wrong with a rule. */
export function warningsOf(rule: unknown): readonly string[] {
  const { warnings } = typeof rule === "object" && rule !== null ? rule as JsonObject : {};
  return Array.isArray(warnings) ? warnings.filter((each) => typeof each === "string") : [];
}

/** A field of an API answer for a table cell. */
export function cell(value: unknown): string {
  if (typeof value === "string") return value === "" ? "-" : value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return value.map(cell).join(",");
  return "-";
}
