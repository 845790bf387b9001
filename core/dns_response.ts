/**
 * Answers of name servers (RFC 1035 §4) for whoever resolves names: strictly read, within bounds, for hostile bytes. What the
 * answer says of the name that was asked for is followed through its aliases; everything else in it is nobody's business.
 *
 * Not here: questions, and the answers of the proxy to the helper (`dns_message.ts`); asking (`proxy/egress/names/`).
 *
 * @module
 */
import { formatIp } from "./cidr.ts";
import { TYPE_A, TYPE_AAAA } from "./dns_message.ts";
import { type DnsRecord, RECORD_TYPES } from "./dns_record.ts";
import { ProxyError } from "./errors.ts";
import { NAME_LIMITS } from "./limits.ts";

/** What a name server says of one name and type. */
export interface DnsResponse {
  /** Response code (RFC 1035 §4.1.1). */
  readonly rcode: number;
  /** There is more than fits, which is asked for again over TCP; nothing else is known then. */
  readonly isTruncated: boolean;
  /** Of type A or AAAA, whichever was asked for, in canonical text. */
  readonly addresses: readonly string[];
  /** Of another type. Names in them are as the server said them, dots between labels; the root is `.`. */
  readonly records: readonly DnsRecord[];
  /** The name is an alias of this one, lower-case, about which the answer says nothing that counts. */
  readonly alias?: string;
  /** Seconds: of the records, the aliases before them included; without any, of the fact that there are none (RFC 2308 §5). */
  readonly ttl: number;
}

/** What was asked. */
export interface DnsQuestion {
  /** Lower-case, dots between labels. */
  readonly name: string;
  readonly type: number;
}

const CLASS_IN = 1;
const TYPE_CNAME = 5;
const TYPE_SOA = 6;
const HEADER_BYTES = 12;
const MAX_NAME_BYTES = 255;
/** Of one name: each points further back, and honest writers need one. */
const MAX_POINTERS = 16;

interface Row {
  readonly owner: string;
  readonly type: number;
  readonly ttl: number;
  /** Where its data is. */
  readonly at: number;
  readonly length: number;
}

/** True when these bytes answer this question under this id: everything else is a stray or a forgery. */
export function answersQuestion(bytes: Uint8Array, id: number, { name, type }: DnsQuestion): boolean {
  if (bytes.length < HEADER_BYTES) return false;
  const view = viewOf(bytes);
  if (view.getUint16(0) !== id || (view.getUint16(2) & 0xf800) !== 0x8000) return false; // QR, and opcode 0
  if (view.getUint16(4) !== 1) return false;
  try {
    const asked = readName(bytes, HEADER_BYTES);
    return asked.next + 4 <= bytes.length && asked.name === name && view.getUint16(asked.next) === type &&
      view.getUint16(asked.next + 2) === CLASS_IN;
  } catch {
    return false;
  }
}

/**
 * Reads an answer that {@linkcode answersQuestion}.
 *
 * @param mayFollow whether the server that answers is also the one to be asked about an alias
 * @throws ProxyError `upstream.malformed`; with reason `too-large` for more records than are taken
 */
export function readDnsResponse(
  bytes: Uint8Array,
  question: DnsQuestion,
  mayFollow: (alias: string) => boolean = () => true,
): DnsResponse {
  const view = viewOf(bytes);
  const flags = view.getUint16(2);
  const rcode = flags & 0xf;
  const none = { rcode, addresses: [], records: [], ttl: 0 };
  if ((flags & 0x0200) !== 0) return { ...none, isTruncated: true };
  const count = view.getUint16(6);
  if (count > NAME_LIMITS.maxRecords) {
    throw new ProxyError("upstream.malformed", "Cannot read the DNS answer: it has too many records", {
      reason: "too-large",
    });
  }
  const rows: Row[] = [];
  let at = readName(bytes, HEADER_BYTES).next + 4;
  for (let left = count; left > 0; left--) at = readRow(bytes, at, rows);
  const { found, alias, ttl } = followAliases(bytes, rows, question, mayFollow);
  if (found.length > 0) return { ...none, ...dataOf(bytes, found, question.type), isTruncated: false, ttl };
  if (alias !== undefined) return { ...none, isTruncated: false, alias, ttl };
  return { ...none, isTruncated: false, ttl: negativeTtl(bytes, at) };
}

function followAliases(
  bytes: Uint8Array,
  rows: readonly Row[],
  { name, type }: DnsQuestion,
  mayFollow: (alias: string) => boolean,
): { readonly found: readonly Row[]; readonly alias?: string; readonly ttl: number } {
  let owner = name;
  let ttl = 0x7fffffff;
  for (let steps = 0; steps <= NAME_LIMITS.maxAliases; steps++) {
    const found = rows.filter((row) => row.owner === owner && row.type === type);
    if (found.length > 0) return { found, ttl: Math.min(ttl, ...found.map((row) => row.ttl)) };
    const next = rows.find((row) => row.owner === owner && row.type === TYPE_CNAME);
    if (!next) return { found, ...(owner === name ? {} : { alias: owner }), ttl };
    ttl = Math.min(ttl, next.ttl);
    owner = readNameWithin(bytes, next.at, next.length);
    if (!mayFollow(owner)) return { found: [], alias: owner, ttl };
  }
  throw malformed("its aliases do not end");
}

