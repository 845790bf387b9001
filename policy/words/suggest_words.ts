/**
 * Rules in the words of a protocol for denied requests that are unmistakably its own: git, where its first request names
 * the service, and MCP, where the log says which tools and methods a message was about.
 *
 * Not here: rules of methods and paths (`suggest.ts`).
 *
 * @module
 */
import { type DeniedRequest, portsFor, tryRule } from "../denial_remedy.ts";
import type { RuleSpec } from "../rule.ts";
import type { ImpliedRequest } from "../followups.ts";
import { isUnreadable } from "./body_text.ts";
import { type McpLimits, type McpMessage, narrowMcp } from "./mcp.ts";
import { type GitAccess, parseRepo, readGit } from "./git.ts";
import { isProxyError } from "../../core/errors.ts";

/** A rule, and what it lets through that nobody asked for yet. */
export interface WordProposal {
  readonly rule: RuleSpec;
  readonly implied: readonly ImpliedRequest[];
}

/** What words are found for, and the requests that none is found for. */
export interface WordSuggestion {
  readonly proposals: readonly WordProposal[];
  readonly rest: readonly DeniedRequest[];
  /** Messages that a rule of method and path would allow with all others at their path, and why no word is for them. */
  readonly unsaid: ReadonlyMap<DeniedRequest, string>;
}

/** The repositories that were asked for at a host and port, with a request for each. */
interface Place {
  readonly host: string;
  readonly ports: readonly number[];
  readonly repos: Map<string, { readonly access: GitAccess; readonly after: string }>;
}

/** Repositories in one rule: it stays reviewable. */
const MAX_REPOS = 50;

/** What was sent to an MCP server at one path. */
interface McpPlace {
  readonly host: string;
  readonly ports: readonly number[];
  readonly path: string;
  readonly messages: McpMessage[];
}

/** Messages that one rule is made of: it stays reviewable. */
const MAX_MESSAGES = 100;

const NO_NAME = "a tool or method of MCP in it has a name that no rule can be written for";
const TOO_MANY =
  "one rule would list too many tools and methods of MCP: add the proposed one, then suggest again";

/** Finds them. A request that is in no proposal is in the rest, whatever it was, or `unsaid`. */
export function suggestWords(requests: readonly DeniedRequest[]): WordSuggestion {
  const rest: DeniedRequest[] = [];
  const unsaid = new Map<DeniedRequest, string>();
  const places = new Map<string, Place>();
  const servers = new Map<string, McpPlace>();
  for (const request of requests) {
    const mcp = addMcp(servers, request);
    if (mcp !== "none") {
      if (mcp !== "added") unsaid.set(request, mcp);
      continue;
    }
    const asked = gitOf(request);
    const key = JSON.stringify([request.host, portsFor(request.port)]);
    const place: Place = places.get(key) ??
      { host: request.host, ports: portsFor(request.port), repos: new Map() };
    if (!asked || (place.repos.size >= MAX_REPOS && !place.repos.has(asked.repo))) {
      rest.push(request);
      continue;
    }
    places.set(key, place);
    const isWrite = asked.access === "write" || place.repos.get(asked.repo)?.access === "write";
    place.repos.set(asked.repo, { access: isWrite ? "write" : "read", after: request.path });
  }
  return {
    proposals: [...[...places.values()].flatMap(proposeGit), ...[...servers.values()].flatMap(proposeMcp)],
    rest,
    unsaid,
  };
}

/** Adds a message to an MCP server: `none` for what is no such, else why no rule can be made of it. */
function addMcp(servers: Map<string, McpPlace>, request: DeniedRequest): string {
  const { host, path, method } = request;
  const sent = request.content?.mcp;
  const ports = portsFor(request.port);
  if (method !== "POST" || !sent || isUnreadable(sent)) return "none";
  if (!tryRule({ host, paths: [path], ...wordsFor(sent) })) return NO_NAME;
  const key = JSON.stringify([host, ports, path]);
  const place = servers.get(key) ?? { host, ports, path, messages: [] };
  if (place.messages.length + sent.length > MAX_MESSAGES) return TOO_MANY;
  servers.set(key, place);
  place.messages.push(...sent);
  return "added";
}

/** A session that was denied as it began says nothing of what it is for: with the list of tools it goes on to that. */
function wordsFor(messages: readonly McpMessage[]): McpLimits {
  const words = narrowMcp(messages);
  return Object.keys(words).length === 0 ? { mcpMethod: ["tools/list"] } : words;
}

function proposeMcp({ host, ports, path, messages }: McpPlace): readonly WordProposal[] {
  const rule = tryRule({ host, ports, paths: [path], ...wordsFor(messages) });
  return rule ? [{ rule, implied: [] }] : [];
}

/** The service has to be said: a path alone may be anybody's. */
function gitOf(request: DeniedRequest): { readonly repo: string; readonly access: GitAccess } | undefined {
  const isService = request.path.endsWith("/info/refs")
    ? request.query !== undefined
    : /\/git-(?:upload|receive)-pack$/.test(request.path);
  const asked = isService ? readGit(request) : undefined;
  if (!asked || asked.access === "batch" || asked.access === "unclear") return undefined;
  try {
    return { repo: parseRepo(asked.repo), access: asked.access };
  } catch (error) {
    if (isProxyError(error, "input.invalid")) return undefined;
    throw error;
  }
}

function proposeGit({ host, ports, repos }: Place): readonly WordProposal[] {
  return (["read", "write"] as const).flatMap((git) => {
    const those = [...repos].filter(([, { access }]) => access === git);
    const repo = those.map(([name]) => name);
    const rule = repo.length === 0 ? undefined : tryRule({ host, ports, git, repo });
    const implied = those.map(([name, { after }]) => ({
      ...{ method: "POST", by: "git" as const, after },
      path: `/${name}/git-${git === "read" ? "upload" : "receive"}-pack`,
    }));
    return rule ? [{ rule, implied }] : [];
  });
}
