/**
 * The words of a rule that limit what it matches: one table, with what each asks of a request. A rule matches when all of
 * its conditions hold. Pure, over what is known of the request, so that the audit log can be judged again.
 *
 * Not here: how a value is written (`rule_words.ts`), and which rule wins (`decide.ts`).
 *
 * @module
 */
import { isUnreadable, type Unreadable } from "./body_text.ts";
import { hasConditions, type RuleWords, type RuleWordsInput } from "../rule_words.ts";
import { coversRepo, type GitRequest, readGit, touchesRepo } from "./git.ts";
import { callOf, coversCall } from "./grpc.ts";
import { coversGraphql, type GraphqlOperation, narrowGraphql, touchesGraphql } from "./graphql_words.ts";
import type { LfsOperation } from "./lfs.ts";
import { coversMcp, type McpMessage, narrowMcp, touchesMcp } from "./mcp.ts";
import { coversQuery, narrowQuery, readCondition, touchesQuery } from "./query.ts";

/** What is known of a request beyond its host and port. */
export interface Asked {
  /** Canonical. */
  readonly host: string;
  /** As sent, in any case. */
  readonly method: string;
  /** As one kind of server reads it, without the query. */
  readonly path: string;
  /** As sent, without the `?`; undefined when there is none. */
  readonly query?: string | undefined;
  /** What its body says, as far as it was read for a rule. */
  readonly content?: Content | undefined;
}

/** What a body says, by how it was read. */
export interface Content {
  /** What git-lfs is asked for. */
  readonly lfs?: LfsOperation | Unreadable;
  /** What a GraphQL server is asked for. */
  readonly graphql?: readonly GraphqlOperation[] | Unreadable;
  /** What an MCP server is sent. */
  readonly mcp?: readonly McpMessage[] | Unreadable;
}

/** One way to read a body. */
export type ContentKind = keyof Content;

/** Whether conditions hold. */
export type Verdict = boolean | Unreadable;

/**
 * What a word means. Under a rule that allows, a condition covers what is surely meant; under one that denies, whatever may
 * be: else what servers disagree about would go on to the next rule.
 */
interface Condition {
  /** Whether a request falls under it. Called only for rules that have the word. */
  readonly covers: (rule: RuleWords, asked: Asked) => Verdict;
  /** The parameters of the query that it looks at. */
  readonly asks?: (rule: RuleWords, asked: Asked) => readonly string[];
  /** The words for just this request, in the place of this one; undefined where they cannot be written. */
  readonly narrow: (rule: RuleWords, asked: Asked) => RuleWordsInput | undefined;
  /** How the body has to be read for that, where it has to be. */
  readonly reads?: (rule: RuleWords, asked: Asked) => ContentKind | undefined;
  /** What it wants, as a clause behind "falls short in". */
  readonly wants: (rule: RuleWords) => string;
}

/** Both words of MCP are one condition: what one of them allows is allowed. */
const MCP: Condition = {
  covers: coversMessages,
  reads: () => "mcp",
  narrow: (_, { content }) => content?.mcp && !isUnreadable(content.mcp) ? narrowMcp(content.mcp) : undefined,
  wants: ({ mcpTool, mcpMethod }) =>
    `what is asked over MCP: it wants ${
      [
        ...(mcpTool ? [`tools ${mcpTool.join(", ")}`] : []),
        ...(mcpMethod ? [`methods ${mcpMethod.join(", ")}`] : []),
      ]
        .join(" or ")
    }`,
};

const CONDITIONS: { readonly [field in keyof RuleWords]?: Condition } = {
  query: {
    covers: ({ query = [], deny }, asked) => (deny ? touchesQuery : coversQuery)(query, asked.query),
    asks: ({ query = [] }) => query.map((condition) => readCondition(condition).name),
    narrow: ({ query = [] }, asked) => ({ query: narrowQuery(query, asked.query) }),
    wants: ({ query = [] }) => `the query: it wants ${query.join(" or ")}, and of the same name nothing else`,
  },
  grpc: {
    covers: ({ grpc = [] }, asked) => coversCall(grpc, asked),
    narrow: (_, asked) => {
      const call = callOf(asked);
      return { grpc: call === undefined ? undefined : [call] };
    },
    wants: ({ grpc = [] }) => `the gRPC method: it wants ${grpc.join(" or ")}`,
  },
  git: {
    covers: coversGit,
    asks: (_, { path }) => path.endsWith("/info/refs") ? ["service"] : [],
    reads: ({ git, deny }, asked) =>
      (git === "read" || deny) && readGit(asked)?.access === "batch" ? "lfs" : undefined,
    narrow: (_, asked) => {
      const request = readGit(asked);
      const access = request && accessOf(request, asked);
      return access === "read" || access === "write"
        ? { git: access, repo: [request?.repo ?? ""] }
        : undefined;
    },
    wants: ({ git = "", repo = ["any repository"] }) =>
      `what git asks: it allows to ${git} ${repo.join(", ")}`,
  },
  mcpTool: MCP,
  mcpMethod: MCP,
  graphql: {
    covers: coversOperations,
    reads: () => "graphql",
    narrow: (_, { content }) =>
      content?.graphql && !isUnreadable(content.graphql) ? narrowGraphql(content.graphql) : undefined,
    wants: ({ graphql = [], graphqlField }) =>
      `what GraphQL asks: it wants ${graphql.join(" or ")}${
        graphqlField === undefined ? "" : ` of ${graphqlField.join(", ")} alone`
      }`,
  },
};

