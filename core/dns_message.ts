/**
 * DNS messages (RFC 1035 §4) as far as the helper and the proxy need them: a query with one question, and an answer that
 * holds addresses, or records of one other type. Everything else in a message is skipped, never interpreted.
 *
 * Not here: sending them, which names are answered, and what is in a record (`dns_record.ts`).
 *
 * @module
 */
import { formatIp, parseIp } from "./cidr.ts";
import { RECORD_TYPES } from "./dns_record.ts";
import { ProxyError } from "./errors.ts";

/** An IPv4 address (RFC 1035 §3.2.2). */
export const TYPE_A = 1;
/** An IPv6 address (RFC 3596 §2.1). */
export const TYPE_AAAA = 28;

/** Response codes (RFC 1035 §4.1.1). */
export const RCODE = { noError: 0, servFail: 2, nxDomain: 3, notImplemented: 4, refused: 5 } as const;

/** No more addresses are sent: with this many, an answer fits into the 512 bytes of plain UDP (RFC 1035 §2.3.4). */
export const MAX_ADDRESSES = 8;

/** Of plain UDP (RFC 1035 §2.3.4). What EDNS would allow beyond is not used: fragments get lost. */
const MAX_UDP_BYTES = 512;
const CLASS_IN = 1;
const HEADER_BYTES = 12;
const QR = 0x8000;
const TC = 0x0200;
const RD = 0x0100;
const RA = 0x0080;
const MAX_NAME_BYTES = 255;

/** A standard query of class IN. */
export interface DnsQuery {
  /** 16 bits, chosen by who asks. */
  readonly id: number;
  /** As asked, dots between labels; `""` is the root. A label never holds a dot. */
  readonly name: string;
  /** 16 bits: {@linkcode TYPE_A} and others. */
  readonly type: number;
  /** Question section as sent, for the answer: resolvers check that even its letter case comes back. */
  readonly question: Uint8Array;
}

/** What an answer says. */
export interface DnsAnswer {
  /** One of {@linkcode RCODE}, or another. */
  readonly rcode: number;
  /** Addresses of the type that was asked for, in their canonical text. */
  readonly addresses: readonly string[];
  /** Data of records, when the type that was asked for is one of `dns_record.ts`. */
  readonly records?: readonly Uint8Array[];
  /** Seconds. */
  readonly ttl: number;
}

/**
 * Reads a query.
 *
 * @throws ProxyError `client.malformed` for what is not exactly one question of class IN
 */
export function parseDnsQuery(bytes: Uint8Array): DnsQuery {
  const view = viewOf(bytes);
  if (bytes.length < HEADER_BYTES) throw malformed("it is too short");
  const flags = view.getUint16(2);
  if ((flags & QR) !== 0) throw malformed("it is an answer");
  if ((flags & 0x7800) !== 0) throw malformed("it is no standard query");
  if (view.getUint16(4) !== 1 || view.getUint16(6) !== 0) {
    throw malformed("it holds not exactly one question");
  }
  const { name, next } = readName(bytes, HEADER_BYTES);
  if (next + 4 > bytes.length) throw malformed("its question is cut short");
  if (view.getUint16(next + 2) !== CLASS_IN) throw malformed("its class is not IN");
  return {
    id: view.getUint16(0),
    name,
    type: view.getUint16(next),
    question: bytes.slice(HEADER_BYTES, next + 4),
  };
}

/**
 * Writes a query.
 *
 * @param name a host name, or `""`
 */
export function formatDnsQuery({ id, name, type }: Pick<DnsQuery, "id" | "name" | "type">): Uint8Array {
  const labels = name === "" ? [] : name.split(".");
  const question = new Uint8Array(name === "" ? 5 : name.length + 2 + 4);
  let at = 0;
  for (const label of labels) {
    if (label.length === 0 || label.length > 63) throw new RangeError("a label has 1 to 63 bytes");
    question[at++] = label.length;
    for (let i = 0; i < label.length; i++) question[at++] = label.charCodeAt(i);
  }
  const view = viewOf(question);
  view.setUint16(at + 1, type);
  view.setUint16(at + 3, CLASS_IN);
  return message({ id, flags: RD, question, answers: [] });
}

/** Writes the answer to a query. Addresses of another family than the one asked for are left out. */
export function formatDnsAnswer(
  query: DnsQuery,
  { rcode, addresses, records = [], ttl }: DnsAnswer,
): Uint8Array {
  const length = addressLength(query.type);
  const ips = addresses.map(parseIp).filter((ip) => ip !== undefined).filter((ip) => ip.length === length);
  const data = RECORD_TYPES.has(query.type) ? records : ips.slice(0, MAX_ADDRESSES);
  const answers = data.map((each) => {
    const record = new Uint8Array(12 + each.length);
    const view = viewOf(record);
    view.setUint16(0, 0xc000 | HEADER_BYTES); // the question's name (RFC 1035 §4.1.4)
    view.setUint16(2, query.type);
    view.setUint16(4, CLASS_IN);
    view.setUint32(6, ttl);
    view.setUint16(10, each.length);
    record.set(each, 12);
    return record;
  });
  return message({ id: query.id, flags: QR | RD | RA | rcode, question: query.question, answers });
}

