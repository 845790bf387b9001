/**
 * Which addresses may be dialled. Every address that a name resolves to is checked, and one denied address refuses the
 * name. An IPv6 address that carries an IPv4 address, for translators and tunnels, counts as both: what is denied in
 * plain is denied in every disguise.
 *
 * Not here: resolving and dialling (`proxy/egress/dialler.ts`).
 *
 * @module
 */
import { type Cidr, cidrContains, type IpBytes, parseCidr } from "../core/cidr.ts";
import type { Reason } from "./reason.ts";

/** What an address is for. Ordered from the most to the least dangerous to dial. */
export const ADDRESS_CLASSES = [
  "metadata",
  "loopback",
  "link-local",
  "unspecified",
  "multicast",
  "broadcast",
  "reserved",
  "private",
  "cgnat",
  "public",
] as const;

/** One of {@linkcode ADDRESS_CLASSES}. */
export type AddressClass = typeof ADDRESS_CLASSES[number];

/** What decides about an address beside its class. */
export interface AddressOptions {
  /** `--deny-cidr`: beats everything, in every disguise. */
  readonly denyCidrs: readonly Cidr[];
  /** `--allow-cidr`: opens what is denied by class. */
  readonly allowCidrs: readonly Cidr[];
  /** The host pattern of the rule that allowed the request. */
  readonly ruleHost: string;
  /** Where our own listeners answer on the port about to be dialled; empty when no listener has that port. */
  readonly ownAddresses?: readonly Cidr[];
}

/** The answer about an address. `why` names ranges, never the address: it may reach the client. */
export type AddressVerdict =
  | { readonly ok: true }
  | {
    readonly ok: false;
    readonly reason: Extract<Reason, "address-denied" | "own-address">;
    readonly why: string;
  };

interface Range {
  readonly cidr: Cidr;
  readonly kind: AddressClass;
  /** What the range is and who says so. */
  readonly source: string;
}

function range(text: string, kind: AddressClass, source: string): Range {
  return { cidr: parseCidr(text), kind, source };
}

/**
 * The first range that holds an address is its range. From IANA's special-purpose registries; metadata services from
 * the clouds' documentation.
 */
const RANGES: readonly Range[] = [
  range("169.254.169.254/32", "metadata", "AWS, Google, Azure and others"),
  range("169.254.170.2/32", "metadata", "AWS ECS task credentials"),
  range("169.254.170.23/32", "metadata", "AWS EKS Pod Identity"),
  range("169.254.42.42/32", "metadata", "Scaleway"),
  range("169.254.0.23/32", "metadata", "Tencent Cloud"),
  range("100.100.100.200/32", "metadata", "Alibaba Cloud"),
  range("168.63.129.16/32", "metadata", "Azure WireServer"),
  range("192.0.0.192/32", "metadata", "Oracle Cloud Classic"),
  range("fd00:ec2::/32", "metadata", "AWS instance services"),
  range("fd20:ce::254/128", "metadata", "Google Cloud"),
  range("fd00:c1::a9fe:a9fe/128", "metadata", "Oracle Cloud"),
  range("fd00:42::42/128", "metadata", "Scaleway"),
  range("fd00:a9fe:a9fe::1/128", "metadata", "Akamai"),
  range("fd00:100::100:200/128", "metadata", "Alibaba Cloud"),
  range("fe80::a9fe:a9fe/128", "metadata", "OpenStack"),

  range("0.0.0.0/32", "unspecified", "RFC 1122 §3.2.1.3; Linux dials itself"),
  range("0.0.0.0/8", "reserved", "this network, RFC 791 §3.2"),
  range("10.0.0.0/8", "private", "RFC 1918"),
  range("100.64.0.0/10", "cgnat", "RFC 6598"),
  range("127.0.0.0/8", "loopback", "RFC 1122 §3.2.1.3"),
  range("169.254.0.0/16", "link-local", "RFC 3927"),
  range("172.16.0.0/12", "private", "RFC 1918"),
  range("192.0.0.0/24", "reserved", "protocol assignments, RFC 6890"),
  range("192.0.2.0/24", "reserved", "documentation, RFC 5737"),
  range("192.88.99.0/24", "reserved", "6to4 relays, RFC 7526"),
  range("192.168.0.0/16", "private", "RFC 1918"),
  range("198.18.0.0/15", "reserved", "benchmarks, RFC 2544"),
  range("198.51.100.0/24", "reserved", "documentation, RFC 5737"),
  range("203.0.113.0/24", "reserved", "documentation, RFC 5737"),
  range("224.0.0.0/4", "multicast", "RFC 5771"),
  range("255.255.255.255/32", "broadcast", "RFC 919 §7"),
  range("240.0.0.0/4", "reserved", "future use, RFC 1112 §4"),
  range("0.0.0.0/0", "public", "RFC 791"),

  range("::/128", "unspecified", "RFC 4291 §2.5.2; Linux dials itself"),
  range("::1/128", "loopback", "RFC 4291 §2.5.3"),
  range("::ffff:0:0/96", "public", "IPv4-mapped, RFC 4291 §2.5.5.2"),
  range("64:ff9b::/96", "public", "NAT64, RFC 6052"),
  range("64:ff9b:1::/48", "private", "NAT64 for local use, RFC 8215"),
  range("2001::/32", "public", "Teredo, RFC 4380"),
  range("2001::/23", "reserved", "protocol assignments, RFC 2928"),
  range("2001:db8::/32", "reserved", "documentation, RFC 3849"),
  range("3fff::/20", "reserved", "documentation, RFC 9637"),
  range("2000::/3", "public", "RFC 3587"),
  range("fc00::/7", "private", "RFC 4193"),
  range("fe80::/10", "link-local", "RFC 4291 §2.5.6"),
  range("ff00::/8", "multicast", "RFC 4291 §2.7"),
  // Site-local (RFC 3879), discard (RFC 6666), SRv6 (RFC 9602) and all that nobody has been given.
  range("::/0", "reserved", "not global unicast, RFC 4291 §2.4"),
];

