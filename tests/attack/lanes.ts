/** Loops of attackers: bounded in number and in time, from source addresses of their own. */
import { Buffer } from "node:buffer";
import net from "node:net";
import { basic } from "../support/raw_peer.ts";
import { sourceOf, type Tally, type Target } from "./target.ts";

/** How often, and by how many at once. */
export interface Pace {
  readonly lanes: number;
  /** Of all lanes together. */
  readonly perSecond: number;
  /** Of all lanes together, 20,000 when left out. */
  readonly most?: number;
}

/** Calls `once` at that pace until the target's time is over. What it throws is the proxy's answer, and no failure. */
export async function repeat(
  { seconds }: Pick<Target, "seconds">,
  { lanes, perSecond, most = 20_000 }: Pace,
  once: (lane: number, nth: number) => Promise<void>,
): Promise<Tally> {
  const until = performance.now() + seconds * 1_000;
  const everyMs = 1_000 * lanes / perSecond;
  let tries = 0;
  const run = async (lane: number) => {
    for (let next = performance.now(); performance.now() < until && tries < most; next += everyMs) {
      await pause(next - performance.now());
      await once(lane, tries++).catch(() => {});
    }
  };
  await Promise.all(Array.from({ length: lanes }, (_, lane) => run(lane)));
  return { tries };
}

export function pause(ms: number): Promise<void> {
  return ms <= 0 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, ms));
}

/** A socket from the lane's own address. Its errors end it, silently. Rejects when it cannot connect within 5 seconds. */
export function dial(port: number, lane: number): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: "127.0.0.1", localAddress: sourceOf(lane) });
    const timer = setTimeout(() => socket.destroy(new Error("no connection")), 5_000);
    socket.on("error", reject); // stays, so that a later error is handled too
    socket.on("close", () => clearTimeout(timer));
    socket.once("connect", () => {
      clearTimeout(timer);
      resolve(socket);
    });
  });
}

/** Sends bytes and reads until the other side closes, `enough` matches what came, or `ms` pass. Closes. */
export async function ask(
  port: number,
  lane: number,
  { bytes, enough, ms = 5_000 }: {
    readonly bytes: string | Uint8Array;
    readonly enough?: RegExp;
    readonly ms?: number;
  },
): Promise<string> {
  const socket = await dial(port, lane);
  try {
    return await new Promise<string>((resolve) => {
      let text = "";
      const timer = setTimeout(() => resolve(text), ms);
      const end = () => {
        clearTimeout(timer);
        resolve(text);
      };
      socket.on("data", (piece: Uint8Array) => {
        text += Buffer.from(piece).toString("latin1");
        if (text.length > 1 << 20 || enough?.test(text)) end();
      });
      socket.on("close", end);
      socket.on("end", end);
      socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
    });
  } finally {
    socket.destroy();
  }
}

/** The answer's head has come. */
export const HEAD = /\r\n\r\n/;

/** An absolute-form request in clear; without a token when `token` is empty. */
export function request(
  host: string,
  { method = "GET", path = "/", token = "", fields = [] as readonly string[], body = "" } = {},
): string {
  const lines = [
    `${method} http://${host}${path} HTTP/1.1`,
    `Host: ${host}`,
    ...(token === "" ? [] : [`Proxy-Authorization: ${basic(token)}`]),
    ...fields,
  ];
  return `${lines.join("\r\n")}\r\n\r\n${body}`;
}
