/**
 * Upstreams that say exactly what they saw. They read bytes themselves, with none of the proxy's code, so that a mistake of
 * its reader cannot hide.
 */
import { RawPeer } from "./raw_peer.ts";
import { upstreamAuthority } from "./test_authority.ts";

/** What reached the upstream. */
export interface SeenRequest {
  readonly requestLine: string;
  /** Every header line, in order, as sent. */
  readonly headers: readonly string[];
  readonly body: string;
}

export interface Upstream extends AsyncDisposable {
  readonly port: number;
  /** Connections accepted so far. */
  readonly connections: number;
  /** Requests seen by an echo upstream. */
  readonly seen: SeenRequest[];
}

export interface UpstreamOptions {
  /** Names of the certificate; without any the upstream speaks clear HTTP. */
  readonly names?: readonly string[];
}

/** Runs `handle` for every connection. What it throws ends that connection only. */
export async function startRawUpstream(
  handle: (peer: RawPeer, index: number) => Promise<void>,
  { names = ["up.test"] }: UpstreamOptions = {},
): Promise<Upstream> {
  const listener = names.length > 0
    ? await listenTls(names)
    : Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open = new Set<Deno.Conn>();
  let connections = 0;
  const work = new Set<Promise<void>>();
  const accepting = (async () => {
    for (;;) {
      let conn: Deno.Conn;
      try {
        conn = await listener.accept();
      } catch {
        return;
      }
      open.add(conn);
      const index = connections++;
      const task = handle(new RawPeer(conn), index).catch(() => {}).finally(() => {
        open.delete(conn);
        work.delete(task);
        closeQuietly(conn);
      });
      work.add(task);
    }
  })();
  return {
    port: (listener.addr as Deno.NetAddr).port,
    get connections() {
      return connections;
    },
    seen: [],
    [Symbol.asyncDispose]: async () => {
      listener.close();
      for (const conn of open) closeQuietly(conn);
      await accepting;
      await Promise.all(work);
    },
  };
}

/** Answers every request with a JSON account of it, keep-alive; `/status/NNN` answers with that status. */
export async function startEchoUpstream(options: UpstreamOptions = {}): Promise<Upstream> {
  const seen: SeenRequest[] = [];
  const upstream = await startRawUpstream(async (peer) => {
    for (;;) {
      const request = await readRequest(peer);
      if (!request) return;
      seen.push(request);
      const body = JSON.stringify(request);
      const status = /\/status\/(\d{3})/.exec(request.requestLine)?.[1] ?? "200";
      await peer.send(
        `HTTP/1.1 ${status} OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
    }
  }, options);
  return Object.defineProperty(upstream, "seen", { value: seen });
}

/** The next request, or undefined at the end of the connection. */
export async function readRequest(peer: RawPeer): Promise<SeenRequest | undefined> {
  let head: string;
  try {
    head = await peer.readHead();
  } catch {
    return undefined;
  }
  const [requestLine = "", ...headers] = head.slice(0, -4).split("\r\n");
  const length = headers.find((line) => /^content-length:/i.test(line))?.split(":")[1];
  let body = "";
  if (length !== undefined) body = await peer.readBytes(Number(length));
  else if (headers.some((line) => /^transfer-encoding: *chunked/i.test(line))) {
    for (;;) {
      const sizeLine = await peer.readUntil("\r\n");
      const size = parseInt(sizeLine, 16);
      body += sizeLine + await peer.readBytes(size === 0 ? 0 : size + 2);
      if (size > 0) continue;
      for (let line = ""; line !== "\r\n";) body += line = await peer.readUntil("\r\n");
      break;
    }
  }
  return { requestLine, headers, body };
}

async function listenTls(names: readonly string[]): Promise<Deno.TlsListener> {
  const { certPem, keyPem } = await (await upstreamAuthority()).issue(names);
  return Deno.listenTls({
    hostname: "127.0.0.1",
    port: 0,
    cert: certPem,
    key: keyPem,
    alpnProtocols: ["http/1.1"],
  });
}

function closeQuietly(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // closed already
  }
}
