/** A SOCKS client that sends what a test wants and shows what comes back. */
import { dialRaw, type RawPeer } from "./raw_peer.ts";

/** How to speak to the proxy. */
export interface SocksOptions {
  readonly token?: string;
  /** Sends every byte on its own. */
  readonly isSlow?: boolean;
}

/** A SOCKS5 dialogue that was carried to its end. */
export interface SocksAnswer {
  readonly peer: RawPeer;
  /** The method that the proxy chose, 255 for none. */
  readonly method: number;
  /** The answer to username and password, 0 is yes. */
  readonly login: number | undefined;
  /** The reply code, 0 is yes; undefined when the connection ended before. */
  readonly code: number | undefined;
}

/** Asks for a tunnel by name (or by address when the host is one). */
export async function askSocks5(
  port: number,
  target: { readonly host: string; readonly port: number; readonly command?: number },
  { token, isSlow = false }: SocksOptions = {},
): Promise<SocksAnswer> {
  const peer = await dialRaw(port);
  const send = (bytes: readonly number[]) => sendBytes(peer, bytes, isSlow);
  await send(token === undefined ? [5, 1, 0] : [5, 2, 0, 2]);
  const method = (await readNumbers(peer, 2))[1] ?? 255;
  if (method === 255) return { peer, method, login: undefined, code: undefined };
  let login: number | undefined;
  if (method === 2) {
    await send([1, 5, ...codes("proxy"), (token ?? "").length, ...codes(token ?? "")]);
    login = (await readNumbers(peer, 2))[1];
    if (login !== 0) return { peer, method, login, code: undefined };
  }
  await send([5, target.command ?? 1, 0, ...address(target.host), target.port >> 8, target.port & 255]);
  const [, code] = await readNumbers(peer, 10);
  return { peer, method, login, code };
}

/** Asks in SOCKS4, or SOCKS4a for a name. Returns the reply code: 0x5a is yes. */
export async function askSocks4(
  port: number,
  target: { readonly host: string; readonly port: number; readonly command?: number },
  { isSlow = false }: SocksOptions = {},
): Promise<{ readonly peer: RawPeer; readonly code: number | undefined }> {
  const peer = await dialRaw(port);
  const ip = ipv4(target.host);
  await sendBytes(peer, [
    4,
    target.command ?? 1,
    target.port >> 8,
    target.port & 255,
    ...(ip ?? [0, 0, 0, 1]),
    ...codes("user"),
    0,
    ...(ip ? [] : [...codes(target.host), 0]),
  ], isSlow);
  const [, code] = await readNumbers(peer, 8);
  return { peer, code };
}

async function sendBytes(peer: RawPeer, bytes: readonly number[], isSlow: boolean): Promise<void> {
  if (!isSlow) return await peer.sendBytes(Uint8Array.from(bytes));
  for (const byte of bytes) await peer.sendBytes(Uint8Array.of(byte));
}

async function readNumbers(peer: RawPeer, count: number): Promise<number[]> {
  try {
    return codes(await peer.readBytes(count));
  } catch {
    return [];
  }
}

function address(host: string): number[] {
  const ip = ipv4(host);
  if (ip) return [1, ...ip];
  if (!host.includes(":")) return [3, host.length, ...codes(host)];
  const groups = host.replace(/^::/, `${"0:".repeat(10 - host.split(":").length)}`).split(":");
  return [4, ...groups.flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 255])];
}

function ipv4(host: string): number[] | undefined {
  return /^\d+\.\d+\.\d+\.\d+$/.test(host) ? host.split(".").map(Number) : undefined;
}

function codes(text: string): number[] {
  return [...text].map((letter) => letter.charCodeAt(0));
}