const LOCAL_NAT64 = parseCidr("64:ff9b:1::/48");
const THIS_NETWORK = parseCidr("0.0.0.0/8");
const MAPPED = parseCidr("::ffff:0:0/96");
const COMPATIBLE = parseCidr("::/96");
const THEMSELVES = parseCidr("::/127");

interface Disguise {
  readonly cidr: Cidr;
  /** The IPv4 addresses within the 16 bytes. */
  readonly unwrap: (ip: IpBytes) => readonly IpBytes[];
}

const lastFour = (ip: IpBytes) => [ip.slice(12)];

const DISGUISES: readonly Disguise[] = [
  { cidr: MAPPED, unwrap: lastFour }, // mapped, RFC 4291 §2.5.5.2
  { cidr: parseCidr("::ffff:0:0:0/96"), unwrap: lastFour }, // translated, RFC 2765 §2.1
  { cidr: parseCidr("64:ff9b::/96"), unwrap: lastFour }, // NAT64, RFC 6052 §2.1
  { cidr: parseCidr("64:ff9b:1::/48"), unwrap: unwrapLocalNat64 }, // RFC 8215
  { cidr: parseCidr("2002::/16"), unwrap: (ip) => [ip.slice(2, 6)] }, // 6to4, RFC 3056 §2
  // Teredo, RFC 4380 §4: the server, and the client with all its bits inverted.
  { cidr: parseCidr("2001::/32"), unwrap: (ip) => [ip.slice(4, 8), ip.slice(12).map((byte) => ~byte)] },
];

/**
 * The IPv4 addresses that an IPv6 address carries: IPv4-mapped, -compatible and -translated, NAT64 with both prefixes,
 * 6to4, Teredo (server and client) and ISATAP under any prefix. Empty for an IPv4 address.
 */
export function embeddedIpv4(ip: IpBytes): readonly IpBytes[] {
  const found = DISGUISES.filter(({ cidr }) => cidrContains(cidr, ip)).flatMap(({ unwrap }) => unwrap(ip));
  // IPv4-compatible, RFC 4291 §2.5.5.1; `::` and `::1` are themselves.
  const isCompatible = cidrContains(COMPATIBLE, ip) && !cidrContains(THEMSELVES, ip);
  // ISATAP, RFC 5214 §6.1: interface identifier ::[02]00:5efe:a.b.c.d. The u and g bits do not count.
  const isIsatap = /^[0-3],0,94,254$/.test(ip.subarray(8, 12).join());
  if (isCompatible || isIsatap) found.push(ip.slice(12));
  return found;
}

/**
 * The class of an address, the worse of its own and those of the IPv4 addresses it carries.
 *
 * @param ip 4 or 16 bytes
 */
export function classifyAddress(ip: IpBytes): AddressClass {
  const kinds = [ip, ...embeddedIpv4(ip)].map((address) => rangeOf(address).kind);
  return ADDRESS_CLASSES.find((kind) => kinds.includes(kind)) ?? "reserved";
}

/**
 * Whether a rule for `ruleHost` may dial `ip`. In order: our own listeners never, `--deny-cidr` never, public always;
 * private and CGNAT for a rule that names one host; everything else only when `--allow-cidr` holds the address.
 * `--allow-cidr` is read strictly: a metadata service must be named as a single address, not by a network around it,
 * and a disguised address must be named in both forms, since each alone is likely meant for something else.
 */
