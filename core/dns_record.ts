/**
 * Records beside addresses that programs ask for: their data as in an answer (RFC 1035 §3.3, RFC 2782), names uncompressed.
 *
 * Not here: messages (`dns_message.ts`), and who may ask for what.
 *
 * @module
 */
import { formatIp, parseIp } from "./cidr.ts";
import { isIpLiteral, parseHost } from "./host_port.ts";

/** A name is as the name server said it, and may be anything. */
export type DnsRecord =
  | { readonly type: "CNAME" | "PTR"; readonly name: string }
  | { readonly type: "MX"; readonly preference: number; readonly name: string }
  | {
    readonly type: "SRV";
    readonly priority: number;
    readonly weight: number;
    readonly port: number;
    readonly name: string;
  }
  | { readonly type: "TXT"; readonly texts: readonly string[] };

/** The types of {@linkcode DnsRecord} by number. HTTPS and SVCB are not among them: see `formatDnsRecord`. */
export const RECORD_TYPES: ReadonlyMap<number, DnsRecord["type"]> = new Map([
  [5, "CNAME"],
  [12, "PTR"],
  [15, "MX"],
  [16, "TXT"],
  [33, "SRV"],
]);

/** Bytes of data of one answer; a long DKIM key has 800, a TXT record of a busy name 3,000 with all the others. */
export const MAX_RECORD_BYTES = 4_096;

/** The data of those records that can be told, in order, up to {@linkcode MAX_RECORD_BYTES}. */
export function formatDnsRecords(records: readonly DnsRecord[]): Uint8Array[] {
  const made: Uint8Array[] = [];
  let left = MAX_RECORD_BYTES;
  for (const record of records) {
    const data = formatDnsRecord(record);
    if (!data || data.length > left) continue;
    left -= data.length;
    made.push(data);
  }
  return made;
}

/** The data of a record, or undefined when a name in it is no host name, a number no 16 bits, or a text too long. */
export function formatDnsRecord(record: DnsRecord): Uint8Array | undefined {
  if (record.type === "TXT") return formatTexts(record.texts);
  const name = formatName(record.name);
  const numbers = record.type === "MX"
    ? [record.preference]
    : record.type === "SRV"
    ? [record.priority, record.weight, record.port]
    : [];
  const isSound = numbers.every((number) => Number.isInteger(number) && number >= 0 && number <= 0xffff);
  if (!name || !isSound) return undefined;
  return Uint8Array.from([...numbers.flatMap((number) => [number >> 8, number & 0xff]), ...name]);
}

/** Each text has a length of one byte; of none there has to be an empty one (RFC 1035 §3.3.14). */
function formatTexts(texts: readonly string[]): Uint8Array | undefined {
  const parts = (texts.length === 0 ? [""] : texts).map((text) => new TextEncoder().encode(text));
  if (parts.some(({ length }) => length > 255)) return undefined;
  return Uint8Array.from(parts.flatMap((part) => [part.length, ...part]));
}

/** `.` says that there is none (RFC 2782, RFC 7505). Anything but a host name could be an attack on whoever reads it. */
function formatName(text: string): number[] | undefined {
  if (text === "." || text === "") return [0];
  const host = parseHost(text);
  if (host === undefined || isIpLiteral(host)) return undefined; // an address is no name
  return [...host.split(".").flatMap((label) => [label.length, ...new TextEncoder().encode(label)]), 0];
}

/**
 * What a rule has to allow for a question: the host below which a service is looked for (`_mongodb._tcp.db.example`, RFC
 * 2782), the address that a reverse name stands for (RFC 1035 §3.5, RFC 3596 §2.5), else the name itself.
 *
 * @param name canonical
 */
export function subjectOf(name: string): string {
  const service = /^_[a-z0-9-]{1,15}\._(?:tcp|udp)\.([^]+)$/.exec(name);
  if (service) return service[1] ?? name;
  if (name.endsWith(".in-addr.arpa")) {
    return addressOf(name.slice(0, -".in-addr.arpa".length).split(".").reverse().join(".")) ?? name;
  }
  if (name.endsWith(".ip6.arpa")) {
    const digits = name.slice(0, -".ip6.arpa".length).split(".").reverse();
    if (digits.length !== 32 || digits.some((digit) => !/^[0-9a-f]$/.test(digit))) return name;
    return addressOf(digits.join("").replace(/(.{4})(?=.)/g, "$1:")) ?? name;
  }
  return name;
}

/** An address in canonical text. */
function addressOf(text: string): string | undefined {
  const ip = parseIp(text);
  return ip && formatIp(ip);
}
