/**
 * The only place that writes to stdout and stderr: data goes to stdout, words to stderr. Text from outside is shown with
 * control and bidirectional characters as `\u{…}`, so that no host, path or server can drive the terminal.
 *
 * @module
 */
import { escapeTerminal } from "../../core/escape.ts";

/** Takes all of `bytes`, or throws. */
export type Sink = (bytes: Uint8Array) => void;

/** The same for a stream that may take its time: the process goes on meanwhile. */
export type SlowSink = (bytes: Uint8Array) => Promise<void>;

/** The reader of our output has gone away (`slicer-proxy rules x | head -1`). The program ends with nothing said. */
export class OutputClosed extends Error {
  override readonly name = "OutputClosed";
}

/** How a piece of a line looks on a terminal. */
export type Style = "green" | "red" | "cyan" | "dim";

/** A piece of a line. */
export interface Span {
  readonly text: string;
  readonly style?: Style;
}

/** SGR parameters (ECMA-48 §8.3.117). */
const SGR: Readonly<Record<Style, number>> = { green: 32, red: 31, cyan: 36, dim: 2 };

/** Writes words and data. Every call writes whole lines, at once. */
export class Output {
  readonly #stdout: Sink;
  readonly #stderr: Sink;
  readonly #hasStyles: boolean;
  readonly #slowStdout: SlowSink;

  /**
   * @param options.hasStyles stdout is a terminal that shows colours, and whoever looks at it wants them
   * @param options.slowStdout for {@linkcode raw}
   */
  constructor(
    stdout: Sink,
    stderr: Sink,
    options: { readonly hasStyles?: boolean | undefined; readonly slowStdout?: SlowSink } = {},
  ) {
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.#hasStyles = options.hasStyles ?? false;
    // deno-lint-ignore require-await
    this.#slowStdout = options.slowStdout ?? (async (bytes) => stdout(bytes));
  }

  /** Lines of data for stdout. Line feeds separate lines; every other control character is shown escaped. */
  data(text: string): void {
    this.#stdout(encode(text.split("\n").map(escapeTerminal).join("\n") + "\n"));
  }

  /** Lines of data for stdout, in pieces, with colours where they are wanted. */
  lines(lines: readonly (readonly Span[])[]): void {
    if (lines.length === 0) return;
    const show = ({ text, style }: Span) => {
      const safe = escapeTerminal(text);
      return style === undefined || !this.#hasStyles ? safe : `\x1b[${SGR[style]}m${safe}\x1b[0m`;
    };
    this.#stdout(encode(lines.map((spans) => spans.map(show).join("") + "\n").join("")));
  }

  /** One value as JSON for stdout, indented. */
  json(value: unknown): void {
    this.#stdout(encode(tameJson(JSON.stringify(value, undefined, 2)) + "\n"));
  }

  /** Lines of JSON for stdout, each of them one value already. */
  jsonLines(lines: readonly string[]): void {
    this.#stdout(encode(lines.map((line) => tameJson(line) + "\n").join("")));
  }

  /** Rows under upper-case headings for stdout, in aligned columns. */
  table(headings: readonly string[], rows: readonly (readonly string[])[]): void {
    const cells = [headings, ...rows.map((row) => row.map(escapeTerminal))];
    const widths = headings.map((_, column) => Math.max(...cells.map((row) => widthOf(row[column] ?? ""))));
    const lines = cells.map((row) =>
      row.map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - widthOf(cell))).join("   ")
        .trimEnd()
    );
    this.#stdout(encode(lines.join("\n") + "\n"));
  }

  /**
   * Bytes for stdout as they are, without holding up the process when nobody takes them. For text that is escaped
   * already, such as lines of the audit log.
   */
  raw(bytes: Uint8Array): Promise<void> {
    return this.#slowStdout(bytes);
  }

  /** One line of words for stderr. */
  note(text: string): void {
    this.#stderr(encode(escapeTerminal(text) + "\n"));
  }

  /** One line of words for stderr that asks for attention. */
  warn(text: string): void {
    this.note(`warning: ${text}`);
  }

  /** Words for stderr without a line's end: a prompt. */
  prompt(text: string): void {
    this.#stderr(encode(escapeTerminal(text)));
  }

  /** A failure for stderr: `error: …`, and what to do about it. "Cannot" begins lower case after the colon. */
  error(message: string, hint?: string): void {
    this.note(`error: ${message.replace(/^C(?=annot )/, "c")}`);
    if (hint !== undefined) this.note(`hint: ${hint}`);
  }
}

/** The output of this process. */
export function systemOutput(): Output {
  const words = (bytes: Uint8Array) => {
    try {
      writeAll(Deno.stderr, bytes);
    } catch (error) {
      // Words that nobody can read are no reason to stop: `up` goes on when its terminal is closed.
      if (!(error instanceof OutputClosed)) throw error;
    }
  };
  // noColor is NO_COLOR, which the runtime reads for itself: that needs no permission.
  const hasStyles = Deno.stdout.isTerminal() && !Deno.noColor;
  const slowStdout = async (bytes: Uint8Array) => {
    for (let sent = 0; sent < bytes.length;) sent += await Deno.stdout.write(bytes.subarray(sent));
  };
  return new Output((bytes) => writeAll(Deno.stdout, bytes), words, { hasStyles, slowStdout });
}

function writeAll(stream: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array): void {
  try {
    for (let sent = 0; sent < bytes.length;) sent += stream.writeSync(bytes.subarray(sent));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) throw new OutputClosed("", { cause: error });
    throw error;
  }
}

/** JSON leaves C1 and bidirectional characters as they are; as \uXXXX they mean the same and do nothing. */
function tameJson(json: string): string {
  return json.replace(
    // deno-lint-ignore no-control-regex
    /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (char) => "\\u" + char.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}

/** Columns that a cell takes: code points, which is exact for the ASCII that names and hosts consist of. */
function widthOf(cell: string): number {
  return [...cell].length;
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
