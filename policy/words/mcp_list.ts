/**
 * Answers to `tools/list` of MCP, narrowed to the tools that a rule allows: a model is not offered what it would be denied.
 * What is denied is denied by the calls alone (`mcp.ts`); this hides, and protects nothing.
 *
 * Not here: the bytes of answers (`proxy/forward/narrowed_answer.ts`).
 *
 * @module
 */
import { isUnreadable, type Unreadable } from "./body_text.ts";
import type { Content } from "./conditions.ts";
import { isObject, type JsonObject, parseJson } from "./json.ts";
import { coversMcp } from "./mcp.ts";

/** What a rule says about it. */
export interface ListLimits {
  readonly mcpTool?: readonly string[];
  readonly mcpFilterList?: true;
}

/** The tools that the answer to a request may name; undefined for a request whose answer is nobody's business. */
export function toolsToShow(
  { mcpTool, mcpFilterList }: ListLimits,
  content: Content | undefined,
): readonly string[] | undefined {
  const sent = content?.mcp;
  if (!mcpFilterList || !sent || isUnreadable(sent)) return undefined;
  return sent.some(({ method }) => method === "tools/list") ? mcpTool : undefined;
}

/** The text of an answer in JSON, one message or a batch, without other tools: the same text where it has none. */
export function narrowJson(tools: readonly string[], text: string): string | Unreadable {
  const checked = parseJson(text);
  if (isUnreadable(checked)) return checked;
  const value: unknown = JSON.parse(text, keepNumber);
  const messages: readonly unknown[] = Array.isArray(value) ? value : [value];
  const narrowed = messages.map((message) => narrowMessage(tools, message));
  if (narrowed.every((message, i) => message === messages[i])) return text;
  return JSON.stringify(Array.isArray(value) ? narrowed : narrowed[0]);
}

/** The same for an answer as a stream of events (https://html.spec.whatwg.org/multipage/server-sent-events.html §9.2.6). */
export function narrowEvents(tools: readonly string[], text: string): string | Unreadable {
  const out: string[] = [];
  let lines: string[] = [];
  for (const line of text.split(/\r\n|\n|\r/)) {
    if (line !== "") {
      lines.push(line);
      continue;
    }
    const event = narrowEvent(tools, lines);
    if (isUnreadable(event)) return event;
    for (const each of event) out.push(each); // there may be a million
    out.push("");
    lines = [];
  }
  // An event without an empty line behind it is none, to clients that keep to the standard.
  const rest = narrowEvent(tools, lines);
  return isUnreadable(rest) ? rest : [...out, ...rest].join("\n");
}

/** Clients of MCP read messages from events without a name or called so, and nothing from others. */
function narrowEvent(tools: readonly string[], lines: readonly string[]): readonly string[] | Unreadable {
  const data = valuesOf(lines, "data").join("\n");
  const called = valuesOf(lines, "event").at(-1) || "message"; // an empty name is none
  if (data === "" || called !== "message") return lines;
  const narrowed = narrowJson(tools, data);
  if (isUnreadable(narrowed)) return narrowed;
  return narrowed === data ? lines : [...lines.filter((line) => !isField(line, "data")), `data: ${narrowed}`];
}

function isField(line: string, name: string): boolean {
  return line === name || line.startsWith(`${name}:`);
}

function valuesOf(lines: readonly string[], name: string): readonly string[] {
  return lines.filter((line) => isField(line, name)).map((line) =>
    line.slice(name.length + 1).replace(/^ /, "")
  );
}

function narrowMessage(tools: readonly string[], message: unknown): unknown {
  if (!isObject(message) || !isObject(message["result"])) return message;
  const { result } = message;
  const { tools: listed } = result;
  if (!Array.isArray(listed)) return message;
  const shown = listed.filter((tool) => isShown(tools, tool));
  return shown.length === listed.length ? message : { ...message, result: { ...result, tools: shown } };
}

function isShown(mcpTool: readonly string[], tool: unknown): boolean {
  return isObject(tool) && typeof tool["name"] === "string" &&
    coversMcp({ mcpTool }, [{ method: "tools/call", tool: tool["name"] }]);
}

/** Numbers as they are written: ids of messages may be larger than JavaScript's are exact. */
function keepNumber(_name: string, value: unknown, context?: { readonly source?: string }): unknown {
  const { rawJSON } = JSON as typeof JSON & { readonly rawJSON?: (text: string) => JsonObject };
  return typeof value === "number" && rawJSON && context?.source ? rawJSON(context.source) : value;
}
