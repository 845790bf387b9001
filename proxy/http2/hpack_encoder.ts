/**
 * The encoder of HPACK (RFC 7541): static table and literals, nothing in the dynamic table. It has no state that could get
 * out of step, keeps nothing that one request could learn about another (CRIME), and takes no memory of either side.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { isCredentialHeader } from "../message/fields.ts";
import { fieldFault, ReceivedField } from "./field.ts";
import { STATIC_TABLE } from "./hpack_tables.ts";
import type { SendableField } from "./types.ts";

interface StaticName {
  /** The first entry of that name. */
  readonly index: number;
  /** The entries with a value of their own. */
  readonly values: ReadonlyMap<string, number>;
}

const STATIC_NAMES = staticNames();

/** RFC 7541 §6.2.2 and §6.2.3. */
const WITHOUT_INDEXING = 0x00;
const NEVER_INDEXED = 0x10;

/** Credentials that {@linkcode isCredentialHeader} does not list, since a rule's injection leaves them alone. */
const ALSO_SENSITIVE = new Set(["cookie", "set-cookie", "proxy-authorization"]);

/** One header block under way. It is a copy that the next block overwrites. */
export class HeaderBlockWriter {
  #buffer: Buffer;
  #length = 0;

  constructor() {
    this.#buffer = Buffer.allocUnsafeSlow(4_096);
  }

  /** Begins a block. */
  begin(): void {
    this.#length = 0;
  }

  /** The block, valid until the next {@linkcode begin}. */
  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  /** RFC 7541 §6.3. We say 0 once: then the peer knows that it keeps no table for us, whatever its settings are. */
  tableSize(size: 0): void {
    this.#buffer[this.#length++] = 0x20 | size; // at the beginning of a block, where there is room
  }

  /** @throws TypeError for what may not be sent; what was received was checked then */
  field(field: SendableField): void {
    const { key, value, isSensitive } = field;
    if (!(field instanceof ReceivedField) && fieldFault(key, value) !== undefined) {
      throw new TypeError("Cannot send a field: its name or value is not allowed in HTTP/2");
    }
    this.pair(key, value, isSensitive === true || isCredentialHeader(key) || ALSO_SENSITIVE.has(key));
  }

  /** @param name in lower case, or a pseudo-header field's */
  pair(name: string, value: string, isSensitive = false): void {
    this.#room(name.length + value.length + 16);
    const known = STATIC_NAMES.get(name);
    const index = isSensitive ? undefined : known?.values.get(value);
    if (index !== undefined) {
      this.#buffer[this.#length++] = 0x80 | index; // there are 61: it fits into the seven bits
      return;
    }
    this.#integer(isSensitive ? NEVER_INDEXED : WITHOUT_INDEXING, 4, known?.index ?? 0);
    if (!known) this.#string(name);
    this.#string(value);
  }

  /** RFC 7541 §5.1. */
  #integer(first: number, prefixBits: number, value: number): void {
    const mask = (1 << prefixBits) - 1;
    if (value < mask) {
      this.#buffer[this.#length++] = first | value;
      return;
    }
    this.#buffer[this.#length++] = first | mask;
    let rest = value - mask;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#buffer[this.#length++] = rest % 0x80 | 0x80;
    this.#buffer[this.#length++] = rest;
  }

  /** RFC 7541 §5.2, one byte a character. */
  #string(text: string): void {
    this.#integer(0, 7, text.length);
    const buffer = this.#buffer;
    // For a few bytes the call costs more than the loop.
    if (text.length > 24) {
      this.#length += buffer.write(text, this.#length, "latin1");
      return;
    }
    let at = this.#length;
    for (let i = 0; i < text.length; i++) buffer[at++] = text.charCodeAt(i);
    this.#length = at;
  }

  #room(count: number): void {
    if (this.#length + count <= this.#buffer.length) return;
    const bigger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#length + count));
    bigger.set(this.bytes);
    this.#buffer = bigger;
  }
}

function staticNames(): ReadonlyMap<string, StaticName> {
  const names = new Map<string, { index: number; values: Map<string, number> }>();
  for (const [i, [name, value]] of STATIC_TABLE.entries()) {
    const entry = names.get(name) ?? { index: i + 1, values: new Map<string, number>() };
    // `accept-charset` and its like have an empty value in the table, which is a value as any other.
    entry.values.set(value, i + 1);
    names.set(name, entry);
  }
  return names;
}