function coversMessages(rule: RuleWords, { content }: Asked): Verdict {
  const sent = content?.mcp ?? NOT_READ;
  return isUnreadable(sent) ? sent : (rule.deny ? touchesMcp : coversMcp)(rule, sent);
}

function coversOperations(rule: RuleWords, { content }: Asked): Verdict {
  const asked = content?.graphql ?? NOT_READ;
  return isUnreadable(asked) ? asked : (rule.deny ? touchesGraphql : coversGraphql)(rule, asked);
}

/** What a rule that denies says of writing is about writing alone, and what is unclear falls under it. */
function coversGit({ git, repo, deny }: RuleWords, asked: Asked): Verdict {
  const request = readGit(asked);
  if (!request) return false;
  if (!(deny ? touchesRepo(repo, request.repo) : coversRepo(repo, asked, request.repo))) return false;
  if (git === "write" && !deny) return request.access !== "unclear";
  const access = accessOf(request, asked);
  if (typeof access !== "string") return access;
  return access === "unclear" ? deny === true : access === git;
}

function accessOf({ access }: GitRequest, { content }: Asked): "read" | "write" | "unclear" | Unreadable {
  if (access !== "batch") return access;
  const lfs = content?.lfs ?? NOT_READ;
  return lfs === "download" ? "read" : lfs === "upload" ? "write" : lfs;
}

/** A rule that came while the body was read; the next request will be read for it. */
const NOT_READ: Unreadable = { reason: "body-unreadable", why: "its body was not read" };

const ROWS = Object.entries(CONDITIONS) as readonly (readonly [keyof RuleWords, Condition])[];
const ASKING = ROWS.filter(([, { asks }]) => asks);
const READING = ROWS.filter(([, { reads }]) => reads);

/** Whether a request falls under all conditions of a rule. What is not covered counts before what cannot be read. */
export function judgeConditions(rule: RuleWords, asked: Asked): Verdict {
  let unreadable: Unreadable | undefined;
  for (const [field, { covers }] of ROWS) {
    const verdict = rule[field] === undefined || covers(rule, asked);
    if (verdict === false) return false;
    if (verdict !== true) unreadable ??= verdict;
  }
  return unreadable ?? true;
}

/** What the conditions want that the request does not have. */
export function missedConditions(rule: RuleWords, asked: Asked): readonly string[] {
  const missed = ROWS.flatMap(([field, { covers, wants }]) =>
    rule[field] === undefined || covers(rule, asked) === true ? [] : [wants(rule)]
  );
  return [...new Set(missed)];
}

/** The conditions of a rule, those that the request does not have replaced by what it asks. */
export function narrowConditions(rule: RuleWords, asked: Asked): RuleWordsInput {
  return Object.assign(
    {},
    ...ROWS.map(([field, { covers, narrow }]) =>
      rule[field] === undefined || covers(rule, asked) === true ? {} : narrow(rule, asked)
    ),
  );
}

/** The parameters of the query that a rule looks at. */
export function asksOf(rule: RuleWords, asked: Asked): readonly string[] {
  return ASKING.flatMap(([field, { asks }]) =>
    (rule[field] === undefined ? undefined : asks?.(rule, asked)) ?? []
  );
}

/** True when a rule may look at the query. */
export function mayAsk(rule: RuleWords): boolean {
  return hasConditions(rule) && ASKING.some(([field]) => rule[field] !== undefined);
}

/** True when a rule may ask for what a body says. */
export function mayRead(rule: RuleWords): boolean {
  return hasConditions(rule) && READING.some(([field]) => rule[field] !== undefined);
}

/** How the body of a request has to be read for a rule that it falls under but for its conditions. */
export function readsOf(rule: RuleWords, asked: Asked): readonly ContentKind[] {
  return READING.flatMap(([field, { reads }]) =>
    (rule[field] === undefined ? undefined : reads?.(rule, asked)) ?? []
  );
}
