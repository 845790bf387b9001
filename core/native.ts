/**
 * The only calls below the runtime. Deno has no API for three things that this program cannot do without for long:
 * sockets accepted by a TLS listener without Nagle's delay (a token stream would stall 40 ms at a time), ending a TLS
 * handshake whose peer is silent (closing it keeps the descriptor until the peer closes), and ignoring SIGUSR1, which
 * opens a debugger. Each is optional: where the C library cannot be opened, the caller goes on without.
 *
 * Needs `--allow-ffi` for the paths of {@linkcode LIBC_PATHS}.
 *
 * @module
 */

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
  signal: { parameters: ["i32", "pointer"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** socket(7) and tcp(7); the BSD values of macOS differ. */
const IS_DARWIN = Deno.build.os === "darwin";
const SOL_SOCKET = IS_DARWIN ? 0xffff : 1;
const SO_ACCEPTCONN = IS_DARWIN ? 0x0002 : 30;
const SIGUSR1 = IS_DARWIN ? 30 : 10;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const SHUT_RDWR = 2;
const ON = new Uint8Array(new Int32Array([1]).buffer);
/** No descriptor beyond this is looked at; the search stops at the first match, which is nearly always low. */
const HIGHEST_DESCRIPTOR = 65_536;
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
interface Address {
  readonly hostname: string;
  readonly port: number;
}

/**
 * Sets TCP_NODELAY on a listener; accepted sockets inherit it (Linux, BSD). To be called right after the listener was
 * opened.
 *
 * @returns false where that is not possible: writes are then only coalesced
 */
export function setListenerNoDelay({ port }: Address): boolean {
  const c = libc();
  if (!c) return false;
  const value = new Uint8Array(4);
  const length = new Uint32Array([4]);
  const fd = findDescriptor(c, (candidate) => {
    length[0] = 4;
    return c.getsockopt(candidate, SOL_SOCKET, SO_ACCEPTCONN, value, length) === 0 && value.some((byte) =>
      byte !== 0
    ) &&
      portOf(c.getsockname, candidate) === port;
  });
  return fd !== undefined && c.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, ON, 4) === 0;
}

/**
 * Ends a TCP connection in both directions below the runtime, so that a pending TLS handshake fails and its descriptor
 * can be freed by closing.
 *
 * @returns false where that is not possible: the descriptor stays until the peer closes
 */
export function shutdownSocket(local: Address, remote: Address): boolean {
  const c = libc();
  if (!c) return false;
  const fd = findDescriptor(
    c,
    (candidate) =>
      portOf(c.getsockname, candidate) === local.port && portOf(c.getpeername, candidate) === remote.port,
  );
  return fd !== undefined && c.shutdown(fd, SHUT_RDWR) === 0;
}

/** Makes the process ignore SIGUSR1, by which the runtime would open V8's inspector without authentication. */
export function ignoreDebuggerSignal(): boolean {
  const c = libc();
  if (!c) return false;
  c.signal(SIGUSR1, Deno.UnsafePointer.create(1n)); // SIG_IGN
  return true;
}

/** The first open descriptor that `isIt`, newest first: sockets just made are near the lowest free number. */
function findDescriptor(c: Libc, isIt: (fd: number) => boolean): number | undefined {
  const free = c.dup(0);
  if (free < 0) return undefined;
  c.close(free);
  for (let fd = free - 1; fd > 2; fd--) if (isIt(fd)) return fd;
  for (let fd = free + 1; fd < HIGHEST_DESCRIPTOR; fd++) if (isIt(fd)) return fd;
  return undefined;
}

/** sin_port and sin6_port both stand in bytes 2 and 3, in network order, on Linux and macOS. */
function portOf(call: Libc["getsockname"], fd: number): number {
  const address = new Uint8Array(SOCKADDR_BYTES);
  const length = new Uint32Array([SOCKADDR_BYTES]);
  return call(fd, address, length) === 0 ? ((address[2] ?? 0) << 8) | (address[3] ?? 0) : -1;
}
