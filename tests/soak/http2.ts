/**
 * The soak of HTTP/2: a thousand tunnels with ten streams each, first at rest, then with everything that goes wrong on
 * either side; then nothing may be left, and memory must not have grown under steady load.
 */
// deno-lint-ignore-file no-console
import { Deadlines } from "../../core/deadlines.ts";
import { DEFAULT_LIMITS } from "../../core/limits.ts";
import { startHttp2Client } from "../../proxy/http2/client.ts";
import { H2 } from "../../proxy/http2/error.ts";
import type { Http2ClientConnection, Http2ClientStream } from "../../proxy/http2/types.ts";
import { ByteReader } from "../../proxy/streams/byte_reader.ts";
import { SocketStream } from "../../proxy/streams/socket_stream.ts";
import { openTunnel } from "../support/raw_peer.ts";
import { report, type Sample, SECONDS, sleep, type Stage, tunnelCount } from "./stage.ts";

const STREAMS = 10;
const LANES = 32;
const deadlines = new Deadlines();

/** One tunnel of the soak. */
interface Tunnel {
  readonly connection: Http2ClientConnection;
  readonly conn: Deno.Conn;
  readonly authority: string;
}

/** Runs it, and notes in the stage what did not hold. */
export async function soakHttp2(stage: Stage): Promise<void> {
  const { failures, sample } = stage;
  const total = await tunnelCount(1_000, 6);
  const before = await sample();
  report("before", before);

  const tunnels: Tunnel[] = [];
  await inLanes(total, async (i) => {
    const tunnel = await open(stage, i);
    tunnels.push(tunnel);
    if (await ask(tunnel, "/") !== 200) failures.push("a first request failed");
  });
  await sleep(1_000);
  const idle = await sample();
  report(`${tunnels.length} idle tunnels`, idle);
  const held: Http2ClientStream[] = [];
  await inLanes(tunnels.length, async (i) => {
    const tunnel = tunnels[i];
    for (let n = 0; tunnel && n < STREAMS; n++) {
      const stream = await request(tunnel, "/hold", false);
      await stream.response();
      held.push(stream);
    }
  });
  await sleep(1_000);
  const open10 = await sample();
  report(`${held.length} idle streams`, open10);
  await inLanes(held.length, async (i) => {
    const stream = held[i];
    if (!stream) return;
    if (i % 2 === 0) stream.reset(H2.CANCEL);
    else {
      await stream.write(new Uint8Array([1]), true);
      await drain(stream);
    }
  });

  const counts = await mixedTraffic(stage, tunnels);
  for (const { connection, conn } of tunnels) {
    connection.close();
    closeQuietly(conn);
  }
  await stage.checkEmpty(before);
  console.log(
    `${total} tunnels × ${STREAMS} streams, requests ${counts.requests}, faults ${counts.faults}, ` +
      `memory per idle tunnel ${perOne(before, idle, tunnels.length)} KiB, ` +
      `per idle stream ${perOne(idle, open10, held.length)} KiB`,
  );
}

function perOne(before: Sample, after: Sample, count: number): string {
  return ((after.rssKib - before.rssKib) / count).toFixed(1);
}

