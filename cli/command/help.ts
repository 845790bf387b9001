/**
 * Help texts, written from the command table.
 *
 * @module
 */
import { type CommandSpec, type FlagSpec, PROGRAM } from "./command.ts";

/** A width that most terminals have. */
const LINE_CHARS = 100;

/** `slicer-proxy allow CLIENT --host HOST [flags]` */
export function usageLine(spec: CommandSpec): string {
  const required = (spec.flags ?? []).filter((flag) => flag.isRequired);
  return [
    PROGRAM,
    spec.name,
    ...(spec.arguments ?? []).map(({ name, isOptional }) => isOptional ? `[${name}]` : name),
    ...required.map((flag) => `--${flag.name} ${flag.placeholder ?? ""}`.trimEnd()),
    ...((spec.flags ?? []).length > required.length ? ["[flags]"] : []),
  ].join(" ");
}

/** Everything about one command. Ends without a newline, as all texts here. */
export function commandHelp(spec: CommandSpec, helpFlag: FlagSpec): string {
  const blocks = [`${sentence(spec.summary)}`, `Usage: ${usageLine(spec)}`];
  if (spec.arguments?.length) {
    blocks.push("Arguments:\n" + columns(spec.arguments.map(({ name, description }) => [name, description])));
  }
  blocks.push(
    "Flags:\n" + columns([...(spec.flags ?? []), helpFlag].map((flag) => [flagName(flag), describe(flag)])),
  );
  blocks.push(
    (spec.examples.length > 1 ? "Examples:\n" : "Example:\n") +
      spec.examples.map((line) => `  ${line}`).join("\n"),
  );
  return blocks.join("\n\n");
}

/** The list of `commands`: all of them, or those of one noun. */
export function overview(commands: readonly CommandSpec[], noun?: string): string {
  return [
    noun === undefined
      ? `${PROGRAM}: an egress proxy for untrusted microVMs that checks policy and injects credentials`
      : `The "${noun}" commands.`,
    `Usage: ${PROGRAM} ${noun ?? "COMMAND"}${noun === undefined ? "" : " COMMAND"} [flags]`,
    "Commands:\n" +
    columns(commands.filter(({ isHidden }) => !isHidden).map(({ name, summary }) => [name, summary])),
    `"${PROGRAM} COMMAND --help" explains one, with an example.`,
    ...(noun === undefined
      ? [
        "The API is found at ./.slicer/proxy/api.sock, or where --url or SLICER_URL says.\n" +
        'A leading word "proxy" is ignored.',
      ]
      : []),
  ].join("\n\n");
}

function flagName(flag: FlagSpec): string {
  const short = flag.short === undefined ? "    " : `-${flag.short}, `;
  return `${short}--${flag.name}${flag.placeholder === undefined ? "" : ` ${flag.placeholder}`}`;
}

function describe(flag: FlagSpec): string {
  const notes: string[] = [];
  if (flag.isRequired) notes.push("required");
  if (flag.isRepeatable) {
    notes.push(flag.split === undefined ? "may be repeated" : "may be repeated, or a comma list");
  }
  if (flag.choices) notes.push(`one of ${flag.choices.join(", ")}`);
  if (flag.default !== undefined) notes.push(`default ${flag.default}`);
  return notes.length === 0 ? flag.description : `${flag.description} (${notes.join("; ")})`;
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1) + ".";
}

/** Two columns; the right one is wrapped and goes on below itself. */
function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  const wrapped = rows.map(([left, right]) => {
    const lines = wrap(right, LINE_CHARS - width - 4).map((line, i) =>
      (i === 0 ? left : "").padEnd(width) + "  " + line
    );
    return lines.map((line) => `  ${line}`).join("\n");
  });
  return wrapped.join("\n");
}

function wrap(text: string, chars: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > chars) {
      lines.push(line);
      line = "";
    }
    line += line === "" ? word : ` ${word}`;
  }
  return [...lines, line];
}
