/**
 * Wire transcripts: bytes from a client, the bytes that upstreams saw, the bytes that the client got, and the audit lines.
 * A file is a list of cases; everything that a case does not list must not happen.
 *
 *     # a comment
 *     == what the case shows
 *     on port                      the client is on a proxy port; without it, in an https tunnel to up.test:443 …
 *     on http plain.test 80        … or in this one
 *     rule host=H methods=A,B …    rules of the client `one`, in order; without any, `host=up.test`
 *     secret NAME HOST [cleartext] Header: value
 *     limit maxHeadBytes=200       another limit than the default
 *     mode audit
 *     > TEXT                       the client sends this line
 *     >> TEXT                      the upstream sees this line
 *     >>? TEXT                     … or less: any beginning of this and the following `>>?` lines, or none of it
 *     << TEXT                      the upstream sends this line, once it has seen all `>>` lines above
 *     <<EOF                        … ends the connection in order; <<CUT: breaks it
 *     --                           what follows is another upstream connection
 *     < TEXT                       the client gets this line
 *     <! STATUS REASON [close] [no-body]    the client gets the proxy's own answer, well-formed
 *     ! TEXT                       an audit line; `…` stands for any text, a `duration` is left out
 *     = closed                     how the client's connection ends: closed, or cut so that it sees a truncation;
 *                                  without it, the connection is still open
 *     = pooled N                   idle upstream connections afterwards; without it, one if one was opened
 *     or                           what follows is another outcome that is as good, where timing decides
 *
 * A line stands for its text and CRLF; one that ends in `\` for its text alone. `\r \n \t \0 \\ \xHH` are bytes,
 * `{{x*300}}` is repetition. Lines `>>` and `<<` on one connection alternate.
 *
 * @module
 */

/** What one upstream connection sees and says. */
export interface UpstreamScript {
  readonly steps: readonly UpstreamStep[];
}

export interface UpstreamStep {
  /** One character a byte. */
  readonly sees: string;
  /** Any beginning of `sees` will do. */
  readonly mayStop: boolean;
  readonly says: string;
  readonly ends: "EOF" | "CUT" | undefined;
}

/** What the client got and what was logged. */
export interface Outcome {
  /** In the notation above. */
  readonly client: readonly string[];
  readonly audit: readonly string[];
  readonly end: "open" | "closed" | "cut";
}

export interface WireCase {
  readonly name: string;
  readonly line: number;
  readonly tunnel:
    | { readonly scheme: "http" | "https"; readonly host: string; readonly port: number }
    | undefined;
  readonly rules: readonly Readonly<Record<string, string>>[];
  readonly secrets: readonly {
    readonly name: string;
    readonly host: string;
    readonly cleartext: boolean;
    readonly header: readonly [string, string];
  }[];
  readonly limits: Readonly<Record<string, number>>;
  readonly mode: "strict" | "audit";
  readonly client: string;
  readonly upstreams: readonly UpstreamScript[];
  readonly outcomes: readonly Outcome[];
  readonly pooled: number;
}

/** The cases of a file. A line that is none of the above is a `SyntaxError`. */
export function parseTranscript(text: string): readonly WireCase[] {
  const cases: Draft[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line === "" || line.startsWith("#")) continue;
    const fail = () => new SyntaxError(`line ${index + 1}: ${line}`);
    if (line.startsWith("== ")) cases.push(makeDraft(line.slice(3), index + 1));
    else {
      const draft = cases.at(-1);
      if (!draft || !readLine(draft, line)) throw fail();
    }
  }
  return cases.map((draft) => ({ ...draft, pooled: draft.pooled ?? (draft.upstreams.length > 0 ? 1 : 0) }));
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
interface Draft extends Mutable<Omit<WireCase, "upstreams" | "outcomes" | "pooled" | "rules" | "secrets">> {
  rules: Record<string, string>[];
  secrets: WireCase["secrets"][number][];
  upstreams: { steps: Mutable<UpstreamStep>[] }[];
  outcomes: { client: string[]; audit: string[]; end: Outcome["end"] }[];
  pooled: number | undefined;
  /** A `--` was read: the next upstream line opens another connection. */
  isNextUpstream: boolean;
}

function makeDraft(name: string, line: number): Draft {
  return {
    name,
    line,
    tunnel: { scheme: "https", host: "up.test", port: 443 },
    rules: [],
    secrets: [],
    limits: {},
    mode: "strict",
    client: "",
    upstreams: [],
    outcomes: [{ client: [], audit: [], end: "open" }],
    pooled: undefined,
    isNextUpstream: true,
  };
}

