/**
 * The proxy as a whole: listens, accepts within the limits, and stops in order: no new work, what runs may finish for a
 * bounded time, then everything ends.
 *
 * @module
 */
import { type Accepting, startAccepting } from "../core/accept_loop.ts";
import type { Cidr } from "../core/cidr.ts";
import type { Clock } from "../core/clock.ts";
import { Deadlines } from "../core/deadlines.ts";
import { messageOf, ProxyError } from "../core/errors.ts";
import { formatHostPort } from "../core/host_port.ts";
import { fitLimits, type Limits } from "../core/limits.ts";
import { type Linked, LinkedSet } from "../core/linked_set.ts";
import { logger } from "../core/log.ts";
import { descriptorLimit } from "../core/native.ts";
import { UpstreamClocks } from "../secrets/aws/clocks.ts";
import { AskBook } from "./decide/ask_book.ts";
import type { Asks } from "./decide/asks.ts";
import { Admission } from "./accept/admission.ts";
import { type Arrival, Arrivals } from "./accept/arrivals.ts";
import type { AuditTrail } from "./records/audit_log.ts";
import { closeQuietly } from "./streams/byte_reader.ts";
import { serveConnection } from "./accept/connection.ts";
import { Meters } from "./records/meters.ts";
import { countersIn, type Counts, LocalCounts } from "./records/counts.ts";
import type {
  Certificates,
  CleartextSecrets,
  ClientStream,
  ConnectionState,
  Explain,
  ProxyContext,
} from "./context.ts";
import type { Mode } from "../policy/mode.ts";
import { Grants } from "./grants.ts";
import { Interceptor, type PortSet } from "./tls/loopback.ts";
import type { PolicySource } from "./policy_source.ts";
import { SocketStream } from "./streams/socket_stream.ts";
import type { DialFrom } from "./egress/connect/connector.ts";
import { Dialler, type Resolve } from "./egress/dialler.ts";
import { listenersOn, localAddresses } from "./egress/own_addresses.ts";
import type { ParentProxies } from "./egress/parents/parents.ts";
import type { DeadChoice } from "./egress/connect/race.ts";
import { Http2Pool } from "./egress/pools/http2_pool.ts";
import { recordLookup, type ResolveRecords } from "./egress/names/record_lookup.ts";
import { descriptorsPerUpstream } from "./egress/parents/way_cost.ts";
import { UpstreamPool } from "./egress/pools/pool.ts";
import { ProtocolMemory } from "./egress/pools/protocol_memory.ts";
import type { OnEcho } from "./echo/echo_guard.ts";

/** A port to listen on. Port 0 takes a free one. */
export interface Listen {
  readonly hostname: string;
  readonly port: number;
  /** Other threads of this process listen there too; the system deals connections out among them. */
  readonly isShared?: boolean;
}

export interface ProxyOptions {
  readonly listen: readonly Listen[];
  readonly policy: PolicySource;
  readonly certificates: Certificates;
  readonly mode: Mode;
  readonly socksAuth: "optional" | "required";
  readonly cleartextSecrets: CleartextSecrets;
  readonly explain: Explain;
  readonly onEcho: OnEcho;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly resolve: Resolve;
  /** Default: the system's name servers. */
  readonly resolveRecords?: ResolveRecords;
  readonly denyCidrs: readonly Cidr[];
  readonly allowCidrs: readonly Cidr[];
  readonly caCertsFor: (host: string) => readonly string[];
  /** Parent proxies. Default: none. */
  readonly parents?: ParentProxies;
  /** Families and local addresses to dial from. Default: any. */
  readonly dialFrom?: DialFrom;
  /** Is told of an upstream whose preferred address did not answer. */
  readonly onDeadChoice?: (dead: DeadChoice) => void;
  /** Ports on which this process listens besides the proxy's own: the API. Never dialled. */
  readonly ownPorts: () => readonly number[];
  readonly audit: AuditTrail;
  readonly logQuery: boolean;
  /** False: HTTP/1.1 is all that is spoken. */
  readonly http2?: boolean;
  readonly reportBug: (error: unknown) => void;
  /** What limits are measured by, where several threads share them. */
  readonly counts?: Counts;
  /** What is used of budgets, likewise. */
  readonly meters?: Meters;
  /** Where requests wait for a person, likewise. */
  readonly asks?: Asks;
  /** The ports of loopback listeners, likewise. */
  readonly tlsPorts?: PortSet;
}

