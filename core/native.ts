/**
 * The only calls below the runtime. Deno has no API for eight things that this program cannot do without for long:
 * sockets accepted by a TLS listener without Nagle's delay (a token stream would stall 40 ms at a time), ending a TLS
 * handshake whose peer is silent (closing it keeps the descriptor until the peer closes), shutting the listeners of a thread
 * that hangs, how many descriptors the process may have and has, finding out which connections a machine that slept has lost,
 * ending those from an address that it has no more, and ignoring SIGUSR1, which opens a debugger. Each is optional: where the C library cannot be
 * opened, the caller goes on without.
 *
 * Needs `--allow-ffi` for the paths of {@linkcode LIBC_PATHS}.
 *
 * @module
 */

import { formatIp, parseIp } from "./cidr.ts";
import { cutAt } from "./text.ts";

/** Where the C library is, by `Deno.build.os` and `arch`. `scripts/` and `deno.json` name the same paths. */
export const LIBC_PATHS: Readonly<Record<string, readonly string[]>> = {
  "linux-x86_64": ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6"],
  "linux-aarch64": ["/lib/aarch64-linux-gnu/libc.so.6", "/lib64/libc.so.6"],
  "darwin-x86_64": ["/usr/lib/libSystem.B.dylib"],
  "darwin-aarch64": ["/usr/lib/libSystem.B.dylib"],
};

const SYMBOLS = {
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getpeername: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  dup: { parameters: ["i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32" },
  getrlimit: { parameters: ["i32", "buffer"], result: "i32" },
  signal: { parameters: ["i32", "usize"], result: "usize" },
} as const satisfies Deno.ForeignLibraryInterface;

/** socket(7) and tcp(7); the BSD values of macOS differ. */
const IS_DARWIN = Deno.build.os === "darwin";
const SOL_SOCKET = IS_DARWIN ? 0xffff : 1;
const SO_ACCEPTCONN = IS_DARWIN ? 0x0002 : 30;
/** socket(7), since Linux 4.12. */
const SO_COOKIE = 57;
const SIGUSR1 = IS_DARWIN ? 30 : 10;
/** As a number: making a pointer would need the right to every library, where this file gets by with one path. */
const SIG_IGN = 1n;
/** The handler comes within this time, and is gone again one check later. */
const HANDLER_CHECK_MS = 10;
const HANDLER_CHECKS = 1_000;
const RLIMIT_NOFILE = IS_DARWIN ? 8 : 7;
const AF_INET = 2;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
/** Linux alone, like the next four; tcp(7): when an idle connection is probed, how often, after how many probes it is over. */
const SO_KEEPALIVE = 9;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
/** How long sent bytes may go unanswered, in milliseconds. */
const TCP_USER_TIMEOUT = 18;
/** After a sleep: the first probe after 5 s, the end after 20. */
const PROBE_SECONDS = 5;
const PROBES = 3;
const SHUT_RDWR = 2;
const ON = new Uint8Array(new Int32Array([1]).buffer);
/** poll(2): the number is no open descriptor. */
const POLLNVAL = 0x20;
/** Descriptors asked about in one call. When all of them are free, those above are taken to be free too. */
const POLLED_AT_ONCE = 4_096;
const SOCKADDR_BYTES = 28;

type Libc = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];
let opened: Libc | null | undefined;

function libc(): Libc | null {
  if (opened !== undefined) return opened;
  opened = null;
  for (const path of LIBC_PATHS[`${Deno.build.os}-${Deno.build.arch}`] ?? []) {
    try {
      return opened = Deno.dlopen(path, SYMBOLS).symbols;
    } catch {
      // Not this path, or no permission: the fallback is described at each caller.
    }
  }
  return opened;
}

/** True when native calls work here. */
export function hasNativeCalls(): boolean {
  return libc() !== null;
}

/** A socket address as `Deno.NetAddr` has it. */
export interface Address {
  /** An IP literal. */
  readonly hostname: string;
  /** 1 to 65535. */
  readonly port: number;
}

/** How many descriptors this process may have open, or undefined where that cannot be known. */
export function descriptorLimit(): number | undefined {
  const limits = new BigUint64Array(2); // rlim_cur, rlim_max
  return libc()?.getrlimit(RLIMIT_NOFILE, limits) === 0 ? Number(limits[0]) : undefined;
}

