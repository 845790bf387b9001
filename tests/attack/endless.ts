/** An upstream whose answers never end, as fast as they are taken: a worker, which tells its port. */
import { RawPeer } from "../support/raw_peer.ts";

const BODY_BYTES = 1e14;
const PIECE = new Uint8Array(262_144);

async function serve(peer: RawPeer): Promise<void> {
  await peer.readHead();
  await peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY_BYTES}\r\n\r\n`);
  for (let left = BODY_BYTES; left > 0; left -= PIECE.length) await peer.sendBytes(PIECE);
}

const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
(self as unknown as { postMessage(port: number): void }).postMessage((listener.addr as Deno.NetAddr).port);
for await (const conn of listener) {
  const peer = new RawPeer(conn);
  serve(peer).catch(() => {}).finally(() => peer[Symbol.dispose]());
}