export function checkAddress(ip: IpBytes, options: AddressOptions): AddressVerdict {
  const embedded = embeddedIpv4(ip);
  const isIn = (cidrs: readonly Cidr[]) =>
    [ip, ...embedded].some((address) => cidrs.some((cidr) => containsEitherForm(cidr, address)));
  if (isIn(options.ownAddresses ?? [])) {
    return { ok: false, reason: "own-address", why: "it is one of the proxy's own listeners" };
  }
  if (isIn(options.denyCidrs)) {
    return { ok: false, reason: "address-denied", why: "it lies in a network that --deny-cidr names" };
  }
  // What lies behind a host's own translator is what the address carries; the address itself is nobody's (RFC 8215 §5).
  const judged = cidrContains(LOCAL_NAT64, ip) ? embedded : [ip, ...embedded];
  for (const address of judged) {
    const { kind, source } = rangeOf(address);
    if (kind === "public") continue;
    if ((kind === "private" || kind === "cgnat") && !options.ruleHost.startsWith("*")) continue;
    if (isNamed(address, kind, options) && (address === ip || isNamed(ip, rangeOf(ip).kind, options))) {
      continue;
    }
    const what = `${kind} (${source})${address === ip ? "" : " in an IPv6 disguise"}`;
    const who = kind === "private" || kind === "cgnat"
      ? "which a rule for many hosts reaches only where `up --allow-cidr NETWORK` names it; a rule for exactly " +
        "this host does, too"
      : "which is dialled only where --allow-cidr names it";
    return { ok: false, reason: "address-denied", why: `it is ${what}, ${who}` };
  }
  return { ok: true };
}

/** Networks that a request reaches without crossing the Internet. */
const NEAR: ReadonlySet<AddressClass> = new Set(["private", "cgnat", "loopback"]);

/**
 * True for an address in a private (RFC 1918, ULA), CGNAT or loopback network. Behind a translator or tunnel it is only when
 * both the outer and the carried address are: what looks private inside may have crossed the Internet.
 */
export function isNearAddress(ip: IpBytes): boolean {
  const embedded = embeddedIpv4(ip);
  const isMapped = ip.length === 16 && cidrContains(MAPPED, ip); // the IPv4 address itself, in another spelling
  const addresses = isMapped ? embedded : [ip, ...embedded];
  return addresses.every((address) => NEAR.has(rangeOf(address).kind));
}

/** Whether a name with these addresses may be dialled: the first denied one decides, and no address at all is denied. */
export function checkAll(ips: readonly IpBytes[], options: AddressOptions): AddressVerdict {
  for (const ip of ips) {
    const verdict = checkAddress(ip, options);
    if (!verdict.ok) return verdict;
  }
  return ips.length > 0 ? { ok: true } : { ok: false, reason: "address-denied", why: "there is no address" };
}

function isNamed(ip: IpBytes, kind: AddressClass, { allowCidrs }: AddressOptions): boolean {
  return allowCidrs.some((cidr) =>
    cidrContains(cidr, ip) && (kind !== "metadata" || cidr.prefix === 8 * ip.length)
  );
}

function rangeOf(ip: IpBytes): Range {
  const found = RANGES.find(({ cidr }) => cidrContains(cidr, ip));
  if (!found) throw new RangeError(`Cannot classify an address of ${ip.length} bytes: it has 4 or 16`);
  return found;
}

/**
 * Operators of a local translator choose the prefix length within the /48 (RFC 6052 §2.2), so all four places are
 * looked at. A place that reads 0.x.y.z is not the one in use, unless all do.
 */
function unwrapLocalNat64(ip: IpBytes): readonly IpBytes[] {
  const behind = Uint8Array.of(...ip.subarray(6, 8), ...ip.subarray(9)); // byte 8 is no part of any
  const places = [behind.slice(0, 4), behind.slice(1, 5), behind.slice(2, 6), ip.slice(12)];
  const used = places.filter((place) => !cidrContains(THIS_NETWORK, place));
  return used.length > 0 ? used : places;
}

/** A denied network in IPv4-mapped form (`::ffff:10.0.0.0/104`) means the plain addresses too; `::/0` means IPv6. */
function containsEitherForm(cidr: Cidr, ip: IpBytes): boolean {
  if (cidrContains(cidr, ip)) return true;
  if (ip.length !== 4 || cidr.prefix < 96) return false;
  const mapped = MAPPED.bytes.slice();
  mapped.set(ip, 12);
  return cidrContains(cidr, mapped);
}