/** What goes over UDP of an answer: all, or only that there is more, which makes who asked come over TCP (RFC 2181 §9). */
export function truncateDnsAnswer(answer: Uint8Array, { id, question }: DnsQuery): Uint8Array {
  if (answer.length <= MAX_UDP_BYTES) return answer;
  return message({ id, flags: viewOf(answer).getUint16(2) | TC, question, answers: [] });
}

/** The answer to a query that cannot be read, as far as its id can be: RFC 1035 calls it a format error. */
export function formatDnsFormatError(bytes: Uint8Array): Uint8Array | undefined {
  // An answer is never answered: two servers would talk for ever.
  if (bytes.length < 4 || ((bytes[2] ?? 0) & 0x80) !== 0) return undefined;
  return message({
    id: viewOf(bytes).getUint16(0),
    flags: QR | RA | 1,
    question: new Uint8Array(0),
    answers: [],
  });
}

/**
 * Reads the answer to `query`. Aliases are skipped unless they were asked for: only what is at their end matters.
 *
 * @throws ProxyError `client.malformed` also when it answers another question
 */
export function parseDnsAnswer(bytes: Uint8Array, query: Pick<DnsQuery, "name" | "type">): DnsAnswer {
  if (bytes.length < HEADER_BYTES) throw malformed("it is too short");
  const view = viewOf(bytes);
  const flags = view.getUint16(2);
  if ((flags & QR) === 0 || view.getUint16(4) !== 1) throw malformed("it is no answer to one question");
  const asked = readName(bytes, HEADER_BYTES);
  let at = asked.next + 4;
  if (
    at > bytes.length || asked.name.toLowerCase() !== query.name.toLowerCase() ||
    view.getUint16(asked.next) !== query.type
  ) throw malformed("it answers another question");
  const addresses: string[] = [];
  const records: Uint8Array[] = [];
  let ttl = 86_400;
  for (let left = view.getUint16(6); left > 0; left--) {
    at = skipName(bytes, at);
    if (at + 10 > bytes.length) throw malformed("a record is cut short");
    const type = view.getUint16(at);
    const end = at + 10 + view.getUint16(at + 8);
    if (end > bytes.length) throw malformed("a record is cut short");
    // RFC 2181 §8: a TTL with its top bit set counts as zero.
    const seconds = view.getUint32(at + 4);
    ttl = Math.min(ttl, seconds > 0x7fffffff ? 0 : seconds);
    const data = bytes.subarray(at + 10, end);
    if (type === query.type && data.length === addressLength(type)) addresses.push(formatIp(data));
    if (type === query.type && RECORD_TYPES.has(type)) records.push(data.slice());
    at = end;
  }
  const isEmpty = addresses.length + records.length === 0;
  return {
    rcode: flags & 0xf,
    addresses,
    ...(records.length > 0 ? { records } : {}),
    ttl: isEmpty ? 0 : ttl,
  };
}

/** Of a record of this type, in bytes; -1 where it holds no address. */
function addressLength(type: number): number {
  return type === TYPE_A ? 4 : type === TYPE_AAAA ? 16 : -1;
}

function message({ id, flags, question, answers }: {
  readonly id: number;
  readonly flags: number;
  readonly question: Uint8Array;
  readonly answers: readonly Uint8Array[];
}): Uint8Array {
  const length = HEADER_BYTES + question.length + answers.reduce((sum, each) => sum + each.length, 0);
  const bytes = new Uint8Array(length);
  const view = viewOf(bytes);
  view.setUint16(0, id);
  view.setUint16(2, flags);
  view.setUint16(4, question.length > 0 ? 1 : 0);
  view.setUint16(6, answers.length);
  bytes.set(question, HEADER_BYTES);
  let at = HEADER_BYTES + question.length;
  for (const answer of answers) {
    bytes.set(answer, at);
    at += answer.length;
  }
  return bytes;
}

/** A name without compression, as every question has it. Bytes beyond ASCII come out as Latin-1. */
function readName(bytes: Uint8Array, from: number): { readonly name: string; readonly next: number } {
  const labels: string[] = [];
  let at = from;
  for (;;) {
    const length = bytes[at];
    if (length === undefined) throw malformed("a name is cut short");
    at++;
    if (length === 0) break;
    if (length > 63) throw malformed("its question is compressed");
    const label = bytes.subarray(at, at + length);
    if (label.length < length) throw malformed("a name is cut short");
    if (label.includes(0x2e)) throw malformed("a label holds a dot");
    labels.push(String.fromCharCode(...label));
    at += length;
    if (at - from > MAX_NAME_BYTES) throw malformed("a name is too long");
  }
  return { name: labels.join("."), next: at };
}

/** The offset behind a name, which may end in a pointer (RFC 1035 §4.1.4). */
function skipName(bytes: Uint8Array, from: number): number {
  for (let at = from;;) {
    const length = bytes[at];
    if (length === undefined) throw malformed("a name is cut short");
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2;
    at += 1 + length;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function malformed(what: string): ProxyError {
  return new ProxyError("client.malformed", `Cannot read the DNS message: ${what}`, { reason: "malformed" });
}
