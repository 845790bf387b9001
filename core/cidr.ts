/**
 * IP addresses and networks, parsed strictly: dotted quads without leading zeros, RFC 4291 IPv6 without zone ids.
 * Nothing is repaired, so `010.1`, `0x7f000001` and `127.1` are names to nobody.
 *
 * Not here: which networks may be dialled. That is `policy/address.ts`.
 *
 * @module
 */
import { ProxyError } from "./errors.ts";
import { quoteText } from "./escape.ts";

/** An address as its 4 or 16 bytes. */
export type IpBytes = Uint8Array;

/** A network. */
export interface Cidr {
  /** Its first address. */
  readonly bytes: IpBytes;
  /** How many leading bits count, 0 to 32 or 128. */
  readonly prefix: number;
}

/** The address in `text`, or undefined when it is not exactly one. Brackets are not part of an address. */
export function parseIp(text: string): IpBytes | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

function parseIpv4(text: string): IpBytes | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!match) return undefined;
  const bytes = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    const part = match[i + 1] ?? "";
    const value = Number(part);
    if (value > 255 || (part.length > 1 && part.startsWith("0"))) return undefined;
    bytes[i] = value;
  }
  return bytes;
}

function parseIpv6(text: string): IpBytes | undefined {
  if (!/^[0-9A-Fa-f:.]{2,45}$/.test(text)) return undefined;
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const groupsOf = (half: string, isLast: boolean): number[] | undefined => {
    if (half === "") return [];
    const groups: number[] = [];
    const parts = half.split(":");
    for (const [i, part] of parts.entries()) {
      if (part.includes(".")) {
        const v4 = isLast && i === parts.length - 1 ? parseIpv4(part) : undefined;
        if (!v4) return undefined;
        groups.push(((v4[0] ?? 0) << 8) | (v4[1] ?? 0), ((v4[2] ?? 0) << 8) | (v4[3] ?? 0));
      } else {
        if (!/^[0-9A-Fa-f]{1,4}$/.test(part)) return undefined;
        groups.push(parseInt(part, 16));
      }
    }
    return groups;
  };
  const head = groupsOf(halves[0] ?? "", halves.length === 1);
  const tail = halves.length === 2 ? groupsOf(halves[1] ?? "", true) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  const bytes = new Uint8Array(16);
  for (const [i, group] of groups.entries()) {
    bytes[2 * i] = group >> 8;
    bytes[2 * i + 1] = group & 0xff;
  }
  return bytes;
}

/** The canonical text of an address: dotted quad, or RFC 5952. */
export function formatIp(bytes: IpBytes): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0));
  let bestStart = -1;
  let bestLength = 1; // RFC 5952 §4.2.2: one zero group is not shortened
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (end < 8 && groups[end] === 0) end++;
    if (end - start > bestLength) [bestStart, bestLength] = [start, end - start];
  }
  const hex = groups.map((group) => group.toString(16));
  if (bestStart < 0) return hex.join(":");
  return `${hex.slice(0, bestStart).join(":")}::${hex.slice(bestStart + bestLength).join(":")}`;
}

/**
 * A network such as `10.0.0.0/8`, or one address. Host bits after the prefix are refused: `10.1.2.3/8` is more
 * likely a mistake than a wish.
 *
 * @throws ProxyError `input.invalid`
 */
export function parseCidr(text: string): Cidr {
  const [address = "", prefixText, ...more] = text.split("/");
  const bytes = parseIp(address);
  const prefix = prefixText === undefined ? (bytes?.length ?? 0) * 8 : Number(prefixText);
  const isPrefix = prefixText === undefined || /^(0|[1-9]\d{0,2})$/.test(prefixText);
  if (!bytes || more.length > 0 || !isPrefix || prefix > bytes.length * 8) {
    throw new ProxyError(
      "input.invalid",
      `Cannot read ${quoteText(text, 60)} as a network: write 10.0.0.0/8 or fd00::/8`,
    );
  }
  const base = maskIp(bytes, prefix);
  if (formatIp(base) !== formatIp(bytes)) {
    throw new ProxyError(
      "input.invalid",
      `Cannot use ${text} as a network: it has bits after its prefix`,
      { hint: `write ${formatCidr({ bytes: base, prefix })}` },
    );
  }
  return { bytes, prefix };
}

/** The text of a network, the inverse of {@linkcode parseCidr}. */
export function formatCidr({ bytes, prefix }: Cidr): string {
  return `${formatIp(bytes)}/${prefix}`;
}

/** True when `ip` is of the network's family and inside it. */
export function cidrContains(cidr: Cidr, ip: IpBytes): boolean {
  if (cidr.bytes.length !== ip.length) return false;
  const whole = cidr.prefix >> 3;
  for (let i = 0; i < whole; i++) if (cidr.bytes[i] !== ip[i]) return false;
  const bits = cidr.prefix & 7;
  if (bits === 0) return true;
  const mask = 0xff << (8 - bits);
  return ((cidr.bytes[whole] ?? 0) & mask) === ((ip[whole] ?? 0) & mask);
}

function maskIp(bytes: IpBytes, prefix: number): IpBytes {
  return bytes.map((byte, i) => byte & (0xff << Math.max(0, 8 - Math.max(0, prefix - 8 * i))) & 0xff);
}
