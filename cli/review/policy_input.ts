/**
 * The text of a policy file, from a file or standard input.
 *
 * Not here: reading it as a policy (`policy/policy_file.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { MAX_YAML_CHARS } from "../../policy/yaml_tree.ts";
import { expandHome } from "../api/url.ts";
import { readFileBytes, readInputBytes } from "../terminal/input_bytes.ts";
import type { Io } from "../terminal/io.ts";

/** A character takes at most three bytes of UTF-8 for each of its UTF-16 code units. */
const MAX_BYTES = 3 * MAX_YAML_CHARS;

/** A policy file's text, and what errors call it. */
export interface PolicyText {
  readonly name: string;
  readonly text: string;
}

/**
 * What a file holds, or with `-` standard input.
 *
 * @throws ProxyError `input.invalid` when it cannot be read, is too long, or is not UTF-8 text
 */
export async function readPolicyText(path: string, io: Pick<Io, "input" | "env">): Promise<PolicyText> {
  const name = path === "-" ? "standard input" : path;
  const bytes = path === "-"
    ? await readInputBytes(io.input, name, MAX_BYTES)
    : await readFileBytes(expandHome(path, io.env("HOME")), MAX_BYTES);
  try {
    return { name, text: new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch (cause) {
    throw new ProxyError("input.invalid", `Cannot read ${name}: it is not UTF-8 text`, { cause });
  }
}
