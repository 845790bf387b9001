/**
 * Asking on a terminal: for a secret, without showing it, and for a yes.
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import type { Io } from "./io.ts";

/** Longer than any token; a file is the way for more. */
const MAX_TYPED_BYTES = 16_384;

/**
 * What the user types up to Enter. Backspace and Ctrl-U work; the terminal is put back as it was, whatever happens.
 *
 * @throws ProxyError `input.invalid` when the user gives up (Ctrl-C, or Ctrl-D), or types what is no text
 */
export async function promptSecret(question: string, io: Io): Promise<string> {
  io.output.prompt(`${question} (not shown): `);
  io.input.setRaw(true);
  try {
    return await readLine(io);
  } finally {
    io.input.setRaw(false);
    io.output.note("");
  }
}

/** True when the user answers `y` or `yes`; anything else, and the end of the input, means no. */
export async function confirm(question: string, io: Io): Promise<boolean> {
  io.output.prompt(`${question} [y/N] `);
  const buffer = new Uint8Array(256);
  let answer = "";
  while (!answer.includes("\n") && answer.length < buffer.length) {
    const count = await io.input.read(buffer);
    if (count === null) break;
    answer += new TextDecoder().decode(buffer.subarray(0, count));
  }
  return /^(?:y|yes)\r?\n?$/i.test(answer);
}

async function readLine(io: Io): Promise<string> {
  const line: number[] = [];
  const buffer = new Uint8Array(1_024);
  let isEscape = false;
  for (;;) {
    const count = await io.input.read(buffer);
    if (count === null) throw givenUp();
    for (const byte of buffer.subarray(0, count)) {
      if (isEscape) isEscape = byte === 0x5b || byte === 0x4f || byte < 0x40 || byte > 0x7e; // ESC [ … letter
      else if (byte === 0x0d || byte === 0x0a) return decode(line);
      else if (byte === 0x03 || byte === 0x04) throw givenUp();
      else if (byte === 0x1b) isEscape = true;
      else if (byte === 0x15) line.length = 0;
      else if (byte === 0x7f || byte === 0x08) dropLast(line);
      else if (byte >= 0x20 || byte === 0x09) line.push(byte);
      if (line.length > MAX_TYPED_BYTES) {
        throw new ProxyError(
          "input.invalid",
          `Cannot take more than ${MAX_TYPED_BYTES} typed bytes: use a file`,
        );
      }
    }
  }
}

/** Removes one character: UTF-8 continuation bytes go with their first. */
function dropLast(line: number[]): void {
  while (((line.pop() ?? 0) & 0xc0) === 0x80);
}

function decode(line: readonly number[]): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(line));
  } catch (cause) {
    throw new ProxyError("input.invalid", "Cannot read what was typed: it is not UTF-8 text", { cause });
  }
}

function givenUp(): ProxyError {
  return new ProxyError("input.invalid", "Cannot go on: no value was typed");
}
