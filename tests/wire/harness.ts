/**
 * The real engine from `serveSession()` on, between a client and upstreams in memory: policy, framing, forwarding, pool and
 * audit are the program's own; sockets, TLS and name resolution are not there.
 *
 * @module
 */
import { AskBook } from "../../proxy/decide/ask_book.ts";
import { Meters } from "../../proxy/records/meters.ts";
import { systemClock } from "../../core/clock.ts";
import { Deadlines } from "../../core/deadlines.ts";
import { ProxyError } from "../../core/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../../core/limits.ts";
import { formatStored } from "../../policy/audit_record.ts";
import { Admission } from "../../proxy/accept/admission.ts";
import { AuditLog } from "../../proxy/records/audit_log.ts";
import { ByteReader } from "../../proxy/streams/byte_reader.ts";
import type { ClientStream, ProxyContext } from "../../proxy/context.ts";
import type { Mode } from "../../policy/mode.ts";
import { UpstreamClocks } from "../../secrets/aws/clocks.ts";
import { Grants } from "../../proxy/grants.ts";
import { Interceptor } from "../../proxy/tls/loopback.ts";
import { handleConnect } from "../../proxy/tunnels/connect.ts";
import { linger, type OpenSession } from "../../proxy/exchange.ts";
import type { TunnelOrigin } from "../../proxy/message/target.ts";
import { serveSession } from "../../proxy/accept/session.ts";
import { Dialler, type DialTarget } from "../../proxy/egress/dialler.ts";
import type { UpstreamConnection } from "../../proxy/egress/upstream_connection.ts";
import { Http2Pool } from "../../proxy/egress/pools/http2_pool.ts";
import { UpstreamPool } from "../../proxy/egress/pools/pool.ts";
import { TestPolicy } from "../support/test_policy.ts";
import { makePipe, type PipeEnd } from "./pipe.ts";

/** Where every client connection comes from. */
const FROM = { source: "192.0.2.1", origin: { src: "192.0.2.1:40000", proxyPort: 3128 } };

/** The token of the client `one`. */
export const TOKEN = "spi_test_token_of_client_one";

/** What an upstream does with the `index`th connection that the proxy opens. */
export type UpstreamHandler = (stream: PipeEnd, index: number) => void;

export interface EngineOptions {
  readonly limits?: Partial<Limits>;
  readonly mode?: Mode;
  /** Without one every dial is refused. */
  readonly onDial?: UpstreamHandler;
  /** Bytes that wait at most on the way to an upstream that does not read, and back. */
  readonly upstreamCapacity?: number;
}

/** An engine without sockets. Dispose it: bugs that it reported are thrown then. */
export class Engine implements AsyncDisposable {
  readonly policy = new TestPolicy();
  readonly context: ProxyContext & { readonly audit: AuditLog };
  readonly lines: string[] = [];
  readonly bugs: unknown[] = [];
  readonly dials: DialTarget[] = [];
  #sessions: Promise<void>[] = [];

  constructor({ limits: given, mode = "strict", onDial, upstreamCapacity }: EngineOptions = {}) {
    this.policy.addClient("one", TOKEN);
    const limits: Limits = { ...DEFAULT_LIMITS, ...given };
    const clock = systemClock();
    const deadlines = new Deadlines();
    const admission = new Admission(limits);
    const grants = new Grants(this.policy);
    const now = () => clock.now();
    this.context = {
      onEcho: "mask",
      policy: this.policy,
      certificates: {
        forHost: noCertificate,
        isWarm: () => false,
        forProxy: noCertificate,
        forTrust: noCertificate,
      },
      mode,
      socksAuth: "required",
      cleartextSecrets: "never", // its dialler knows no addresses
      explain: "connect",
      logQuery: false,
      limits,
      clock,
      deadlines,
      admission,
      grants,
      resolveRecords: () => Promise.resolve([]),
      meters: new Meters(),
      asks: new AskBook(),
      awsClocks: new UpstreamClocks(),
      interceptor: new Interceptor({ limits, deadlines, now }),
      dialler: new PipeDialler({ limits, deadlines, admission }, (target) => {
        this.dials.push(target);
        return onDial;
      }, upstreamCapacity),
      pool: new UpstreamPool({ limits, deadlines, grants }),
      http2Pool: new Http2Pool({ limits, deadlines, grants }),
      protocols: undefined,
      audit: new AuditLog({
        now,
        deadlines,
        sink: {
          write: (records) => {
            this.lines.push(
              ...records.map((record) => formatStored({ ...record, origin: undefined }, "text")),
            );
            return Promise.resolve();
          },
        },
      }),
      reportBug: (error) => this.bugs.push(error),
    };
  }

  /** A client connection: on the proxy port, or inside a tunnel that is open already. */
  connect(tunnel?: TunnelOrigin): PipeEnd {
    const [client, stream] = makePipe();
    this.serve(stream, tunnel);
    return client;
  }

  /** Serves a stream of the caller's. */
  serve(stream: ClientStream, tunnel?: TunnelOrigin): void {
    const client = this.policy.clientByToken(TOKEN);
    if (!client) throw new TypeError("the client is gone");
    this.#sessions.push(serveRequests({
      stream,
      reader: new ByteReader(stream),
      tunnel: tunnel && { ...tunnel, client },
      state: { ...FROM, isIdle: false, isStopping: false, identify: () => true },
      origin: FROM.origin,
      context: this.context,
    }));
  }

  /** Waits for every session, then ends what is left. The test ends its clients before. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#sessions);
    const { pool, grants, audit, interceptor } = this.context;
    pool.close();
    grants.close();
    await interceptor.close();
    await audit[Symbol.asyncDispose]();
    if (this.bugs.length > 0) throw this.bugs[0];
  }
}

/** What `connection.ts` does once it knows that a connection speaks HTTP. */
async function serveRequests(session: OpenSession): Promise<void> {
  for (;;) {
    const connect = await serveSession(session);
    if (!connect) return;
    const next = await handleConnect(connect);
    if (typeof next === "function") return await next();
    if (next === "close") await linger(session);
    if (next === "close") session.stream.close();
    if (next !== "keep") return;
  }
}

class PipeDialler extends Dialler {
  readonly #accept: (target: DialTarget) => UpstreamHandler | undefined;
  readonly #capacity: number | undefined;
  #count = 0;

  constructor(
    options: Pick<ConstructorParameters<typeof Dialler>[0], "limits" | "deadlines" | "admission">,
    accept: (target: DialTarget) => UpstreamHandler | undefined,
    capacity: number | undefined,
  ) {
    super({
      ...options,
      resolve: () => Promise.reject(new TypeError("nothing is resolved here")),
      addresses: { denyCidrs: [], allowCidrs: [] },
      caCertsFor: () => [],
      ownAddresses: () => [],
    });
    this.#accept = accept;
    this.#capacity = capacity;
  }

  override dial(target: DialTarget, signal: AbortSignal): Promise<UpstreamConnection> {
    if (signal.aborted) return Promise.reject(signal.reason);
    const handle = this.#accept(target);
    if (!handle) {
      return Promise.reject(
        new ProxyError("upstream.refused", "Cannot connect: connection refused", {
          reason: "connect-refused",
        }),
      );
    }
    const [stream, upstream] = makePipe(this.#capacity);
    handle(upstream, this.#count++);
    return Promise.resolve({
      stream,
      reader: new ByteReader(stream),
      isReused: false,
      dialledAt: performance.now(),
      protocol: "http/1.1",
    });
  }
}

function noCertificate(): Promise<never> {
  return Promise.reject(new TypeError("there is no TLS here"));
}