function dataOf(
  bytes: Uint8Array,
  rows: readonly Row[],
  type: number,
): { readonly addresses: readonly string[] } | { readonly records: readonly DnsRecord[] } {
  if (type !== TYPE_A && type !== TYPE_AAAA) {
    return { records: rows.map((row) => recordOf(bytes, row)) };
  }
  const size = type === TYPE_A ? 4 : 16;
  return {
    addresses: rows.map(({ at, length }) => {
      if (length !== size) throw malformed("an address has another length");
      return formatIp(bytes.subarray(at, at + length));
    }),
  };
}

function recordOf(bytes: Uint8Array, { type: number, at, length }: Row): DnsRecord {
  const view = viewOf(bytes);
  const type = RECORD_TYPES.get(number);
  const nameAt = (skipped: number) => readNameWithin(bytes, at + skipped, length - skipped) || ".";
  switch (type) {
    case "CNAME":
    case "PTR":
      return { type, name: nameAt(0) };
    case "MX":
      return { type, name: nameAt(2), preference: view.getUint16(at) };
    case "SRV":
      return {
        type,
        name: nameAt(6),
        priority: view.getUint16(at),
        weight: view.getUint16(at + 2),
        port: view.getUint16(at + 4),
      };
    case "TXT":
      return { type, texts: readTexts(bytes.subarray(at, at + length)) };
    case undefined:
      throw malformed("it was not asked for"); // nobody asks for other types
  }
}

function readTexts(data: Uint8Array): readonly string[] {
  const texts: string[] = [];
  for (let at = 0; at < data.length;) {
    const end = at + 1 + (data[at] ?? 0);
    if (end > data.length) throw malformed("a text is cut short");
    texts.push(new TextDecoder().decode(data.subarray(at + 1, end)));
    at = end;
  }
  return texts;
}

/** RFC 2308 §5: the smaller of the SOA record's own TTL and its MINIMUM; 0 where the answer has none. */
function negativeTtl(bytes: Uint8Array, from: number): number {
  const view = viewOf(bytes);
  const rows: Row[] = [];
  let at = from;
  for (let left = Math.min(view.getUint16(8), NAME_LIMITS.maxRecords); left > 0; left--) {
    at = readRow(bytes, at, rows);
    const row = rows.at(-1);
    if (row?.type !== TYPE_SOA) continue;
    if (row.length < 22) throw malformed("its SOA record is cut short");
    return Math.min(row.ttl, secondsAt(view, row.at + row.length - 4));
  }
  return 0;
}

/** Adds a record of class IN to `rows`. @returns the offset behind it */
function readRow(bytes: Uint8Array, from: number, rows: Row[]): number {
  const view = viewOf(bytes);
  const { name: owner, next } = readName(bytes, from);
  if (next + 10 > bytes.length) throw malformed("a record is cut short");
  const [at, length] = [next + 10, view.getUint16(next + 8)];
  if (at + length > bytes.length) throw malformed("a record is cut short");
  if (view.getUint16(next + 2) === CLASS_IN) {
    rows.push({ owner, type: view.getUint16(next), ttl: secondsAt(view, next + 4), at, length });
  }
  return at + length;
}

/** RFC 2181 §8: a TTL with its top bit set counts as zero. */
function secondsAt(view: DataView, at: number): number {
  const seconds = view.getUint32(at);
  return seconds > 0x7fffffff ? 0 : seconds;
}

/** A name that is all that is left of a record's data. */
function readNameWithin(bytes: Uint8Array, at: number, length: number): string {
  if (length < 1) throw malformed("a record is cut short");
  const { name, next } = readName(bytes, at);
  if (next !== at + length) throw malformed("a name does not fit its record");
  return name;
}

/**
 * A name in lower case, through pointers (RFC 1035 §4.1.4). A pointer leads strictly further back than everything that was
 * read of the name, so that none can lead in a circle.
 */
function readName(bytes: Uint8Array, from: number): { readonly name: string; readonly next: number } {
  const labels: string[] = [];
  let next: number | undefined;
  let [at, lowest, pointers, size] = [from, from, 0, 0];
  for (;;) {
    const length = bytes[at];
    if (length === undefined) throw malformed("a name is cut short");
    if (length === 0) break;
    if (length >= 0xc0) {
      const low = bytes[at + 1];
      if (low === undefined) throw malformed("a name is cut short");
      const target = ((length & 0x3f) << 8) | low;
      next ??= at + 2;
      if (target >= lowest || ++pointers > MAX_POINTERS) throw malformed("a name points in a circle");
      at = lowest = target;
      continue;
    }
    if (length > 63) throw malformed("a label has an unknown form");
    if (at + 1 + length > bytes.length) throw malformed("a name is cut short");
    if ((size += 1 + length) >= MAX_NAME_BYTES) throw malformed("a name is too long");
    labels.push(labelAt(bytes, at + 1, length));
    at += 1 + length;
  }
  return { name: labels.join("."), next: next ?? at + 1 };
}

function labelAt(bytes: Uint8Array, at: number, length: number): string {
  const label = bytes.subarray(at, at + length);
  if (label.includes(0x2e)) throw malformed("a label holds a dot");
  // Not toLowerCase(): of other letters than these DNS knows no case (RFC 4343 §3).
  return String.fromCharCode(...label.map((byte) => byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function malformed(what: string): ProxyError {
  return new ProxyError("upstream.malformed", `Cannot read the DNS answer: ${what}`);
}
