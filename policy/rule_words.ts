/**
 * The words of a rule beyond host, port, method, path, secret and passthrough: one table. CLI flags, REST bodies, policy
 * files, stored rows, policy diffs, `allow` commands and lists all read it, so that a word is described in one place.
 *
 * Not here: what a word does (each says where), and what it reads like in REST (`api/rule_words.ts`) or as a flag
 * (`cli/api/rule_words.ts`).
 *
 * @module
 */
import { formatExactDuration, parseDuration } from "../core/duration.ts";
import { ProxyError } from "../core/errors.ts";
import { quoteText } from "../core/escape.ts";
import { MAX_ASK_TIMEOUT_MS, MAX_RESPONSE_TIMEOUT_MS } from "../core/limits.ts";
import { GIT_ACCESS, parseRepo } from "./words/git.ts";
import { OPERATIONS, parseDocumentHash, parseFieldName } from "./words/graphql_words.ts";
import { parseMcpName } from "./words/mcp.ts";
import { parseBudgetText } from "./budget.ts";
import { parseQueryCondition } from "./words/query.ts";
import { parseGrpcCall } from "./words/grpc.ts";
import { parseAwsRegion, parseAwsService } from "./words/aws_scope.ts";

/** One row. */
interface RuleWordRow {
  /** The property of a rule. */
  readonly field: string;
  /** In policy files; in REST (there durations end in `_seconds`); with hyphens the flag of `allow`. */
  readonly name: string;
  /**
   * `switch`: there or not. `duration`: whole seconds, in milliseconds. `text`: one value. `list`: a sorted set of values,
   * of which one has to fit, and never empty.
   */
  readonly shape: "switch" | "duration" | "text" | "list";
  /**
   * True for what limits the requests that the rule matches: part of what makes it the rule it is. Else it says how
   * they are sent.
   */
  readonly isCondition: boolean;
  /** True for a condition about the path: its rule counts as one with paths, where a path can be read in several ways. */
  readonly readsPath?: true;
  /** The word that it says more about, and is nothing without. */
  readonly needs?: string;
  /** What stands for the value in the help. */
  readonly placeholder?: string;
  /** One line, lower case, no full stop, without "not with passthrough", which holds for all. */
  readonly description: string;
  /** The only values of a `text` or `list`. */
  readonly choices?: readonly string[];
  /** A value of a `text` or `list` in canonical form. @throws ProxyError `input.invalid` */
  readonly parse?: (text: string) => string;
  /** The longest `duration`. */
  readonly maxMs?: number;
}

