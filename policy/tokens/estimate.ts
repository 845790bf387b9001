/**
 * What counts against a budget of tokens: what an answer says, and an estimate where it does not say, so that nobody asks for
 * free by leaving `include_usage` out, or by going away before the end.
 *
 * @module
 */
import type { Tokens } from "./usage_reader.ts";

/** Of text and of JSON. Models make a token of three to five; a message in English has about four. */
export const BYTES_PER_TOKEN = 4;
/** Of what is compressed and not read: it is about as long as it has tokens. */
export const CODED_BYTES_PER_TOKEN = 1;

/** Methods that ask no model for anything: they read what is there. */
const READING = new Set(["GET", "HEAD", "OPTIONS", "DELETE"]);

/** How the paths end by which models are asked: Anthropic, OpenAI and what is made like it, Gemini, Vertex, Bedrock. */
const ENDINGS = [
  ...["/messages", "/complete", "/completions", "/responses", "/embeddings", "/batches", "/realtime"],
  ...["generatecontent", "embedcontent", "embedcontents", ":predict", ":rawpredict", ":streamrawpredict"],
  ...["/invoke", "/invoke-with-response-stream", "/converse", "/converse-stream"],
];

/** True for the paths by which models are asked, however they are written. */
export function isModelPath(path: string): boolean {
  let text = path;
  // Twice, as some servers do; what is no escape stays.
  for (let i = 0; i < 2; i++) {
    text = text.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  }
  text = text.toLowerCase();
  let end = text.length;
  while (text[end - 1] === "/") end--;
  return ENDINGS.some((ending) => text.slice(0, end).endsWith(ending));
}

/** A request that is over, and what is known of it. */
export interface Asked {
  readonly method: string;
  /** It has changed its protocol. */
  readonly isUpgraded: boolean;
  /** An answer of it that says nothing is estimated: its rule has a budget of tokens, or its path is one of models. */
  readonly isModel: boolean;
  /** 0 when it had no answer. */
  readonly status: number;
  /** All of the answer was passed on. */
  readonly isWhole: boolean;
  /** Bytes of its body, and how many of them are about a token. */
  readonly sent: number;
  readonly sentPerToken: number;
}

/** What was seen of the answer. */
export interface Seen {
  readonly said: Tokens | undefined;
  readonly isFinal: boolean;
  /** Bytes that the model may have written, and how many of them are about a token. */
  readonly bytes: number;
  readonly bytesPerToken: number;
}

/** What counts; undefined where no model was asked. */
export function tokensOf(asked: Asked, seen: Seen): Tokens & { readonly isEstimated: boolean } | undefined {
  const { said } = seen;
  if (said && asked.isWhole && seen.isFinal) return { ...said, isEstimated: false };
  const isAsking = asked.isUpgraded || !READING.has(asked.method);
  // An answer that says no is free at all providers; one that was begun is not, and neither is none.
  const isRefused = asked.status >= 300 && asked.isWhole;
  if (!said && (!asked.isModel || !isAsking || isRefused)) return undefined;
  const input = said?.input || Math.ceil(asked.sent / asked.sentPerToken);
  const output = Math.max(said?.output ?? 0, Math.ceil(seen.bytes / seen.bytesPerToken));
  return input + output === 0 ? undefined : { input, output, isEstimated: true };
}
