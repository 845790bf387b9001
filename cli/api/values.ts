/**
 * Flag values that several commands read the same way.
 *
 * @module
 */
import { formatExactDuration, parseDuration } from "../../core/duration.ts";
import { parsePort } from "../../core/host_port.ts";
import { checkResponseTimeout, parseRule, type RuleInput, type RuleSpec } from "../../policy/rule.ts";
import type { JsonObject } from "./client.ts";
import type { CommandArgs } from "../command/command.ts";
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
 * @param options what {@linkcode ruleOptionsOf} gave, of a command that has those flags
 * @throws ProxyError `cli.usage`, `input.invalid`
 */
export function ruleOf(args: CommandArgs, options: Partial<RuleInput> = {}): RuleSpec {
  return parseRule({
    ...options,
    host: args.textOf("host"),
    methods: args.list("method"),
    paths: args.list("path"),
    ports: portsOf(args, "port"),
    secret: args.text("secret"),
    passthrough: args.has("passthrough"),
  });
}

/** How the requests of a rule are sent, by the flags of `allow`. @throws ProxyError `input.invalid` */
export function ruleOptionsOf(
  args: CommandArgs,
): Pick<RuleInput, "oneRequestPerConnection" | "responseTimeoutMs"> {
  return {
    oneRequestPerConnection: args.has("one-request-per-connection"),
    responseTimeoutMs: responseTimeoutOf(args),
  };
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
    ...(rule.oneRequestPerConnection ? { one_request_per_connection: true } : {}),
    ...(rule.responseTimeoutMs === undefined
      ? {}
      : { response_timeout_seconds: rule.responseTimeoutMs / 1_000 }),
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
  return text === undefined ? undefined : checkResponseTimeout(parseDuration(text));
}

/** The options of a rule in an API answer, as `allow` takes them but without dashes. */
export function optionWords(rule: JsonObject): readonly string[] {
  const seconds = rule.response_timeout_seconds;
  return [
    ...(rule.one_request_per_connection === true ? ["one-request-per-connection"] : []),
    ...(typeof seconds === "number" ? [`response-timeout ${formatExactDuration(seconds * 1_000)}`] : []),
  ];
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
