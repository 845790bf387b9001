/** A tunnel of an attacker's, inspected, in which HTTP/2 is spoken. */
import tls from "node:tls";
import { basic } from "../support/raw_peer.ts";
import {
  bytes,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  headers,
  PREFACE,
  SETTINGS,
} from "./http2_frames.ts";
import { dial, pause } from "./lanes.ts";
import type { Target } from "./target.ts";

/** `:status: 200` of the static table (RFC 7541 appendix A). It may stand behind a change of the table's size. */
const INDEXED_200 = 0x88;

/** A tunnel in which HTTP/2 has begun. What the proxy sends is dropped. @throws Error when HTTP/2 is not what was agreed on */
export async function openHttp2(target: Target, lane: number): Promise<tls.TLSSocket> {
  const tunnel = await dial(target.httpPort, lane);
  await new Promise<void>((resolve, reject) => {
    tunnel.once("data", (piece: Uint8Array) => {
      const answer = new TextDecoder().decode(piece);
      if (answer.startsWith("HTTP/1.1 200")) resolve();
      else reject(new Error(answer.slice(0, 80)));
    });
    tunnel.once("close", () => reject(new Error("closed")));
    const { http2Host: host, token } = target;
    tunnel.write(`CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${basic(token)}\r\n\r\n`);
  });
  return await new Promise<tls.TLSSocket>((resolve, reject) => {
    const socket = tls.connect({
      socket: tunnel,
      servername: "localhost",
      ca: target.caPem,
      ALPNProtocols: ["h2"],
    });
    socket.on("error", reject); // stays, so that a later error is handled too
    socket.on("close", () => reject(new Error("closed")));
    socket.once("secureConnect", () => {
      if (socket.alpnProtocol !== "h2") return reject(new Error("no HTTP/2"));
      socket.on("data", () => {});
      socket.write(bytes(PREFACE, frame(SETTINGS, 0, 0, [])));
      resolve(socket);
    });
  });
}

/** Waits until the bytes are on their way, the socket has ended, or a second has passed: a deaf peer's writes hang. */
export async function written(socket: tls.TLSSocket, piece: Uint8Array): Promise<void> {
  await Promise.race([
    new Promise<void>((resolve) => {
      if (socket.destroyed) return resolve();
      socket.once("close", resolve);
      socket.write(piece, () => {
        socket.off("close", resolve);
        resolve();
      });
    }),
    pause(1_000),
  ]);
}

/** One fair request. @throws Error when it is not answered with 200: then the attack would meet nothing */
export async function proveAdmitted(target: Target): Promise<void> {
  const block = headers({ method: "GET", path: "/fair", authority: target.http2Host });
  const socket = await openHttp2(target, 0);
  try {
    let received = bytes();
    socket.on("data", (piece: Uint8Array) => received = bytes(received, piece));
    socket.write(frame(HEADERS, END_HEADERS | END_STREAM, 1, block));
    for (let nth = 0; nth < 100 && !headerBlock(received); nth++) await pause(50);
    const [first, second] = headerBlock(received) ?? [];
    if (first !== INDEXED_200 && second !== INDEXED_200) {
      throw new Error("the rule admits nothing over HTTP/2");
    }
  } finally {
    socket.destroy();
  }
}

/** The first header block, once it is there. */
function headerBlock(received: Uint8Array): Uint8Array | undefined {
  for (let at = 0; at + 9 < received.length;) {
    const [high = 0, middle = 0, low = 0, type] = received.subarray(at, at + 4);
    const end = at + 9 + (high << 16 | middle << 8 | low);
    if (type === HEADERS) return received.subarray(at + 9, end);
    at = end;
  }
  return undefined;
}
