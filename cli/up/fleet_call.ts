/**
 * Reading the audit log of another host of the fleet: one request on one connection, by TLS that trusts exactly the CA which
 * that host has named with proof. The public roots have no say, and neither has a proxy of the environment: the token is
 * shown to nobody else.
 *
 * `node:tls` because the runtime's own calls trust the public roots whatever they are told (measured).
 *
 * Not here: which hosts there are (`store/fleet/log_ways.ts`), and what their answers may hold (`api/fleet_answer.ts`).
 *
 * @module
 */
import { connect, type TLSSocket } from "node:tls";
import { messageOf, ProxyError } from "../../core/errors.ts";
import { isIpLiteral, parseAuthority } from "../../core/host_port.ts";
import { DEFAULT_LIMITS, FLEET_LOG_LIMITS } from "../../core/limits.ts";
import { cutNodeSocket } from "../../proxy/egress/tls/certificate_dial.ts";
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
  readonly #socket: TLSSocket;
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
    this.#socket = connect({
      host: at.host,
      port: at.port,
      ...(isIpLiteral(at.host) ? {} : { servername: at.host }), // RFC 6066 §3: an address is no name for SNI
      ca: [host.caPem],
      ALPNProtocols: ["http/1.1"],
      rejectUnauthorized: true,
    });
  }

  /** Ends it in whatever state. */
  cut(): void {
    const { remoteAddress, remotePort } = this.#socket;
    if (remoteAddress === undefined || remotePort === undefined) this.#socket.destroy();
    else cutNodeSocket(this.#socket, { hostname: remoteAddress, port: remotePort });
  }

  async *read(target: string): AsyncGenerator<Uint8Array> {
    const stream = new NodeStream(this.#socket);
    const reader = new ByteReader(stream);
    const head = await this.#within(this.#times.openMs, async () => {
      await this.#handshake();
      await writeAll(stream, this.#request(target));
      return await readResponseHead(reader, DEFAULT_LIMITS);
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
    if (/certificate|issuer|altname|self.signed/i.test(text)) {
      return unreachable("its certificate is not one of the CA that it has named");
    }
    if (/ENOTFOUND|dns|lookup|getaddrinfo/i.test(text)) return unreachable("its name has no address");
    if (/unreachable|EHOSTUNREACH|ENETUNREACH/i.test(text)) return unreachable("no route to it");
    return unreachable("the connection broke");
  }

  async #handshake(): Promise<void> {
    const socket = this.#socket;
    await new Promise<void>((resolve, reject) => {
      socket.once("secureConnect", resolve);
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("closed in the handshake")));
    });
    if (!socket.authorized) throw unreachable("its certificate is not one of the CA that it has named");
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
