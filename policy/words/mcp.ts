/**
 * The Model Context Protocol over HTTP (https://modelcontextprotocol.io/specification): JSON-RPC in `POST`, one message or a
 * batch; `GET` for the stream of the server's own messages, and in the older form for all its answers; `DELETE` for the end
 * of a session. What is asked for stands in the message alone, so it is read.
 *
 * Conditions name tools and methods. What any session needs is free: it calls nothing and tells nothing.
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { quoteText } from "../../core/escape.ts";
import { type BodyRead, isUnreadable, textOf, type Unreadable, unreadable } from "./body_text.ts";
import { hasLookalike, isObject, parseJson } from "./json.ts";
import { mediaTypeOf } from "./media_type.ts";
import { decodeName, encodeName } from "./name_text.ts";

/** A message from the client. */
export interface McpMessage {
  /** Of JSON-RPC; `-response` for an answer to the server, `-stream` for a GET, `-end` for a DELETE, `-other` for the rest. */
  readonly method: string;
  /** The tool that is called. */
  readonly tool?: string;
}

/** What a rule says of MCP. */
export interface McpLimits {
  readonly mcpTool?: readonly string[];
  readonly mcpMethod?: readonly string[];
}

const FREE: ReadonlySet<string> = new Set([
  ...["initialize", "ping", "-response", "-stream", "-end"],
  ...["initialized", "cancelled", "progress", "roots/list_changed"].map((name) => `notifications/${name}`),
]);
const MEMBERS = ["jsonrpc", "id", "method", "params", "result", "error"];
/** Messages of a batch. */
const MAX_BATCH = 100;
/** No server names its tools or methods otherwise; what could end or change a name is in none. */
const NAME = /^[\x21-\x7e]{1,256}$/;

/** A tool or method in a rule: its name, or how it begins with a star behind. @throws ProxyError `input.invalid` */
export function parseMcpName(text: string): string {
  const star = text.indexOf("*");
  if (
    NAME.test(text) && !text.includes(",") && !text.startsWith("-") && (star < 0 || star === text.length - 1)
  ) {
    return text;
  }
  throw new ProxyError("input.invalid", `Cannot use ${quoteText(text, 80)} as a tool or method of MCP`, {
    hint: "write a name such as read_file or tools/list, read_* for all that begin so, or *",
  });
}

/** The messages of a request. */
export function readMcp({ method, types, bytes }: BodyRead): readonly McpMessage[] | Unreadable {
  if (method !== "POST") {
    if (bytes.length > 0) return unreadable("its body is none of MCP");
    return [{ method: method === "GET" ? "-stream" : method === "DELETE" ? "-end" : "-other" }];
  }
  if (mediaTypeOf(types) !== "application/json") {
    return unreadable("its Content-Type is not application/json");
  }
  const text = textOf(bytes);
  const json = isUnreadable(text) ? text : parseJson(text, ["params"]);
  if (isUnreadable(json)) return json;
  const messages: readonly unknown[] = Array.isArray(json.value) ? json.value : [json.value];
  if (messages.length === 0 || messages.length > MAX_BATCH) {
    return unreadable("its batch is empty or too long");
  }
  const read: McpMessage[] = [];
  for (const message of messages) {
    const one = readMessage(message);
    if (isUnreadable(one)) return one;
    read.push(one);
  }
  return read;
}

function readMessage(message: unknown): McpMessage | Unreadable {
  if (!isObject(message) || message["jsonrpc"] !== "2.0" || hasLookalike(message, MEMBERS)) {
    return unreadable("its body is no message of JSON-RPC 2.0");
  }
  const { method, params } = message;
  const isAnswer = "result" in message || "error" in message;
  if (method === undefined && isAnswer) return { method: "-response" };
  if (typeof method !== "string" || isAnswer || !NAME.test(method) || method.startsWith("-")) {
    return unreadable("its message has no method, or an answer too");
  }
  if (method !== "tools/call") return { method };
  if (!isObject(params) || hasLookalike(params, ["name"])) return unreadable("its call names no tool");
  const { name } = params;
  return typeof name === "string" && NAME.test(name)
    ? { method, tool: name }
    : unreadable("its call names no tool");
}

/** True when every message is one that a rule allows. */
export function coversMcp({ mcpTool, mcpMethod = [] }: McpLimits, messages: readonly McpMessage[]): boolean {
  return messages.every(({ method, tool }) => {
    if (FREE.has(method)) return true;
    if (mcpTool && method === "tools/call") return matches(mcpTool, tool ?? "");
    return (mcpTool !== undefined && method === "tools/list") ||
      (method !== "-other" && matches(mcpMethod, method));
  });
}

/** True when any message is one that a rule names: for rules that deny. */
export function touchesMcp(
  { mcpTool = [], mcpMethod = [] }: McpLimits,
  messages: readonly McpMessage[],
): boolean {
  return messages.some(({ method, tool }) =>
    matches(mcpMethod, method) || (tool !== undefined && matches(mcpTool, tool))
  );
}

/** The words for just these messages, but for names, which the client has chosen, that would be patterns. */
export function narrowMcp(messages: readonly McpMessage[]): McpLimits {
  const tools = messages.flatMap(({ tool }) => tool === undefined || tool.includes("*") ? [] : [tool]);
  const methods = messages.map(({ method }) => method).filter((method) =>
    !FREE.has(method) && method !== "tools/call" && method !== "-other" && !method.includes("*")
  );
  return {
    ...(tools.length === 0 ? {} : { mcpTool: [...new Set(tools)] }),
    ...(methods.length === 0 ? {} : { mcpMethod: [...new Set(methods)] }),
  };
}

function matches(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) =>
    pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : pattern === name
  );
}

/** Messages as text without blanks: `initialize+tools/call(read_file)`. */
export function formatMcp(messages: readonly McpMessage[]): string {
  return messages.map(({ method, tool }) =>
    `${encodeName(method)}${tool === undefined ? "" : `(${encodeName(tool)})`}`
  ).join("+");
}

/** The inverse; undefined for a text that is none. */
export function parseMcp(text: string): readonly McpMessage[] | undefined {
  const messages = text.split("+").map((piece): McpMessage | undefined => {
    const [, method = "", tool] = /^([^()]+)(?:\(([^()]+)\))?$/.exec(piece) ?? [];
    if (method === "") return undefined;
    return { method: decodeName(method), ...(tool === undefined ? {} : { tool: decodeName(tool) }) };
  });
  return messages.every((each) => each !== undefined) ? messages : undefined;
}
