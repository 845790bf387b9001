/**
 * Transcripts: what a person types and sees, run against the real command as real processes. A file holds blocks:
 *
 *     # a comment
 *     file NAME: TEXT       a file in the transcript's own empty folder, made before the commands after it
 *     $ [NAME=VALUE]… slicer-proxy WORD…     words may be quoted '…' or "…"; nothing is expanded
 *     < TEXT                a line of standard input, which is empty and no terminal otherwise
 *     > TEXT                a line of stdout
 *     ! TEXT                a line of stderr
 *     ? CODE                the exit code, when it is not 0
 *
 * Everything that is not listed must not appear. `…` stands for any text within a line.
 *
 * @module
 */

/** One command and what it must do. */
export interface Exchange {
  readonly line: number;
  readonly command: string;
  readonly env: Readonly<Record<string, string>>;
  readonly args: readonly string[];
  readonly stdin: string;
  readonly stdout: readonly string[];
  readonly stderr: readonly string[];
  readonly code: number;
  /** Files to make first, by name. */
  readonly files: Readonly<Record<string, string>>;
}

/** The exchanges of a transcript. A line that is none of the above is a `SyntaxError`. */
export function parseTranscript(text: string): readonly Exchange[] {
  const exchanges: Draft[] = [];
  let files: Record<string, string> = {};
  let current: Draft | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    if (line === "" || line.startsWith("#")) continue;
    const file = /^file (\S+): (.*)$/.exec(line);
    const [, mark, rest = ""] = /^([$<>!?])(?: (.*))?$/.exec(line) ?? [];
    if (file) files = { ...files, [file[1] ?? ""]: `${file[2]}\n` };
    else if (mark === "$") {
      current = {
        line: index + 1,
        command: rest,
        ...splitCommand(rest),
        stdin: "",
        stdout: [],
        stderr: [],
        code: 0,
        files,
      };
      exchanges.push(current);
      files = {};
    } else if (!current || mark === undefined) throw new SyntaxError(`line ${index + 1}: ${line}`);
    else if (mark === "<") current.stdin += `${rest}\n`;
    else if (mark === ">") current.stdout.push(rest);
    else if (mark === "!") current.stderr.push(rest);
    else current.code = Number(rest);
  }
  return exchanges;
}

interface Draft {
  line: number;
  command: string;
  env: Record<string, string>;
  args: string[];
  stdin: string;
  stdout: string[];
  stderr: string[];
  code: number;
  files: Record<string, string>;
}

function splitCommand(text: string): { env: Record<string, string>; args: string[] } {
  const words = [...text.matchAll(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g)].map(([word]) =>
    word.replace(/'([^']*)'|"([^"]*)"/g, (_all, single?: string, double?: string) => single ?? double ?? "")
  );
  const env: Record<string, string> = {};
  while (/^[A-Z0-9_]+=/.test(words[0] ?? "")) {
    const [name = "", ...value] = (words.shift() ?? "").split("=");
    env[name] = value.join("=");
  }
  if (words.shift() !== "slicer-proxy") throw new SyntaxError(`not a slicer-proxy command: ${text}`);
  return { env, args: words };
}

/** True when `actual` is the expected lines, `…` standing for anything within one. */
export function matchesLines(actual: string, expected: readonly string[]): boolean {
  const lines = actual === "" ? [] : actual.replace(/\n$/, "").split("\n");
  return lines.length === expected.length && lines.every((line, i) => {
    const parts = (expected[i] ?? "").split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    return new RegExp(`^${parts.join(".*")}$`).test(line);
  });
}
