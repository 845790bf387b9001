/**
 * Calls of the REST API. Which there are, what they take and what they give is checked against the OpenAPI document, by
 * the compiler. Every failure is a {@linkcode SlicerProxyError}.
 *
 * Not here: the nouns (`nouns.ts`), and bytes (`wire.ts`).
 *
 * @module
 */
import { errorOfAnswer, notTheApi, SlicerProxyError } from "./error.ts";
import type { paths } from "./openapi.ts";
import {
  DEFAULT_SOCKET,
  homeFor,
  parseTarget,
  type SlicerProxyOptions,
  type Target,
  tokenFor,
} from "./target.ts";
import type { CallOptions } from "./types.ts";
import { Watch } from "./watch.ts";
import { send, type WireAnswer } from "./wire.ts";

const CALL_TIMEOUT_MS = 60_000;
/** How long a stream may be silent: four times as long as the API ever is. */
const SILENCE_MS = 60_000;
/** Characters of one answer, and of one line of a stream: far beyond what the API gives. */
const MAX_ANSWER_CHARS = 64 * 1_048_576;

type Path = keyof paths;
type Method = "get" | "post" | "put" | "delete";
type Operation<P extends Path, M extends Method> = NonNullable<paths[P][M]>;
type Json<Answer> = Answer extends { content: { "application/json": infer Body } } ? Body : never;
type Line<O> = O extends { responses: { 200: { content: { "application/x-ndjson": infer Value } } } } ? Value
  : never;

/** What a call gives: the JSON of its answer, or nothing. */
type AnswerOf<O> = O extends { responses: { 200: infer Answer } } ? Json<Answer>
  : O extends { responses: { 201: infer Answer } } ? Json<Answer>
  : void;

/** What a call takes: the names in its path, its query and its body, as far as it has them. */
type InputOf<O> =
  & (O extends { parameters: { path: infer Names } } ? { readonly names: Names }
    : unknown)
  & (O extends { parameters: { query?: infer Query } }
    ? [Query] extends [undefined] ? unknown : { readonly query?: Query }
    : unknown)
  & (O extends { requestBody: { content: { "application/json": infer Body } } } ? { readonly body: Body }
    : unknown);

/** What a call takes, whatever it is. */
interface Input {
  readonly names?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
}

/** The API of one proxy. */
export class Api {
  readonly #target: Target;
  readonly #token: string | undefined;
  readonly #ca: string | undefined;
  readonly #timeoutMs: number;

  /** Throws SlicerProxyError for an address or a token that cannot be used. Nothing is dialled yet. */
  constructor({ url = DEFAULT_SOCKET, token, ca, timeoutMs = CALL_TIMEOUT_MS }: SlicerProxyOptions) {
    this.#target = parseTarget(url, homeFor(url));
    this.#token = tokenFor(this.#target, token);
    this.#ca = ca;
    this.#timeoutMs = timeoutMs;
  }

  /** Makes one call. */
  async call<P extends Path, M extends Method>(
    method: M,
    path: P,
    input: InputOf<Operation<P, M>>,
    options: CallOptions = {},
  ): Promise<AnswerOf<Operation<P, M>>> {
    const watch = new Watch(options.signal, options.timeoutMs ?? this.#timeoutMs);
    try {
      const answer = await this.#open(method, path, input as Input, watch.signal);
      const text = await readText(answer);
      return (text === "" ? undefined : this.#parse(text, answer.status)) as AnswerOf<Operation<P, M>>;
    } catch (error) {
      throw watch.explain(error, this.#target);
    } finally {
      watch.end();
    }
  }

  /**
   * The JSON lines of a call that streams. Only the wait for its start is limited in time, and silence: the API sends
   * empty lines when it has nothing to say. Whoever stops iterating, or aborts the signal, ends the call.
   */
  async *stream<P extends Path>(
    path: P,
    input: InputOf<Operation<P, "get">>,
    options: CallOptions = {},
  ): AsyncGenerator<Line<Operation<P, "get">>, void, void> {
    const watch = new Watch(options.signal, options.timeoutMs ?? this.#timeoutMs);
    try {
      const answer = await this.#open("get", path, input as Input, watch.signal, "application/x-ndjson");
      const lines = new Lines();
      watch.arm(SILENCE_MS);
      for await (const chunk of answer.body) {
        watch.disarm(); // a slow reader is no silence
        for (const line of lines.add(chunk)) {
          yield this.#parse(line, answer.status) as Line<Operation<P, "get">>;
        }
        watch.arm(SILENCE_MS);
      }
    } catch (error) {
      throw watch.explain(error, this.#target);
    } finally {
      watch.end();
    }
  }

  /** The answer to a call that succeeded; its body is still to be read. */
  async #open(
    method: Method,
    path: string,
    { names = {}, query = {}, body }: Input,
    signal: AbortSignal,
    accept = "application/json",
  ): Promise<WireAnswer> {
    signal.throwIfAborted();
    const answer = await send({
      target: this.#target,
      ca: this.#ca,
      method: method.toUpperCase(),
      path: fillPath(path, names) + formatQuery(query),
      headers: {
        accept,
        "user-agent": "slicer-proxy-sdk",
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    }, signal);
    if (answer.status >= 200 && answer.status < 300) return answer;
    throw errorOfAnswer(answer.status, await readText(answer), this.#target.label);
  }

  #parse(text: string, status: number): unknown {
    try {
      return JSON.parse(text);
    } catch {
      // Without the cause: it quotes the text.
      throw notTheApi(this.#target.label, status);
    }
  }
}

/** `/a/{name}` with the name in its place, escaped, and without the leading slash. */
function fillPath(path: string, names: Readonly<Record<string, string>>): string {
  return path.slice(1).replace(/\{(\w+)\}/g, (_all, key: string) => {
    const name = names[key] ?? "";
    // No noun has such a name, and URLs take dots for steps to another path.
    if (/^\.{0,2}$/.test(name)) {
      throw new SlicerProxyError(
        `Cannot use ${JSON.stringify(name)} here: it is no name`,
      );
    }
    return encodeURIComponent(name);
  });
}

function formatQuery(query: NonNullable<Input["query"]>): string {
  const fields = Object.entries(query).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, String(value)]]
  );
  return fields.length === 0 ? "" : `?${new URLSearchParams(fields)}`;
}

async function readText({ body }: WireAnswer): Promise<string> {
  let text = "";
  for await (const chunk of body) {
    text += chunk;
    if (text.length > MAX_ANSWER_CHARS) {
      throw new Error("the answer is too long");
    }
  }
  return text;
}

/** Cuts a stream of text into its lines, without empty ones. What follows the last line end was cut short: no line. */
class Lines {
  #rest = "";

  add(chunk: string): readonly string[] {
    const lines = (this.#rest + chunk).split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > MAX_ANSWER_CHARS) throw new Error("a line is too long");
    return lines.filter((line) => line.trim() !== "");
  }
}
