/**
 * Reads what an answer of a model says that it took, `usage`, while the answer passes: JSON, or events with JSON in them. It
 * keeps a few hundred bytes whatever the answer holds, looks at each byte once, and believes only members in their place: what
 * a model was made to write is inside strings.
 *
 * Shapes: Anthropic (`usage`, `message.usage` of `message_start`, cumulative in `message_delta`), OpenAI and what is made like
 * it (`usage` of chat completions and embeddings, `response.usage` of the Responses API), Gemini (`usageMetadata`).
 *
 * Not here: what counts where nothing is said (`estimate.ts`).
 *
 * @module
 */

/** Tokens of a model. */
export interface Tokens {
  /** What it read: the prompt, with what came from a cache. */
  readonly input: number;
  /** What it wrote, with what it thought. */
  readonly output: number;
}

/** How an answer is framed. */
export type UsageForm = "json" | "events";

/**
 * Where a member stands: in the document (`root`: also an item of a list that is one), in `message` of Anthropic's first
 * event, whose `first-usage` is not the end of it, in `response` of the Responses API, in `usage`, or nowhere that matters.
 */
type Scope = "root" | "message" | "response" | "usage" | "first-usage" | "root-list" | "list" | "nowhere";

/** Deeper documents are not read: no answer of a model is. */
const MAX_DEPTH = 64;
/** The longest member that matters has 27. */
const MAX_KEY_CHARS = 40;
/** Far above what a request can take. */
const MAX_TOKENS = 1e12;

/** Members that add up, by provider. One that sends the members of two says the same twice: the most of them counts. */
const INPUT = [
  ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"], // Anthropic: without those of the cache
  ["prompt_tokens"],
  ["promptTokenCount", "toolUsePromptTokenCount"],
];
const OUTPUT = [["output_tokens"], ["completion_tokens"], ["candidatesTokenCount", "thoughtsTokenCount"]];
const TOTAL = [["total_tokens"], ["totalTokenCount"]];
const MEMBERS: ReadonlySet<string> = new Set([...INPUT, ...OUTPUT, ...TOTAL].flat());

/** Members whose text is about an answer, and no part of what the model wrote. */
const ABOUT = new Set([
  ...["id", "object", "model", "modelVersion", "responseId", "type", "role", "status", "system_fingerprint"],
  ...["service_tier", "finish_reason", "finishReason", "stop_reason", "item_id", "call_id", "obfuscation"],
]);

/** See the module. */
export class UsageReader {
  readonly #form: UsageForm;
  readonly #scanner = new Scanner();
  /** `data` in the value of such a line; `name` before its colon; `other` in a line of another field. */
  #line: "name" | "data" | "other" = "name";
  #name = "";
  #wasCr = false;

  constructor(form: UsageForm) {
    this.#form = form;
  }

  /** What was said so far: the most of each number, since those of streams grow. Undefined when nothing was. */
  get said(): Tokens | undefined {
    return this.#scanner.said;
  }

  /** True when what was said is more than how it began. */
  get isFinal(): boolean {
    return this.#scanner.isFinal;
  }

  /** Bytes of texts that were in it, as far as they may be the model's: of events, for what ends before it says. */
  get textBytes(): number {
    return this.#scanner.textBytes;
  }

  /** Reads on. @param text a character for each byte */
  read(text: string): void {
    if (this.#form === "json") this.#scanner.read(text, 0, text.length);
    else this.#readLines(text);
  }

  /** Events as browsers read them (WHATWG HTML §9.2.6), but for the names of events, which say nothing here. */
  #readLines(text: string): void {
    for (let at = 0; at < text.length;) {
      const end = endOfLine(text, at);
      this.#readLine(text, at, end);
      if (end === text.length) return;
      const isLf = text.charCodeAt(end) === 10;
      if (!(isLf && this.#wasCr && end === at)) this.#endLine();
      this.#wasCr = !isLf;
      at = end + 1;
    }
  }

  #readLine(text: string, start: number, end: number): void {
    let at = start;
    if (at < end) this.#wasCr = false;
    for (; this.#line === "name" && at < end; at++) {
      const char = text[at] ?? "";
      if (char === ":") this.#line = this.#name.replace(/^\xef\xbb\xbf/, "") === "data" ? "data" : "other";
      else if (this.#name.length < 8) this.#name += char;
    }
    if (this.#line === "data") this.#scanner.read(text, at, end);
  }

  #endLine(): void {
    if (this.#line === "name" && this.#name === "") this.#scanner.reset();
    this.#line = "name";
    this.#name = "";
  }
}

function endOfLine(text: string, start: number): number {
  let at = start;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 10 || code === 13) break;
  }
  return at;
}

/** One JSON document after the other, in pieces cut anywhere. It checks nothing that it does not need. */
class Scanner {
  isFinal = false;
  textBytes = 0;
  /** The most of each member. */
  readonly #said = new Map<string, number>();
  /** Of the objects and lists that are open. */
  #scopes: Scope[] = [];
  /** The last of them, which every sign asks for; undefined outside of a document. */
  #scope: Scope | undefined;
  #key = "";
  #isKeyNext = false;
  #inString = false;
  #isKey = false;
  #isEscaped = false;
  /** What the digits of a number that matters come to; undefined outside of one. */
  #number: number | undefined;
  /** The member that it is of. */
  #member = "";
  /** Something that is no JSON of an answer: until the next document all of it counts as text. */
  #isLost = false;

