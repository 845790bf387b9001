/**
 * A command's surroundings for tests: what it writes is kept, what it reads and where the clock stands is given.
 *
 * @module
 */
import type { Io } from "../../../../cli/terminal/io.ts";
import { Output } from "../../../../cli/terminal/output.ts";

/** An `Io` whose output can be read. */
export interface FakeIo extends Io {
  stdout(): string;
  stderr(): string;
  /** Every call of `setRaw`, in order. */
  readonly rawModes: readonly boolean[];
}

/** Builds a {@linkcode FakeIo}. Standard input delivers `stdin` in pieces of `pieceBytes`. */
export function fakeIo(
  options: {
    env?: Readonly<Record<string, string>>;
    stdin?: string | Uint8Array<ArrayBuffer>;
    isTerminal?: boolean;
    /** Stdout shows colours. */
    hasStyles?: boolean;
    nowMs?: number;
    pieceBytes?: number;
  } = {},
): FakeIo {
  let out = "";
  let err = "";
  let rest = typeof options.stdin === "string" ? new TextEncoder().encode(options.stdin) : options.stdin;
  const rawModes: boolean[] = [];
  return {
    output: new Output(
      (bytes) => void (out += new TextDecoder().decode(bytes)),
      (bytes) => void (err += new TextDecoder().decode(bytes)),
      { hasStyles: options.hasStyles },
    ),
    input: {
      isTerminal: () => options.isTerminal ?? false,
      setRaw: (isRaw) => void rawModes.push(isRaw),
      read(buffer) {
        const piece = rest?.subarray(0, Math.min(buffer.length, options.pieceBytes ?? buffer.length));
        if (!piece?.length) return Promise.resolve(null);
        buffer.set(piece);
        rest = rest?.subarray(piece.length);
        return Promise.resolve(piece.length);
      },
    },
    clock: { now: () => options.nowMs ?? 0, monotonic: () => 0 },
    env: (name) => options.env?.[name],
    stdout: () => out,
    stderr: () => err,
    rawModes,
  };
}