/**
 * How many descriptors this process has open, or undefined where that cannot be known. Deno denies `/proc/self/fd` to a
 * program without all rights; poll(2) says of each number whether it is open. The kernel gives out the lowest free number,
 * so that what lies above a long free stretch is nothing, or left over from a crowd that has just gone.
 */
export function openDescriptors(): number | undefined {
  const c = libc();
  if (!c || IS_DARWIN) return undefined; // its poll() calls devices invalid
  let open = 0;
  for (let first = 0;; first += POLLED_AT_ONCE) {
    const found = pollOpen(c, first).length;
    if (found === 0) return open;
    open += found;
  }
}

/**
 * Sets TCP_NODELAY on a listener; accepted sockets inherit it (Linux, BSD). To be called right after the listener was
 * opened.
 *
 * @returns false where that is not possible: writes are then only coalesced
 */
export function setListenerNoDelay(address: Address): boolean {
  const c = libc();
  if (!c) return false;
  const fd = findDescriptor(c, listensAt(c, address));
  return fd !== undefined && c.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, ON, 4) === 0;
}

/**
 * Ends a TCP connection in both directions below the runtime, so that a pending TLS handshake fails and its descriptor
 * can be freed by closing. Both whole addresses must be the connection's: the kernel gives one local port to several
 * connections when their peers differ, and another process may hold our port number on another loopback address.
 *
 * @returns false where that is not possible: the descriptor stays until the peer closes
 */
export function shutdownSocket(local: Address, remote: Address): boolean {
  const c = libc();
  if (!c) return false;
  const [here, there] = [keyOf(local), keyOf(remote)];
  const fd = findDescriptor(
    c,
    (candidate) =>
      readAddress(c.getsockname, candidate) === here && readAddress(c.getpeername, candidate) === there,
  );
  return fd !== undefined && c.shutdown(fd, SHUT_RDWR) === 0;
}

/**
 * Finds the listeners that this process has at an address, those of its other threads too.
 *
 * @returns a function that shuts them: the system deals no connection to them any more, and resets those that nobody has
 * accepted yet. Linux; elsewhere it does nothing.
 */
export function findListeners(address: Address): () => void {
  const c = libc();
  if (!c || IS_DARWIN) return () => {};
  const isIt = listensAt(c, address);
  const found: { readonly fd: number; readonly cookie: bigint | undefined }[] = [];
  for (let first = 3;; first += POLLED_AT_ONCE) {
    const open = pollOpen(c, first);
    if (open.length === 0) break;
    found.push(...open.filter(isIt).map((fd) => ({ fd, cookie: cookieOf(c, fd) })));
  }
  return () => {
    for (const { fd, cookie } of found) {
      // By then the number may be that of another socket, which somebody opened since.
      if (cookie !== undefined && cookieOf(c, fd) === cookie) c.shutdown(fd, SHUT_RDWR);
    }
  };
}

/**
 * Makes the process ignore SIGUSR1, by which the runtime would open V8's inspector without authentication. Deno 2.9.6
 * installs its handler only when the event loop has run for half a second, over what was set before (measured), so this
 * looks again until it has replaced a handler. A binary compiled with 2.7.11 never installs one.
 *
 * @returns false where that is not possible
 */
export function ignoreDebuggerSignal(): boolean {
  const c = libc();
  if (!c) return false;
  const replacesHandler = () => c.signal(SIGUSR1, SIG_IGN) > SIG_IGN; // 0 and 1 are SIG_DFL and SIG_IGN
  if (replacesHandler()) return true;
  let checksLeft = HANDLER_CHECKS;
  const timer = setInterval(() => {
    if (replacesHandler() || --checksLeft === 0) clearInterval(timer);
  }, HANDLER_CHECK_MS);
  Deno.unrefTimer(timer);
  return true;
}

/**
 * Has the system ask every peer of this process whether its connection still is: one that does not answer within some 20
 * seconds is ended, whatever waits on it. For after a sleep, which ends connections without a word. Linux; elsewhere nothing.
 */
export function probeConnections(): void {
  const c = libc();
  if (!c) return;
  for (const fd of openSockets(c)) {
    c.setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, int(PROBE_SECONDS), 4);
    c.setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, int(PROBE_SECONDS), 4);
    c.setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, int(PROBES), 4);
    c.setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, int(PROBE_SECONDS * (PROBES + 1) * 1_000), 4);
    c.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, ON, 4); // last: the times count from here
  }
}