function readLine(draft: Draft, line: string): boolean {
  const outcome = draft.outcomes.at(-1);
  if (!outcome) return false;
  const [, mark = "", rest = ""] =
    /^(>>\?|>>|<<EOF|<<CUT|<<|<!|<|>|!|=|--|or|on|rule|secret|limit|mode)(?: (.*))?$/.exec(line) ?? [];
  const words = rest.split(" ");
  switch (mark) {
    case ">":
      draft.client += bytesOf(rest);
      return true;
    case "<":
      outcome.client.push(`< ${rest.replace(/\{\{(.)\*(\d+)\}\}/g, repeat)}`);
      return true;
    case "<!":
    case "!":
      (mark === "!" ? outcome.audit : outcome.client).push(line);
      return true;
    case "=":
      if (words[0] === "pooled") draft.pooled = Number(words[1]);
      else if (rest === "closed" || rest === "cut") outcome.end = rest;
      else return false;
      return true;
    case "or":
      draft.outcomes.push({ client: [], audit: [], end: "open" });
      return true;
    case "--":
      draft.isNextUpstream = true;
      return true;
    case "on":
      draft.tunnel = rest === "port" ? undefined : {
        scheme: words[0] === "http" ? "http" : "https",
        host: words[1] ?? "",
        port: Number(words[2]),
      };
      return true;
    case "rule":
      draft.rules.push(Object.fromEntries(words.map((word) => word.split("="))));
      return true;
    case "secret": {
      const [, name = "", host = "", cleartext, header = "", value = ""] =
        /^(\S+) (\S+) (cleartext )?([^:]+): (.*)$/.exec(rest) ?? [];
      draft.secrets.push({ name, host, cleartext: cleartext !== undefined, header: [header, value] });
      return name !== "";
    }
    case "limit":
      for (const word of words) {
        draft.limits = { ...draft.limits, [word.split("=")[0] ?? ""]: Number(word.split("=")[1]) };
      }
      return true;
    case "mode":
      draft.mode = rest === "audit" ? "audit" : "strict";
      return true;
    default:
      return readUpstreamLine(draft, mark, rest);
  }
}

function readUpstreamLine(draft: Draft, mark: string, rest: string): boolean {
  if (draft.isNextUpstream) draft.upstreams.push({ steps: [] });
  draft.isNextUpstream = false;
  const steps = draft.upstreams.at(-1)?.steps ?? [];
  const isSeen = mark.startsWith(">>");
  const last = steps.at(-1);
  if (!last || last.ends || (isSeen && last.says !== "")) {
    steps.push({ sees: "", mayStop: false, says: "", ends: undefined });
  }
  const step = steps.at(-1);
  if (!step) return false;
  if (mark === ">>" && step.mayStop) return false;
  if (isSeen) {
    step.sees += bytesOf(rest);
    if (mark === ">>?") step.mayStop = true;
  } else if (mark === "<<") step.says += bytesOf(rest);
  else if (mark === "<<EOF") step.ends = "EOF";
  else if (mark === "<<CUT") step.ends = "CUT";
  else return false;
  return true;
}

const ESCAPES: Readonly<Record<string, string>> = { r: "\r", n: "\n", t: "\t", "0": "\0", "\\": "\\" };

function repeat(_all: string, text: string, count: string): string {
  return text.repeat(Number(count));
}

/** The bytes that a text stands for. */
function bytesOf(text: string): string {
  const hasNoEnd = /(^|[^\\])(\\\\)*\\$/.test(text);
  const line = (hasNoEnd ? text.slice(0, -1) : text)
    .replace(/\{\{(.)\*(\d+)\}\}/g, repeat)
    .replace(
      /\\(?:x([0-9a-f]{2})|([rnt0\\]))/gi,
      (_all, hex?: string, name?: string) =>
        hex === undefined ? ESCAPES[name ?? ""] ?? "" : String.fromCharCode(parseInt(hex, 16)),
    );
  return hasNoEnd ? line : line + "\r\n";
}

/** Bytes as `<` lines, the proxy's own answers as `<!` lines: what {@linkcode Outcome.client} is compared with. */
export function describeClientBytes(bytes: string): string[] {
  const lines: string[] = [];
  for (let rest = bytes; rest !== "";) {
    const own = OWN_ANSWER.exec(rest);
    if (own) {
      const [head, status, reason, close] = own;
      const length = Number(/Content-Length: (\d+)/.exec(head)?.[1]);
      const body = rest.slice(head.length);
      const hasBody = /^(slicer-proxy: |\{"type":)/.test(body) && body.length >= length;
      rest = hasBody ? body.slice(length) : body;
      lines.push(`<! ${status} ${reason}${close ? " close" : ""}${hasBody ? "" : " no-body"}`);
      continue;
    }
    // A response may begin right after a body.
    const [, line = "", end = ""] = /^([^]*?)(\r\n|(?<=.)(?=HTTP\/1\.1 \d{3} )|$)/.exec(rest) ?? [];
    lines.push(`< ${escapeBytes(line)}${end === "" ? "\\" : ""}`);
    rest = rest.slice(line.length + end.length);
  }
  return lines;
}

const OWN_ANSWER = new RegExp(
  "^HTTP/1\\.1 (\\d{3}) slicer-proxy: ([a-z-]+)(?: \\([a-z0-9.:_-]+\\))?\\r\\n" +
    "Content-Type: (?:text/plain; charset=utf-8|application/problem\\+json)\\r\\n" +
    "Content-Length: \\d+\\r\\nCache-Control: no-store\\r\\nX-Slicer-Proxy-Reason: \\2\\r\\n" +
    '(?:Proxy-Authenticate: Basic realm="slicer-proxy"\\r\\n)?(Connection: close\\r\\n)?\\r\\n',
);

/** Text of bytes, for a failing test. */
export function escapeBytes(bytes: string): string {
  return bytes.replace(
    // deno-lint-ignore no-control-regex
    /[\\\x00-\x1f\x7f-\xff]/g,
    (char) =>
      ({ "\r": "\\r", "\n": "\\n", "\t": "\\t", "\0": "\\0", "\\": "\\\\" })[char] ??
        `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
