/**
 * The decoder of HPACK (RFC 7541). Every length is checked before it is believed, a header list is bounded while it is
 * decoded, and an entry that a table refers to a thousand times exists once.
 *
 * Not here: what the fields mean (`head.ts`), encoding (`hpack_encoder.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { H2 } from "./error.ts";
import { Fault } from "./fault.ts";
import { ReceivedField } from "./field.ts";
import { STATIC_TABLE } from "./hpack_tables.ts";
import { decodeHuffman, maxDecodedLength } from "./huffman.ts";

/** SETTINGS_HEADER_TABLE_SIZE: we leave the default (RFC 9113 §6.5.2), which is what a peer may use from its first byte. */
const TABLE_SIZE = 4_096;

const STATIC_FIELDS = STATIC_TABLE.map(([name, value]) => new ReceivedField(name, value, false));

/** What is decoded from Huffman code on its way to text; nothing is kept in it. */
let scratch = Buffer.allocUnsafeSlow(4_096);

/** What a header block may be. */
export interface HeaderListLimits {
  /** Bytes as RFC 9113 §6.5.2 counts them: names, values, and 32 for each field. */
  readonly maxBytes: number;
  readonly maxFields: number;
}

/** The decoder of one connection. */
export class HpackDecoder {
  readonly #table = new DynamicTable();
  readonly #limits: HeaderListLimits;
  #block: Buffer = EMPTY;
  #at = 0;

  constructor(limits: HeaderListLimits) {
    this.#limits = limits;
  }

  /**
   * Decodes a whole header block. Field names and values are not judged here.
   *
   * @returns undefined when the list is larger than the limits; the decoder is in step all the same
   * @throws Fault COMPRESSION_ERROR, after which the connection is lost
   */
  decode(block: Uint8Array): ReceivedField[] | undefined {
    this.#block = Buffer.from(block.buffer, block.byteOffset, block.length);
    this.#at = 0;
    let fields: ReceivedField[] | undefined = [];
    let bytes = 0;
    let updates = 0;
    let hasFields = false;
    for (let first = block[0]; first !== undefined; first = block[this.#at]) {
      if ((first & 0xe0) === 0x20) {
        // RFC 7541 §4.2: only before the first field, and no more than two are ever needed.
        if (hasFields || ++updates > 2) throw corrupt("a table size update that does not belong there");
        this.#table.resize(this.#integer(5));
        continue;
      }
      hasFields = true;
      const field = this.#field(first);
      bytes += field.size;
      if (bytes > this.#limits.maxBytes || (fields && fields.length >= this.#limits.maxFields)) {
        fields = undefined;
      }
      fields?.push(field);
    }
    this.#block = EMPTY;
    return fields;
  }

  /** One representation (RFC 7541 §6.1, §6.2). */
  #field(first: number): ReceivedField {
    if (first & 0x80) return this.#entry(this.#integer(7));
    const isIndexed = (first & 0x40) !== 0;
    const index = this.#integer(isIndexed ? 6 : 4);
    const name = index === 0 ? this.#string() : this.#entry(index).key;
    const field = new ReceivedField(name, this.#string(), (first & 0x50) === 0x10);
    if (isIndexed) this.#table.add(field);
    return field;
  }

  #entry(index: number): ReceivedField {
    const field = index <= STATIC_FIELDS.length
      ? STATIC_FIELDS[index - 1]
      : this.#table.get(index - STATIC_FIELDS.length - 1);
    if (!field) throw corrupt("an index that no table has");
    return field;
  }

  /** RFC 7541 §5.1, in at most four bytes after the first: more than any length that we let through. */
  #integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1;
    let value = this.#byte() & mask;
    if (value < mask) return value;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#byte();
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw corrupt("an integer that is too long");
  }

  #byte(): number {
    const byte = this.#block[this.#at++];
    if (byte === undefined) throw corrupt("a block that is cut off");
    return byte;
  }

  /** RFC 7541 §5.2. */
  #string(): string {
    const at = this.#at;
    const isHuffman = (this.#byte() & 0x80) !== 0;
    this.#at = at; // the same byte begins its length
    const length = this.#integer(7);
    const start = this.#at;
    const end = start + length;
    if (end > this.#block.length) throw corrupt("a string that is cut off");
    this.#at = end;
    if (!isHuffman) return this.#block.toString("latin1", start, end);
    const most = maxDecodedLength(length);
    if (scratch.length < most) scratch = Buffer.allocUnsafeSlow(most);
    const count = decodeHuffman(this.#block, start, end, scratch);
    if (count === undefined) throw corrupt("a string that is not in the Huffman code");
    return scratch.toString("latin1", 0, count);
  }
}

const EMPTY = Buffer.alloc(0);

/** The dynamic table (RFC 7541 §2.3.2): first in, first out. */
class DynamicTable {
  /** The oldest first; at most 128 fit. */
  readonly #entries: ReceivedField[] = [];
  #size = 0;
  #maxSize = TABLE_SIZE;

  /** The entry with that index, 0 being the youngest. */
  get(index: number): ReceivedField | undefined {
    return this.#entries[this.#entries.length - 1 - index];
  }

  /** RFC 7541 §4.4: an entry that is larger than the table empties it. */
  add(field: ReceivedField): void {
    this.#entries.push(field);
    this.#size += field.size;
    this.#evict();
  }

  resize(maxSize: number): void {
    if (maxSize > TABLE_SIZE) throw corrupt("a table size above our setting");
    this.#maxSize = maxSize;
    this.#evict();
  }

  #evict(): void {
    while (this.#size > this.#maxSize) {
      const oldest = this.#entries.shift();
      if (!oldest) return;
      this.#size -= oldest.size;
    }
  }
}

function corrupt(what: string): Fault {
  return new Fault("connection", H2.COMPRESSION_ERROR, `${what} (RFC 7541)`);
}
