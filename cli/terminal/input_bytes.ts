/**
 * What a file or standard input holds, up to a bound.
 *
 * Not here: what it has to be (`rules/secret_input.ts`, `review/policy_input.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import type { Input } from "./io.ts";

/**
 * All bytes of a file.
 *
 * @throws ProxyError `input.invalid`, which names the file: it cannot be read, or is above `maxBytes`
 */
export async function readFileBytes(path: string, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  try {
    using file = await Deno.open(path);
    return await readInputBytes(file, path, maxBytes);
  } catch (cause) {
    if (cause instanceof ProxyError) throw cause;
    throw new ProxyError("input.invalid", `Cannot read ${path}: ${whyNot(cause)}`, { cause });
  }
}

/**
 * All bytes of an open input.
 *
 * @param name what errors call it
 * @throws ProxyError `input.invalid` when it is above `maxBytes`
 */
export async function readInputBytes(
  input: Pick<Input, "read">,
  name: string,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(maxBytes + 1);
  for (let length = 0; length < bytes.length;) {
    const count = await input.read(bytes.subarray(length));
    if (count === null) return bytes.subarray(0, length);
    length += count;
  }
  throw new ProxyError("input.invalid", `Cannot take what ${name} holds: it is above ${maxBytes} bytes`);
}

/** Why a file cannot be opened or read, in words. */
export function whyNot(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "there is no such file";
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied";
  if (error instanceof Deno.errors.IsADirectory) return "it is a folder";
  // Deno keeps /dev and /proc from programs, /dev/stdin too (not what a shell makes of `<(command)`).
  if (error instanceof Deno.errors.NotCapable) {
    return "it is no ordinary file; for standard input write -";
  }
  return error instanceof Error ? error.message : String(error);
}