  get said(): Tokens | undefined {
    if (this.#said.size === 0) return undefined;
    const valueOf = (name: string) => this.#said.get(name) ?? 0;
    const most = (ways: readonly (readonly string[])[]) =>
      Math.max(...ways.map((names) => names.reduce((sum, name) => sum + valueOf(name), 0)));
    const input = most(INPUT);
    return { input, output: Math.max(most(OUTPUT), most(TOTAL) - input) };
  }

  /** A new document begins. */
  reset(): void {
    this.#scopes = [];
    this.#scope = undefined;
    this.#key = "";
    this.#inString =
      this.#isEscaped =
      this.#isKeyNext =
      this.#isLost =
        false;
    this.#number = undefined;
  }

  read(text: string, start: number, end: number): void {
    for (let at = start; at < end;) {
      if (this.#isLost) {
        this.textBytes += end - at;
        return;
      }
      at = this.#inString ? this.#readString(text, at, end) : this.#readSign(text.charCodeAt(at), at);
    }
  }

  #readString(text: string, start: number, end: number): number {
    let at = start;
    for (; at < end; at++) {
      const code = text.charCodeAt(at);
      if (this.#isEscaped) this.#isEscaped = false;
      else if (code === 0x5c) this.#isEscaped = true;
      else if (code === 0x22) break;
    }
    if (this.#isKey) {
      this.#key += text.slice(start, Math.min(at, start + MAX_KEY_CHARS - this.#key.length));
    } else if (!ABOUT.has(this.#key)) this.textBytes += at - start;
    if (at === end) return end;
    this.#inString = false;
    return at + 1;
  }

  /** @returns where to go on */
  #readSign(code: number, at: number): number {
    const isDigit = code >= 0x30 && code <= 0x39;
    if (this.#number !== undefined && !isDigit) this.#endNumber(code, this.#number);
    switch (code) {
      case 0x22: // "
        this.#beginString();
        break;
      case 0x7b: // {
        this.#open(true);
        break;
      case 0x5b: // [
        this.#open(false);
        break;
      case 0x7d: // }
      case 0x5d: // ]
        this.#scopes.pop();
        this.#scope = this.#scopes.at(-1);
        this.#isKeyNext = false;
        break;
      case 0x2c: // ,
        this.#isKeyNext = this.#scope !== undefined && !isList(this.#scope);
        break;
      default:
        if (this.#scope === undefined && code > 0x20) this.#isLost = true;
        else if (isDigit) this.#readDigit(code - 0x30);
    }
    if (this.#isLost) this.textBytes++;
    return at + 1;
  }

  #beginString(): void {
    this.#inString = true;
    this.#isKey = this.#isKeyNext;
    this.#isKeyNext = false;
    if (this.#isKey) this.#key = "";
  }

  #open(isObject: boolean): void {
    if (this.#scopes.length === MAX_DEPTH) {
      this.#isLost = true;
      return;
    }
    this.#scope = isObject ? this.#objectScope() : this.#scope === undefined ? "root-list" : "list";
    this.#scopes.push(this.#scope);
    this.#isKeyNext = isObject;
  }

  #objectScope(): Scope {
    const scope = this.#scope;
    if (scope === undefined || scope === "root-list") return "root";
    if (scope === "root" && this.#key === "message") return "message";
    if (scope === "root" && this.#key === "response") return "response";
    if (this.#key !== "usage" && this.#key !== "usageMetadata") return "nowhere";
    if (scope === "message") return "first-usage";
    return scope === "root" || scope === "response" ? "usage" : "nowhere";
  }

  #readDigit(digit: number): void {
    if (this.#number === undefined) {
      const isUsage = this.#scope === "usage" || this.#scope === "first-usage";
      if (!isUsage || !MEMBERS.has(this.#key)) return;
      this.#member = this.#key;
      this.#key = ""; // 1.5 or 1e9 is one number, and no second one of the member
      this.#number = 0;
    }
    this.#number = Math.min(MAX_TOKENS, this.#number * 10 + digit);
  }

  #endNumber(code: number, number: number): void {
    const isWhole = code !== 0x2e && code !== 0x45 && code !== 0x65; // . E e
    if (isWhole) {
      this.#said.set(this.#member, Math.max(this.#said.get(this.#member) ?? 0, number));
      if (this.#scope === "usage") this.isFinal = true;
    }
    this.#number = undefined;
  }
}

function isList(scope: Scope): boolean {
  return scope === "list" || scope === "root-list";
}
