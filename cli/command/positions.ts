/**
 * What can stand where on a command line, read from rows of the command table: for completion in a shell.
 *
 * Not here: the scripts' own languages (`completion_scripts.ts`).
 *
 * @module
 */
import type { CommandSpec, FlagSpec } from "./command.ts";
import { HELP_FLAG } from "./parse.ts";

/** A word to offer, and what it stands for. */
export interface Choice {
  readonly word: string;
  readonly description: string;
}

/** A flag to offer, and what can follow it. */
export interface FlagChoice extends Choice {
  /** Undefined for a switch. */
  readonly value?: "file" | "folder" | "text" | readonly string[];
}

/** What can stand behind the words of a command so far. */
export interface Position {
  /** `""`, `client`, `client create`. */
  readonly path: string;
  /** Further words of a command's name, or the values of its argument. */
  readonly words: readonly Choice[];
  readonly flags: readonly FlagChoice[];
}

/** Every position of the commands, shortest first. */
export function positions(commands: readonly CommandSpec[]): readonly Position[] {
  const paths = new Set(commands.flatMap(({ name }) => prefixes(name)));
  return ["", ...paths].map((path) => {
    const spec = commands.find(({ name }) => name === path);
    return {
      path,
      words: [...nextWords(commands, path), ...argumentWords(spec)],
      flags: [...(spec?.flags ?? []), HELP_FLAG].flatMap(flagChoices),
    };
  });
}

/** `client create` → `client`, `client create` */
function prefixes(name: string): readonly string[] {
  const words = name.split(" ");
  return words.map((_, i) => words.slice(0, i + 1).join(" "));
}

function nextWords(commands: readonly CommandSpec[], path: string): readonly Choice[] {
  const depth = path === "" ? 0 : path.split(" ").length;
  const below = commands.filter(({ name }) => path === "" || name.startsWith(`${path} `));
  const words = new Map<string, string[]>();
  for (const { name, summary } of below) {
    const [word = "", ...rest] = name.split(" ").slice(depth);
    words.set(word, [...(words.get(word) ?? []), rest.length === 0 ? summary : rest.join(" ")]);
  }
  return [...words].map(([word, texts]) => ({ word, description: texts.join(", ") }));
}

function argumentWords(spec: CommandSpec | undefined): readonly Choice[] {
  return (spec?.arguments ?? []).flatMap(({ choices = [], offers = choices, description }) =>
    offers.map((word) => ({ word, description }))
  );
}

function flagChoices(flag: FlagSpec): readonly FlagChoice[] {
  const { name, short, description, placeholder } = flag;
  const value = placeholder === undefined
    ? {}
    : { value: flag.choices ?? flag.offers ?? VALUES_BY_PLACEHOLDER[placeholder] ?? "text" as const };
  const long = { word: `--${name}`, description, ...value };
  return short === undefined ? [long] : [long, { ...long, word: `-${short}` }];
}

const VALUES_BY_PLACEHOLDER: Readonly<Record<string, "file" | "folder">> = { FILE: "file", DIR: "folder" };