/** Numbers for `status` and metrics. */
export interface ProxyCounters {
  readonly connections: number;
  /** How many there may be. */
  readonly maxConnections: number;
  readonly openGrants: number;
  readonly idleUpstreams: number;
  readonly tlsListeners: number;
  /** CONNECT and SOCKS tunnels. */
  readonly openTunnels: number;
}

/** A running proxy. */
export interface ProxyServer extends AsyncDisposable {
  /** Where it listens, in the order of the options. */
  readonly addresses: readonly Deno.NetAddr[];
  counters(): ProxyCounters;
}

/** A proxy in this thread. */
export interface LocalProxy extends ProxyServer {
  /**
   * Opens its listeners once more. Those that it had serve until somebody shuts them. Not for port 0.
   *
   * @throws ProxyError `listen.failed`
   */
  listenAnew(): void;
  /** No request gets a connection to an upstream that was dialled before this. Those that have one keep it to their end. */
  retireUpstreams(): void;
  /** Another CA signs: no handshake that begins after this gets a certificate of before. */
  retireCertificates(): void;
}

/** How long the answers to what a stop has ended may take to leave. */
const LAST_WORDS_MS = 500;

interface OpenConnection extends Linked<OpenConnection> {
  readonly stream: ClientStream;
  readonly state: ConnectionState;
  readonly done: Promise<void>;
}

/**
 * Starts listening.
 *
 * @throws ProxyError `listen.failed`
 */
export function startProxy(options: ProxyOptions): LocalProxy {
  const { clock, policy } = options;
  const perUpstream = descriptorsPerUpstream(options.parents, options.dialFrom);
  const limits = fitLimits(options.limits, descriptorLimit(), { perUpstream });
  if (limits.maxConnections < options.limits.maxConnections) {
    logger("proxy").warn(fewConnections(limits.maxConnections));
  }
  const listeners = openListeners(options.listen);
  const deadlines = new Deadlines();
  const counts = options.counts ?? new LocalCounts();
  const admission = new Admission(limits, counts);
  const grants = new Grants(policy);
  const interceptor = new Interceptor({
    limits,
    deadlines,
    now: () => clock.now(),
    ...(options.tlsPorts ? { ports: options.tlsPorts } : {}),
  });
  const ports = new Set(listeners.map(({ addr }) => (addr as Deno.NetAddr).port));
  const isOwn = (port: number) =>
    ports.has(port) || interceptor.ports.has(port) || options.ownPorts().includes(port);
  const dialler = new Dialler({
    limits,
    deadlines,
    admission,
    resolve: options.resolve,
    addresses: options,
    caCertsFor: options.caCertsFor,
    parents: options.parents,
    dialFrom: options.dialFrom,
    onDeadChoice: options.onDeadChoice,
    ownListeners: (port) => listenersOn(port, listeners.map(({ addr }) => addr as Deno.NetAddr), clock),
    closedHosts: () => policy.closedHosts(),
    ownAddresses: (port) => isOwn(port) ? localAddresses(clock) : [],
  });
  const pool = new UpstreamPool({ limits, deadlines, grants, counts });
  const protocols = options.http2 === false ? undefined : new ProtocolMemory(() => clock.monotonic());
  const http2Pool = new Http2Pool({ limits, deadlines, grants, counts, protocols, admission });
  const context: ProxyContext = {
    ...options,
    limits,
    deadlines,
    admission,
    grants,
    interceptor,
    dialler,
    pool,
    http2Pool,
    protocols,
    awsClocks: new UpstreamClocks(),
    meters: options.meters ?? new Meters(),
    asks: options.asks ?? new AskBook(),
    resolveRecords: options.resolveRecords ?? recordLookup(),
  };
  const server = new Server(context, listeners, { listen: options.listen, counts });
  return server;
}

