/**
 * Everything that a command may touch of the process it runs in. Tests pass their own.
 *
 * @module
 */
import { type Clock, systemClock } from "../../core/clock.ts";
import { type Output, systemOutput } from "./output.ts";

/** Standard input. */
export interface Input {
  isTerminal(): boolean;
  /** Terminals only: deliver every key at once and echo none. */
  setRaw(isRaw: boolean): void;
  /** The number of bytes read, or null at the end. */
  read(buffer: Uint8Array): Promise<number | null>;
}

/** What a command gets besides its arguments. */
export interface Io {
  readonly output: Output;
  readonly input: Input;
  readonly clock: Clock;
  /** An environment variable; an empty one counts as unset. */
  env(name: string): string | undefined;
}

/** The process itself. */
export function systemIo(): Io {
  return {
    output: systemOutput(),
    input: Deno.stdin,
    clock: systemClock(),
    env: (name) => Deno.env.get(name) || undefined,
  };
}
