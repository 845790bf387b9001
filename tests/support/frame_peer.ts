/** An HTTPS upstream of bare HTTP/2 frames: it does what no library would, and sees every frame that the proxy sends. */
import { Buffer } from "node:buffer";
import { HpackDecoder } from "../../proxy/http2/hpack.ts";
import { formatFrame, parseFrameLine, PREFACE, splitFrames } from "../wire/http2/frame_text.ts";
import { upstreamAuthority } from "./test_authority.ts";

/** One connection of it. */
export class FramePeer {
  readonly #conn: Deno.Conn;
  readonly #decoder = new HpackDecoder({ maxBytes: 1_048_576, maxFields: 1_000 });
  #bytes: Buffer = Buffer.alloc(0);
  #hasPreface = false;
  #next = 0;
  /** Every frame so far, as `frame_text.ts` writes them; `SETTINGS`, their ACKs and WINDOW_UPDATEs too. */
  readonly seen: string[] = [];
  /** Keys of fields that must be kept out of compression tables (RFC 7541 §7.1.3). */
  readonly sensitive: string[] = [];

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  /** Sends frames, each a line. */
  async send(...lines: readonly string[]): Promise<void> {
    const bytes = Buffer.concat(lines.map(parseFrameLine));
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  /** The next frame that matches; those before it are skipped. Throws when the connection ends before. */
  async next(pattern: RegExp): Promise<string> {
    for (;;) {
      while (this.seen.length <= this.#next) await this.#read();
      const line = this.seen[this.#next++] ?? "";
      if (pattern.test(line)) return line;
    }
  }

  /** Reads to the end of the connection. */
  async end(): Promise<void> {
    try {
      for (;;) await this.#read();
    } catch {
      // The end.
    }
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(65_536);
    const count = await this.#conn.read(buffer);
    if (count === null) throw new Error(`the connection ended; seen:\n${this.seen.join("\n")}`);
    this.#bytes = Buffer.concat([this.#bytes, buffer.subarray(0, count)]);
    if (!this.#hasPreface && this.#bytes.length >= PREFACE.length) {
      this.#bytes = this.#bytes.subarray(PREFACE.length);
      this.#hasPreface = true;
    }
    const { frames, rest } = this.#hasPreface ? splitFrames(this.#bytes) : { frames: [], rest: this.#bytes };
    this.#bytes = rest;
    for (const frame of frames) {
      const fields = frame.type === 1 ? this.#decoder.decode(frame.payload) ?? [] : [];
      this.sensitive.push(...fields.filter(({ isSensitive }) => isSensitive).map(({ key }) => key));
      this.seen.push(formatFrame(frame, fields.map(({ key, value }) => `${key}=${value}`)));
    }
  }
}

export interface FrameUpstream extends AsyncDisposable {
  readonly port: number;
  /** The connections, in the order in which they came. */
  readonly peers: readonly FramePeer[];
}

/** Starts it for `up.test`. SETTINGS are the script's business; the connection is closed when the script ends. */
export async function startFrameUpstream(
  script: (peer: FramePeer, index: number) => Promise<void>,
): Promise<FrameUpstream> {
  const { certPem: cert, keyPem: key } = await (await upstreamAuthority()).issue(["up.test"]);
  const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key, alpnProtocols: ["h2"] });
  const peers: FramePeer[] = [];
  const open = new Set<Deno.Conn>();
  const running = new Set<Promise<void>>();
  const accepting = (async () => {
    for await (const conn of listener) {
      open.add(conn);
      const peer = new FramePeer(conn);
      const run = conn.handshake()
        .then(() => script(peer, peers.push(peer) - 1))
        .catch(() => {}) // the proxy or the test has closed it
        .finally(() => {
          running.delete(run);
          if (open.delete(conn)) conn.close();
        });
      running.add(run);
    }
  })().catch(() => {});
  return {
    port: listener.addr.port,
    peers,
    [Symbol.asyncDispose]: async () => {
      listener.close();
      for (const conn of open) conn.close();
      open.clear();
      await accepting;
      await Promise.all(running);
    },
  };
}