/** Ends every connection of this process from local addresses that the machine has no more. Linux; elsewhere nothing. */
export function shutdownFrom(hostnames: readonly string[]): void {
  const c = libc();
  if (!c || hostnames.length === 0) return;
  const gone = new Set(hostnames.map((hostname) => cutAt(keyOf({ hostname, port: 0 }), " ")));
  for (const fd of openSockets(c)) {
    const local = readAddress(c.getsockname, fd);
    if (local !== undefined && gone.has(cutAt(local, " "))) c.shutdown(fd, SHUT_RDWR);
  }
}

/** Connected sockets, by their descriptors. */
function openSockets(c: Libc): readonly number[] {
  if (IS_DARWIN) return []; // as in openDescriptors()
  const found: number[] = [];
  for (let first = 3;; first += POLLED_AT_ONCE) {
    const open = pollOpen(c, first);
    if (open.length === 0) return found;
    found.push(...open.filter((fd) => readAddress(c.getpeername, fd) !== undefined));
  }
}

function int(value: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Int32Array([value]).buffer);
}

/** What tells a socket from every other since the machine started. */
function cookieOf(c: Libc, fd: number): bigint | undefined {
  const cookie = new BigUint64Array(1);
  return c.getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, new Uint32Array([8])) === 0 ? cookie[0] : undefined;
}

/** Whether a descriptor is a listener at an address. */
function listensAt(c: Libc, address: Address): (fd: number) => boolean {
  const wanted = keyOf(address);
  const value = new Uint8Array(4);
  const length = new Uint32Array(1);
  return (fd) => {
    length[0] = 4;
    return c.getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, value, length) === 0 &&
      value.some((byte) => byte !== 0) && readAddress(c.getsockname, fd) === wanted;
  };
}

/** The first open socket that `isIt`, newest first: sockets just made are near the lowest free number. */
function findDescriptor(c: Libc, isIt: (fd: number) => boolean): number | undefined {
  const free = c.dup(0);
  if (free < 0) return undefined;
  c.close(free);
  for (let fd = free - 1; fd > 2; fd--) if (isIt(fd)) return fd;
  for (let first = free + 1;; first += POLLED_AT_ONCE) {
    const open = pollOpen(c, first);
    if (open.length === 0) return undefined;
    const found = open.find(isIt);
    if (found !== undefined) return found;
  }
}

/**
 * Which of the {@linkcode POLLED_AT_ONCE} numbers from `first` are open descriptors. Asking each by itself takes thousands
 * of calls, milliseconds of them, where a socket that is looked for has just been closed (measured).
 */
function pollOpen(c: Libc, first: number): number[] {
  const count = Math.min(POLLED_AT_ONCE, (descriptorLimit() ?? 0) - first);
  if (count <= 0) return [];
  const asked = new Int32Array(count * 2); // struct pollfd: the number, then events and revents of 16 bits each
  for (let i = 0; i < count; i++) asked[i * 2] = first + i;
  if (c.poll(asked, BigInt(count), 0) < 0) return [];
  const open: number[] = [];
  for (let i = 0; i < count; i++) {
    if ((((asked[i * 2 + 1] ?? 0) >>> 16) & POLLNVAL) === 0) open.push(first + i);
  }
  return open;
}

/** An address as text that is equal when the addresses are, whichever of its forms Deno or the kernel used. */
function keyOf({ hostname, port }: Address): string {
  const ip = parseIp(cutAt(hostname, "%"));
  return `${ip ? formatIp(ip) : hostname} ${port}`;
}

/**
 * The same of a descriptor. In `sockaddr_in` and `sockaddr_in6` the port stands in bytes 2 and 3 in network order, the
 * family in byte 0 (Linux, little-endian) or 1 (macOS), the address from byte 4 or 8.
 */
function readAddress(call: Libc["getsockname"], fd: number): string | undefined {
  const address = new Uint8Array(SOCKADDR_BYTES);
  const length = new Uint32Array([SOCKADDR_BYTES]);
  if (call(fd, address, length) !== 0) return undefined;
  const isIpv4 = address[IS_DARWIN ? 1 : 0] === AF_INET;
  const ip = isIpv4 ? address.subarray(4, 8) : address.subarray(8, 24);
  return `${formatIp(ip)} ${((address[2] ?? 0) << 8) | (address[3] ?? 0)}`;
}