/** The table, in the order in which words are written. */
export const RULE_WORDS = [
  {
    field: "deny", // policy/decide.ts
    name: "deny",
    shape: "switch",
    isCondition: false,
    description: "deny what the rule matches, whatever later rules say; as the command deny does",
  },
  {
    field: "ask", // proxy/decide/asking.ts
    name: "ask",
    shape: "switch",
    isCondition: false,
    description: "hold what the rule matches until a person approves it: slicer-proxy requests",
  },
  {
    field: "askTimeoutMs", // proxy/decide/asking.ts
    name: "ask_timeout",
    shape: "duration",
    isCondition: false,
    needs: "ask",
    maxMs: MAX_ASK_TIMEOUT_MS,
    description: "how long it may wait for that, instead of 5m",
  },
  {
    field: "oneRequestPerConnection", // proxy/forward/lone_request.ts
    name: "one_request_per_connection",
    shape: "switch",
    isCondition: false,
    description:
      "give every request of HTTP/1.1 an upstream connection of its own: for endpoints that ignore bodies",
  },
  {
    field: "responseTimeoutMs", // proxy/exchange.ts
    name: "response_timeout",
    shape: "duration",
    isCondition: false,
    maxMs: MAX_RESPONSE_TIMEOUT_MS,
    description: "how long its upstreams may think, instead of what up --response-timeout says",
  },
  {
    field: "http1", // proxy/tunnels/protocol_choice.ts
    name: "http1",
    shape: "switch",
    isCondition: false,
    description:
      "speak HTTP/1.1 at this host and port, with clients and upstream: for what breaks over HTTP/2",
  },
  {
    field: "awsService", // proxy/decide/admit.ts
    name: "aws_service",
    shape: "list",
    isCondition: false,
    placeholder: "NAME",
    parse: parseAwsService,
    description: "deny requests that are not signed for one of these AWS services, such as s3 or bedrock",
  },
  {
    field: "awsRegion", // proxy/decide/admit.ts
    name: "aws_region",
    shape: "list",
    isCondition: false,
    placeholder: "NAME",
    parse: parseAwsRegion,
    description: "deny requests that are not signed for one of these AWS regions, such as eu-west-1 or eu-*",
  },
  {
    field: "budget", // proxy/decide/budgets.ts
    name: "budget",
    shape: "list",
    isCondition: false,
    placeholder: "BUDGET",
    parse: parseBudgetText,
    description:
      "deny with 429 beyond requests=1000/h, bytes-up=100M/d, bytes-down=1G/d or tokens=2M/d, for an hour or a day",
  },
  {
    field: "mcpFilterList", // policy/words/mcp_list.ts
    name: "mcp_filter_list",
    shape: "switch",
    isCondition: false,
    needs: "mcp_tool",
    description: "take tools that are not allowed out of answers to tools/list; with mcp_tool",
  },
  {
    field: "query", // from here on policy/words/conditions.ts
    name: "query",
    shape: "list",
    isCondition: true,
    placeholder: "NAME=VALUE",
    parse: parseQueryCondition,
    description:
      "only with this parameter in the query, and no other value of it; several of a name are alternatives",
  },
  {
    field: "grpc",
    name: "grpc",
    shape: "list",
    isCondition: true,
    readsPath: true,
    placeholder: "CALL",
    parse: parseGrpcCall,
    description:
      "only this gRPC method: package.Service/Method, or package.Service/*; not with --method or --path",
  },
  {
    field: "git",
    name: "git",
    shape: "text",
    isCondition: true,
    readsPath: true,
    placeholder: "ACCESS",
    choices: GIT_ACCESS,
    description:
      "only what git asks to read (clone, fetch), or to write too (push); git-lfs, archives and raw files likewise",
  },
  {
    field: "repo",
    name: "repo",
    shape: "list",
    isCondition: true,
    needs: "git",
    placeholder: "REPO",
    parse: parseRepo,
    description: "only these repositories: acme/web, or acme/* for all below; with git",
  },
  {
    field: "graphql",
    name: "graphql",
    shape: "list",
    isCondition: true,
    placeholder: "TYPE",
    choices: OPERATIONS,
    description: "only GraphQL operations of this type; the body is read",
  },
  {
    field: "graphqlField",
    name: "graphql_field",
    shape: "list",
    isCondition: true,
    needs: "graphql",
    placeholder: "FIELD",
    parse: parseFieldName,
    description: "only operations that ask for nothing but these top-level fields; with graphql",
  },
  {
    field: "graphqlHash",
    name: "graphql_hash",
    shape: "list",
    isCondition: true,
    needs: "graphql",
    placeholder: "HASH",
    parse: parseDocumentHash,
    description: "also the operation that the server keeps under this hash or id; with graphql",
  },
  {
    field: "mcpTool",
    name: "mcp_tool",
    shape: "list",
    isCondition: true,
    placeholder: "TOOL",
    parse: parseMcpName,
    description:
      "only calls of this tool over MCP: read_file, or read_* for all that begin so; the body is read",
  },
  {
    field: "mcpMethod",
    name: "mcp_method",
    shape: "list",
    isCondition: true,
    placeholder: "METHOD",
    parse: parseMcpName,
    description: "only messages of this method over MCP, such as resources/*; what any session needs is free",
  },
] as const satisfies readonly RuleWordRow[];

/** A row with its own types. */
export type RuleWord = typeof RULE_WORDS[number];

/** What a word may hold. */
export type WordValue = true | number | string | readonly string[];

type ChoiceOf<Row> = Row extends { readonly choices: readonly (infer Choice)[] } ? Choice : string;
/** The value of a word, by the shape of its row. */
export type ValueOf<Row extends RuleWordRow> = Row["shape"] extends "switch" ? true
  : Row["shape"] extends "duration" ? number
  : Row["shape"] extends "text" ? ChoiceOf<Row>
  : readonly ChoiceOf<Row>[];

/** The words that a rule has. Absent means that it does not say. */
export type RuleWords = { readonly [Row in RuleWord as Row["field"]]?: ValueOf<Row> };

/** Words as a person or a program gives them: also `false`, empty lists and undefined, for what is not said. */
export type RuleWordsInput = {
  readonly [Row in RuleWord as Row["field"]]?: WordInput | undefined;
};
type WordInput = boolean | WordValue;

/** The rows, for code that treats all words alike. */
export const WORD_ROWS: readonly (RuleWordRow & { readonly field: keyof RuleWords })[] = RULE_WORDS;

/**
 * Words in canonical form.
 *
 * @throws ProxyError `input.invalid`, naming the word: a value of another shape, out of range, none of its choices, or that
 * the word's own reader refuses
 */
export function parseWords(input: RuleWordsInput): RuleWords {
  const words = gather(({ field }) => input[field], parseWord);
  for (const { field, name, needs } of WORD_ROWS) {
    if (words[field] === undefined || needs === undefined || isSaid(words, needs)) continue;
    throw new ProxyError("input.invalid", `Cannot use ${flagOf(name)} without ${flagOf(needs)}`, {
      hint: `add ${flagOf(needs)}: slicer-proxy allow --help`,
    });
  }
  return words;
}

function isSaid(words: RuleWords, name: string): boolean {
  return WORD_ROWS.some((row) => row.name === name && words[row.field] !== undefined);
}