class Server implements LocalProxy {
  readonly #context: ProxyContext;
  readonly #counts: Counts;
  readonly #listen: readonly Listen[];
  #listeners: readonly Deno.TcpListener[];
  /** Former listeners too, until they are shut. */
  readonly #accepting = new Set<Accepting>();
  readonly #open = new LinkedSet<OpenConnection>();
  readonly #arrivals: Arrivals;
  #isStopping = false;

  constructor(
    context: ProxyContext,
    listeners: readonly Deno.TcpListener[],
    { listen, counts }: { readonly listen: readonly Listen[]; readonly counts: Counts },
  ) {
    this.#context = context;
    this.#counts = counts;
    this.#listen = listen;
    this.#listeners = listeners;
    this.#arrivals = new Arrivals(context.limits, context.admission);
    this.#acceptAll();
  }

  get addresses(): readonly Deno.NetAddr[] {
    return this.#listeners.map(({ addr }) => addr as Deno.NetAddr);
  }

  listenAnew(): void {
    if (this.#isStopping) return;
    this.#listeners = openListeners(this.#listen);
    this.#acceptAll();
  }

  retireUpstreams(): void {
    this.#context.pool.retire();
    this.#context.http2Pool.retire();
  }

  retireCertificates(): void {
    this.#context.interceptor.forget();
  }

  counters(): ProxyCounters {
    const { grants, interceptor, limits } = this.#context;
    return {
      ...countersIn(this.#counts),
      maxConnections: limits.maxConnections,
      openGrants: grants.size,
      tlsListeners: interceptor.listenerCount,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    const { pool, http2Pool, grants, interceptor, limits } = this.#context;
    await Promise.all([...this.#accepting].map((each) => each[Symbol.asyncDispose]()));
    for (const { stream, state } of this.#open.those(() => true)) {
      state.isStopping = true;
      if (state.isIdle) stream.close();
    }
    await this.#drained(limits.drainTimeoutMs);
    grants.close(); // what waits for an upstream that is stuck would not notice that its client is gone
    await this.#drained(Math.min(LAST_WORDS_MS, limits.drainTimeoutMs)); // for the answers that say so
    for (const { stream } of this.#open.those(() => true)) stream.close();
    pool.close();
    http2Pool.close();
    await this.#drained(limits.drainTimeoutMs);
    await interceptor.close();
  }

  /** Resolves when no connection is open any more, or after `ms`. */
  async #drained(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
    await Promise.race([Promise.all(this.#open.those(() => true).map(({ done }) => done)), late]);
    clearTimeout(timer);
  }

  #acceptAll(): void {
    const log = logger("proxy");
    for (const listener of this.#listeners) {
      const addr = listener.addr as Deno.NetAddr;
      const accepting = startAccepting(listener, {
        name: formatHostPort({ host: addr.hostname, port: addr.port }),
        serve: (conn) => this.#serve(conn),
        onServeError: this.#context.reportBug,
        warn: (line) => log.warn(line),
        onDead: (line) => {
          if (this.#listeners.includes(listener)) log.error(line); // else it is a former one, which was shut
        },
      });
      this.#accepting.add(accepting);
      void accepting.ended.then(() => this.#accepting.delete(accepting));
    }
  }

  #serve(conn: Deno.TcpConn): void {
    const { audit, reportBug } = this.#context;
    const stream = clientStream(conn); // before anything is counted
    if (!stream) return;
    const { source, origin } = originOf(conn);
    const refuse = (reason: "quota" | "overload") => {
      stream.close();
      audit.write({ verdict: "deny", reason, origin });
    };
    const arrival = this.#arrivals.admit(source, () => refuse("quota"));
    if (!arrival) return refuse("overload");
    const { state, forget } = this.#newState(stream, { source, origin }, arrival);
    const done = serveConnection(stream, { state, context: this.#context }).catch(reportBug).finally(
      () => {
        this.#open.delete(open);
        stream.close();
        forget();
      },
    );
    const open: OpenConnection = {
      stream,
      state,
      done,
      isLinked: false,
      previous: undefined,
      next: undefined,
    };
    this.#open.add(open);
  }

  /** A connection is a newcomer until it has said who it is; then it counts against that client and ends with it. */
  #newState(
    stream: ClientStream,
    from: Pick<ConnectionState, "source" | "origin">,
    arrival: Arrival,
  ): { readonly state: ConnectionState; readonly forget: () => void } {
    const { admission, grants } = this.#context;
    let holder: { readonly client: string; readonly release: () => void } | undefined;
    const end = () => {
      // A request under way ends by its own grant, with an answer that says why.
      state.isStopping = true;
      if (state.isIdle) stream.close();
    };
    const state: ConnectionState = {
      ...from,
      isIdle: false,
      isStopping: false,
      identify: (name) => {
        if (holder?.client === name) return true;
        const releaseQuota = admission.tryClient(name);
        if (!releaseQuota) return false;
        arrival.known();
        holder?.release();
        const releaseGrant = grants.holdClient(name, end);
        holder = {
          client: name,
          release: () => {
            releaseQuota();
            releaseGrant();
          },
        };
        return true;
      },
    };
    return {
      state,
      forget: () => {
        arrival.gone();
        holder?.release();
      },
    };
  }
}

/** Who dials, for the share of newcomers and for the audit log, where an IPv4 address is written as such whatever the socket is. */
function originOf(conn: Deno.TcpConn): Pick<ConnectionState, "source" | "origin"> {
  const { hostname: source, port } = conn.remoteAddr as Deno.NetAddr;
  const host = source.replace(/^::ffff:(?=\d+\.)/i, "");
  const proxyPort = (conn.localAddr as Deno.NetAddr).port;
  return { source, origin: { src: formatHostPort({ host, port }), proxyPort } };
}

/** What to say when descriptors allow no more connections than that. */
export function fewConnections(count: number): string {
  return `only ${count} connections fit the limit of open files: raise it (ulimit -n, LimitNOFILE=)`;
}

/** The client's side in clear. Deno cannot send a reset: cut or closed, the peer sees a FIN. */
class ClientSocket extends SocketStream implements ClientStream {
  #isClosed = false;

  override close(): void {
    if (this.#isClosed) return; // closing again throws, which costs more than all the rest of a silent connection
    this.#isClosed = true;
    try {
      super.close();
    } catch {
      // The runtime has closed it.
    }
  }

  abort(): void {
    this.close();
  }
}

/** @returns undefined for a socket that was reset meanwhile, on which macOS refuses every option; it is closed */
function clientStream(conn: Deno.TcpConn): ClientStream | undefined {
  try {
    conn.setNoDelay(true);
  } catch {
    closeQuietly(conn);
    return undefined;
  }
  return new ClientSocket(conn);
}

function openListeners(listen: readonly Listen[]): readonly Deno.TcpListener[] {
  const opened: Deno.TcpListener[] = [];
  try {
    for (const where of listen) opened.push(openListener(where));
    return opened;
  } catch (error) {
    for (const listener of opened) listener.close();
    throw error;
  }
}

/**
 * Connections that wait to be accepted, as many as Linux allows by default (`net.core.somaxconn`). When the queue is full a
 * client's SYN is dropped, and it tries again after a second.
 */
const BACKLOG = 4_096;

/** Opens a listener. @throws ProxyError `listen.failed` */
export function openListener({ hostname, port, isShared = false }: Listen): Deno.TcpListener {
  try {
    return Deno.listen({ hostname, port, tcpBacklog: BACKLOG, ...(isShared ? { reusePort: true } : {}) });
  } catch (cause) {
    const where = formatHostPort({ host: hostname, port });
    if (cause instanceof Deno.errors.AddrInUse) {
      throw new ProxyError("listen.failed", `Cannot listen on ${where}: the port is in use`, {
        cause,
        hint: "stop the program that uses it, or choose another with --http-port and --https-port",
      });
    }
    if (cause instanceof Deno.errors.AddrNotAvailable) {
      throw new ProxyError(
        "listen.failed",
        `Cannot listen on ${where}: no network adapter has this address`,
        {
          cause,
          hint: `add it, for instance: sudo ip address add ${hostname}/${
            hostname.includes(":") ? 128 : 32
          } dev lo`,
        },
      );
    }
    throw new ProxyError("listen.failed", `Cannot listen on ${where}: ${messageOf(cause)}`, { cause });
  }
}