/** Everything that goes wrong, by chance, on tunnels that live on; now and then one is cut and replaced. */
async function mixedTraffic(stage: Stage, tunnels: Tunnel[]): Promise<{ requests: number; faults: number }> {
  const { failures, sample } = stage;
  const counts = { requests: 0, faults: 0 };
  const until = performance.now() + SECONDS * 1_000;
  let early: Sample | undefined;
  const lanes = Array.from({ length: LANES }, async (_, lane) => {
    const own = tunnels.flatMap((_, at) => at % LANES === lane ? [at] : []); // nobody else replaces these
    for (let i = 0; own.length > 0 && performance.now() < until; i++) {
      const at = own[i % own.length] ?? 0;
      try {
        if (Math.random() < 0.05) tunnels[at] = await replace(stage, tunnels[at], at);
        const tunnel = tunnels[at];
        if (!tunnel) continue;
        await Promise.all(Array.from({ length: STREAMS }, () => {
          if (Math.random() < 0.3) {
            counts.faults++;
            return fault(tunnel, failures);
          }
          counts.requests++;
          return ask(tunnel, "/");
        }));
      } catch {
        // The upstream's GOAWAY, or another lane's cut: the tunnel is replaced when its turn comes.
        tunnels[at] = await replace(stage, tunnels[at], at);
      }
    }
  });
  const watch = (async () => {
    while (performance.now() < until) {
      await sleep(Math.min(15_000, Math.max(0, until - performance.now())));
      const now = await sample();
      early ??= now;
      report("mixed traffic", now);
    }
  })();
  await Promise.all([...lanes, watch]);
  const late = await sample();
  if (early && late.rssKib > early.rssKib * 1.2 + 20_000) failures.push("memory grew under steady load");
  if (counts.requests === 0 || counts.faults === 0) failures.push("there was no traffic");
  return counts;
}

async function fault(tunnel: Tunnel, failures: string[]): Promise<void> {
  const [path = ""] = [["/stall"], ["/die"], ["/refuse"], ["/goaway"], ["/close"], ["/upload"]][
    Math.floor(Math.random() * 6)
  ] ?? [];
  const stream = await request(tunnel, path, path !== "/upload");
  try {
    if (path === "/upload") await stream.write(new Uint8Array(30_000));
    if (path === "/stall" || path === "/upload") {
      await sleep(20);
      stream.reset(H2.CANCEL);
      return;
    }
    const size = await drain(stream);
    if (path === "/die" && size !== undefined) failures.push("a truncated answer was completed");
  } finally {
    stream.reset(H2.CANCEL);
  }
}

async function open(stage: Stage, i: number): Promise<Tunnel> {
  const { httpPort, ports, caPem, tokenOf } = stage;
  const authority = `localhost:${ports.h2}`;
  const { conn: clear } = await openTunnel(httpPort, authority, tokenOf(i));
  const conn = await Deno.startTls(clear as Deno.TcpConn, {
    hostname: "localhost",
    caCerts: [caPem],
    alpnProtocols: ["h2"],
  });
  const stream = new SocketStream(conn);
  const connection = startHttp2Client({
    stream,
    reader: new ByteReader(stream),
    limits: DEFAULT_LIMITS,
    deadlines,
  });
  return { connection, conn, authority };
}

/** A new one in the place of one that is cut without a word. */
async function replace(stage: Stage, old: Tunnel | undefined, i: number): Promise<Tunnel> {
  if (old) {
    closeQuietly(old.conn);
    await old.connection.closed;
  }
  return await open(stage, i);
}

function request({ connection, authority }: Tunnel, path: string, end: boolean): Promise<Http2ClientStream> {
  return connection.openStream(() => ({
    method: end ? "GET" : "POST",
    scheme: "https",
    authority,
    path,
    protocol: undefined,
    fields: [],
  }), { end });
}

/** A whole request. @returns its status */
async function ask(tunnel: Tunnel, path: string): Promise<number> {
  const stream = await request(tunnel, path, true);
  const { status } = await stream.response();
  while (await stream.fill()) stream.consume(stream.available.length);
  return status;
}

/** Reads to the end. @returns how much that was; undefined when it was cut, or an answer of the proxy's own */
async function drain(stream: Http2ClientStream): Promise<number | undefined> {
  let size = 0;
  try {
    while (await stream.fill()) {
      size += stream.available.length;
      stream.consume(stream.available.length);
    }
    return stream.trailers ? size : undefined;
  } catch {
    return undefined;
  }
}

async function inLanes(count: number, work: (i: number) => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: LANES }, async (_, lane) => {
    for (let i = lane; i < count; i += LANES) await work(i);
  }));
}

function closeQuietly(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // Closed by the codec.
  }
}