/** The words of a rule alone, without the rest of it: for copies and comparisons. */
export function wordsOf(words: RuleWords): RuleWords {
  return gather(({ field }) => words[field], (_, value) => value);
}

/** Those of them that limit what the rule matches. */
export function conditionsOf(words: RuleWords): RuleWords {
  return gather(({ field, isCondition }) => isCondition ? words[field] : undefined, (_, value) => value);
}

/** True when a rule says any of the words that limit it. Asked several times at every request: found out once for a rule. */
export function hasConditions(words: RuleWords): boolean {
  let has = CONDITIONED.get(words);
  if (has === undefined) {
    has = CONDITIONS.some(({ field }) => words[field] !== undefined);
    CONDITIONED.set(words, has);
  }
  return has;
}

/**
 * True when any of the rules has a condition: all that the request path asks where none has. Found out once for a list that
 * is frozen, as those are that are kept for requests.
 */
export function anyConditions(rules: readonly RuleWords[]): boolean {
  let any = ANY_CONDITIONED.get(rules);
  if (any === undefined) {
    any = rules.some(hasConditions);
    if (Object.isFrozen(rules)) ANY_CONDITIONED.set(rules, any);
  }
  return any;
}

/** True when a rule has a condition about the path. */
export function hasPathCondition(words: RuleWords): boolean {
  return hasConditions(words) && PATH_CONDITIONS.some(({ field }) => words[field] !== undefined);
}

/** A value as policy files and flags write it; none for a switch. */
export function wordTexts(value: WordValue): readonly string[] {
  if (value === true) return [];
  if (typeof value === "number") return [formatExactDuration(value)];
  return typeof value === "string" ? [value] : value;
}

/**
 * The value of a word from the texts that a person wrote, not yet checked ({@linkcode parseWords} does); none for a switch.
 *
 * @throws ProxyError `input.invalid` for what is no duration
 */
export function readWordTexts({ shape }: RuleWordRow, texts: readonly string[]): WordInput | undefined {
  if (shape === "switch") return true;
  if (shape === "list") return texts;
  const [text] = texts;
  return text === undefined || shape === "text" ? text : parseDuration(text);
}

/** Rules are never changed, only replaced: what was found out of one stays true. */
const CONDITIONED = new WeakMap<RuleWords, boolean>();
const ANY_CONDITIONED = new WeakMap<readonly RuleWords[], boolean>();
const CONDITIONS = WORD_ROWS.filter(({ isCondition }) => isCondition);
const PATH_CONDITIONS = WORD_ROWS.filter(({ readsPath }) => readsPath);

function gather<Value extends WordInput>(
  valueOf: (row: typeof WORD_ROWS[number]) => Value | undefined,
  convert: (row: RuleWordRow, value: Value) => WordValue,
): RuleWords {
  const words: Partial<Record<keyof RuleWords, WordValue>> = {};
  for (const row of WORD_ROWS) {
    const value = valueOf(row);
    if (value === undefined || value === false || (Array.isArray(value) && value.length === 0)) continue;
    words[row.field] = convert(row, value);
  }
  // Each value has the shape of its row, which is what the type says.
  return words as RuleWords;
}

function parseWord(row: RuleWordRow, value: WordInput): WordValue {
  switch (row.shape) {
    case "switch":
      return value === true ? value : refuseShape(row, "true or false");
    case "duration":
      return typeof value === "number" ? checkDuration(row, value) : refuseShape(row, "a duration");
    case "text":
      return typeof value === "string" ? parseText(row, value) : refuseShape(row, "one text");
    case "list":
      return typeof value === "object"
        ? [...new Set(value.map((text) => parseText(row, text)))].sort()
        : refuseShape(row, "a list of texts");
  }
}

function parseText({ name, choices, parse }: RuleWordRow, text: string): string {
  if (choices && !choices.includes(text)) {
    throw new ProxyError("input.invalid", `Cannot use ${quoteText(text, 40)} as ${flagOf(name)}`, {
      hint: `write ${choices.join(" or ")}`,
    });
  }
  if (text === "") {
    throw new ProxyError("input.invalid", `Cannot use an empty value for ${flagOf(name)}`, {
      hint: "leave it out, or write what it takes: slicer-proxy allow --help",
    });
  }
  return parse ? parse(text) : text;
}

function checkDuration({ name, maxMs = Infinity }: RuleWordRow, ms: number): number {
  if (!Number.isInteger(ms / 1_000) || ms < 1_000 || ms > maxMs) {
    throw new ProxyError("input.invalid", `Cannot use this value for ${flagOf(name)}: it is out of range`, {
      hint: `write whole seconds from 1s to ${formatExactDuration(maxMs)}, such as 90s or 1h`,
    });
  }
  return ms;
}

function refuseShape({ name }: RuleWordRow, what: string): never {
  throw new ProxyError("input.invalid", `Cannot read ${name}: it is not ${what}`, { hint: `give ${what}` });
}

/** The flag of `allow` for a word. */
export function flagOf(name: string): string {
  return `--${name.replaceAll("_", "-")}`;
}
