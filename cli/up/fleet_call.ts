/**
 * Reading the audit log of another host of the fleet: one request on one connection, by TLS that trusts exactly the CA which
 * that host has named with proof. The public roots have no say, and neither has a proxy of the environment: the token is
 * shown to nobody else.
 *
 * `node:tls` because it tells whose certificate was shown: the runtime's own calls trust the public roots whatever they are
 * told. The certificate must bear the signature of that CA, which is the first certificate of its chain.
 *
 * Not here: which hosts there are (`store/fleet/log_ways.ts`), and what their answers may hold (`api/fleet_answer.ts`).
 *
 * @module
 */
import { connect as dialTcp, type Socket } from "node:net";
import { connect as startTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import { messageOf, ProxyError } from "../../core/errors.ts";
import { isIpLiteral, parseAuthority } from "../../core/host_port.ts";
import { DEFAULT_LIMITS, FLEET_LOG_LIMITS } from "../../core/limits.ts";
import { cutHandshake, isSignedByOne } from "../../core/node_tls.ts";
import { responseBody } from "../../proxy/http1/body.ts";
import { readResponseHead } from "../../proxy/http1/head_reader.ts";
import { formatRequestHead } from "../../proxy/http1/head_writer.ts";
import { makeField } from "../../proxy/message/fields.ts";
import type { ResponseHead } from "../../proxy/message/message.ts";
import { ByteReader, writeAll } from "../../proxy/streams/byte_reader.ts";
import { NodeStream } from "../../proxy/streams/node_stream.ts";
import type { LogWay } from "../../store/fleet/log_proof.ts";

/** Whom to ask, and with what. */
export type AskedHost = LogWay & { readonly token: string };

/** Tests pass shorter ones. */
export type CallTimes = Readonly<Record<"openMs" | "silenceMs", number>>;

/**
 * The bytes of the answer's body as they come.
 *
 * @throws ProxyError `api.unreachable`, `api.refused`, or what `signal` aborts with
 */
export async function* readHostLog(
  host: AskedHost,
  query: URLSearchParams,
  { signal, times = FLEET_LOG_LIMITS }: { readonly signal: AbortSignal; readonly times?: CallTimes },
): AsyncGenerator<Uint8Array> {
  const call = new HostCall(host, times);
  const cut = () => call.cut();
  signal.addEventListener("abort", cut, { once: true });
  try {
    signal.throwIfAborted();
    yield* call.read(`/proxy/v1/audit?${query}`);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw call.failure(error);
  } finally {
    signal.removeEventListener("abort", cut);
    cut();
  }
}

class HostCall {
  readonly #host: AskedHost;
  readonly #times: CallTimes;
  readonly #authority: string;
  readonly #tcp: Socket;
  readonly #tlsOptions: ConnectionOptions;
  #tls: TLSSocket | undefined;
  /** In the middle of the handshake. */
  #isShaking = false;
  /** Why it was cut, when it was by this program. */
  #late: string | undefined;

  constructor(host: AskedHost, times: CallTimes) {
    this.#host = host;
    this.#times = times;
    const at = parseAuthority(host.origin.replace(/^https:\/\//, ""));
    if (!host.origin.startsWith("https://") || !at || !host.caPem.includes("BEGIN CERTIFICATE")) {
      throw unreachable("where its API is, is no https URL with a CA");
    }
    this.#authority = host.origin.slice("https://".length);
    this.#tlsOptions = {
      // RFC 6066 §3: an address is no name for SNI; the certificate has to be for it all the same.
      ...(isIpLiteral(at.host) ? { host: at.host } : { servername: at.host }),
      ca: [host.caPem],
      ALPNProtocols: ["http/1.1"],
      rejectUnauthorized: true,
    };
    this.#tcp = dialTcp(at.port, at.host);
    this.#tcp.on("error", () => {}); // whoever waits for it is told
  }

  /** Ends it in whatever state. */
  cut(): void {
    if (this.#isShaking && this.#tls) return cutHandshake(this.#tls, this.#tcp);
    this.#tls?.destroy();
    this.#tcp.destroy();
  }

  async *read(target: string): AsyncGenerator<Uint8Array> {
    const { reader, head } = await this.#within(this.#times.openMs, async () => {
      const stream = new NodeStream(await this.#connect());
      await writeAll(stream, this.#request(target));
      const reader = new ByteReader(stream);
      return { reader, head: await readResponseHead(reader, DEFAULT_LIMITS) };
    });
    checkHead(head);
    const body = responseBody(head, "GET", DEFAULT_LIMITS);
    body.recordContent?.();
    while (!body.done) {
      const bytes = reader.available;
      const count = body.take(bytes);
      if (count > 0) {
        const spans = body.content ?? [{ start: 0, end: count }];
        for (const { start, end, isTrailer } of spans) if (!isTrailer) yield bytes.subarray(start, end);
        reader.consume(count);
      } else if (!await this.#within(this.#times.silenceMs, () => reader.fill())) {
        throw unreachable("its answer broke off");
      }
    }
  }

  /** What to say of an error: nothing that the host itself has said. */
  failure(error: unknown): ProxyError {
    if (this.#late !== undefined) return unreachable(this.#late);
    if (error instanceof ProxyError) return error;
    const text = messageOf(error);
    if (/refused/i.test(text)) return unreachable("connection refused");
    if (/certificate|issuer|altname|self.signed/i.test(text)) return unreachable(WRONG_CA);
    if (/ENOTFOUND|dns|lookup|getaddrinfo/i.test(text)) return unreachable("its name has no address");
    if (/unreachable|EHOSTUNREACH|ENETUNREACH/i.test(text)) return unreachable("no route to it");
    return unreachable("the connection broke");
  }

  /** Resolves when the host has shown that it is the one. */
  async #connect(): Promise<TLSSocket> {
    await isThere(this.#tcp, "connect");
    this.#tcp.setNoDelay(true);
    const tls = this.#tls = startTls({ ...this.#tlsOptions, socket: this.#tcp });
    tls.on("error", () => {});
    this.#isShaking = true;
    await isThere(tls, "secureConnect").finally(() => this.#isShaking = false);
    if (!tls.authorized || !isSignedByOne([this.#host.caPem], tls)) throw unreachable(WRONG_CA);
    return tls;
  }

  #request(target: string): Uint8Array {
    const fields = [
      ["Host", this.#authority],
      ["Authorization", `Bearer ${this.#host.token}`],
      ["Accept", "application/x-ndjson"],
      ["Accept-Encoding", "identity"],
      ["User-Agent", "slicer-proxy"],
      ["Connection", "close"],
    ] as const;
    return formatRequestHead({
      method: "GET",
      target,
      version: "HTTP/1.1",
      fields: fields.map(([name, value]) => makeField(name, value)),
    });
  }

  async #within<T>(ms: number, work: () => Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      this.#late = `no answer within ${ms / 1_000} s`;
      this.cut();
    }, ms);
    try {
      return await work();
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Resolves at the event; rejects when the socket ends before. */
function isThere(socket: Socket, event: "connect" | "secureConnect"): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, resolve);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("the connection was closed")));
  });
}

const WRONG_CA = "its certificate is not one of the CA that it has named";

/** @throws ProxyError `api.refused` for an answer that is no log */
function checkHead({ status, fields }: ResponseHead): void {
  if (status === 401) {
    throw refusal("it does not take this host's token: it has another seal key, or an older version");
  }
  if (status === 421) throw refusal("it does not answer to the name of --api-advertise");
  if (status === 503) throw refusal("it has too many readers already");
  if (status !== 200) throw refusal(`it answered with status ${status}`);
  const type = fields.find(({ key }) => key === "content-type")?.value;
  if (type !== "application/x-ndjson" || fields.some(({ key }) => key === "content-encoding")) {
    throw refusal("what it answers is no log");
  }
}

function refusal(state: string): ProxyError {
  return new ProxyError("api.refused", `Cannot read the log of a host: ${state}`);
}

function unreachable(state: string): ProxyError {
  return new ProxyError("api.unreachable", `Cannot read the log of a host: ${state}`);
}
