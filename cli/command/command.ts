/**
 * What a command is: the shape of one row of the command table, and of the values that it is run with. Parsing, help and
 * completion all read these rows, so a flag is described in exactly one place.
 *
 * Not here: the rows (`commands.ts`, `up/flags.ts`), how values are parsed (`parse.ts`), what commands do (`cmd_*.ts`).
 *
 * @module
 */
import type { Io } from "../terminal/io.ts";

/** The name that usage lines and hints show. */
export const PROGRAM = "slicer-proxy";

/** One flag. Without `placeholder` it is a switch and takes no value. */
export interface FlagSpec {
  /** Without the dashes. */
  readonly name: string;
  /** One letter, for `-f`. */
  readonly short?: string;
  /** What stands for the value in the help: `HOST`. */
  readonly placeholder?: string;
  /** One line, lower case, no full stop. */
  readonly description: string;
  /** May be given more than once. */
  readonly isRepeatable?: boolean;
  /** For a repeatable flag: how one value becomes several, e.g. {@linkcode splitCommas}. */
  readonly split?: (value: string) => readonly string[];
  /** The only values that are accepted. */
  readonly choices?: readonly string[];
  /** Values that a shell offers, among others. */
  readonly offers?: readonly string[];
  /** The value when the flag is absent. */
  readonly default?: string;
  readonly isRequired?: boolean;
}

/** One positional argument. */
export interface ArgumentSpec {
  /** Upper case, as in the usage line; also the key to read it by. */
  readonly name: string;
  readonly description: string;
  /** The only values that are accepted. */
  readonly choices?: readonly string[];
  /** Values that a shell offers, among others. */
  readonly offers?: readonly string[];
  /** May be left out; only the last one can. */
  readonly isOptional?: boolean;
}

/** What a command does. The number is the exit code; nothing means 0. */
export type CommandRun = (args: CommandArgs, io: Io) => Promise<number | void>;

/** One row of the command table. */
export interface CommandSpec {
  /** One to three words: `status`, `client create`, `agent tunnel add`. */
  readonly name: string;
  /** One line, lower case, no full stop. */
  readonly summary: string;
  readonly arguments?: readonly ArgumentSpec[];
  readonly flags?: readonly FlagSpec[];
  /** Whole command lines, shown in the help. */
  readonly examples: readonly string[];
  /** Left out of the overview: another name of a command, or one that only the program itself runs. */
  readonly isHidden?: boolean;
  /** Loads the implementation only when the command runs, so that help and `version` start fast. */
  readonly load: () => Promise<CommandRun>;
}

/** Values as the parser found them: positional by name, flag values in the order given; a switch has one "". */
export interface ParsedValues {
  readonly positional: ReadonlyMap<string, string>;
  readonly flags: ReadonlyMap<string, readonly string[]>;
}

/** A parsed command line. Asking for a name that the row does not declare is our own mistake: `TypeError`. */
export class CommandArgs {
  readonly spec: CommandSpec;
  readonly #values: ParsedValues;

  constructor(spec: CommandSpec, values: ParsedValues) {
    this.spec = spec;
    this.#values = values;
  }

  /** The positional argument `name`. */
  argument(name: string): string {
    const value = this.#values.positional.get(name);
    if (value === undefined) throw new TypeError(`"${this.spec.name}" declares no argument ${name}`);
    return value;
  }

  /** The positional argument `name`, or undefined when it is optional and was left out. */
  optionalArgument(name: string): string | undefined {
    if (!this.spec.arguments?.some((argument) => argument.name === name)) {
      throw new TypeError(`"${this.spec.name}" declares no argument ${name}`);
    }
    return this.#values.positional.get(name);
  }

  /** The value of a flag, its default, or undefined. */
  text(name: string): string | undefined {
    return this.list(name)[0] ?? this.#flag(name).default;
  }

  /** The value of a flag that is required or has a default. */
  textOf(name: string): string {
    const value = this.text(name);
    if (value === undefined) throw new TypeError(`"${this.spec.name}" declares no default for --${name}`);
    return value;
  }

  /** Every value of a flag, in the order given. */
  list(name: string): readonly string[] {
    this.#flag(name);
    return this.#values.flags.get(name) ?? [];
  }

  /** True when the command has such a flag. */
  declares(name: string): boolean {
    return this.spec.flags?.some((each) => each.name === name) ?? false;
  }

  /** True when the flag was given. */
  has(name: string): boolean {
    this.#flag(name);
    return this.#values.flags.has(name);
  }

  #flag(name: string): FlagSpec {
    const flag = this.spec.flags?.find((each) => each.name === name);
    if (!flag) throw new TypeError(`"${this.spec.name}" declares no flag --${name}`);
    return flag;
  }
}

/** The pieces of a comma list. */
export function splitCommas(value: string): readonly string[] {
  return value.split(",");
}

/** The pieces of a comma list of paths. A comma may be part of a path, so it splits only before `/` or a lone `*`. */
export function splitPaths(value: string): readonly string[] {
  return value.split(/,(?=\/|\*(?:,|$)|$)/);
}
