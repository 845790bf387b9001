/**
 * The listeners of the REST API: a unix socket, TCP, or both; how much they take on at once, and how they stop.
 *
 * Not here: what is answered (`app.ts`), and the proxy's own ports (`proxy/server.ts`).
 *
 * @module
 */
import { cidrContains, parseCidr, parseIp } from "../core/cidr.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import { messageOf, ProxyError } from "../core/errors.ts";
import { formatHostPort, parseHost } from "../core/host_port.ts";
import { type AppOptions, createApp } from "./app.ts";
import { Calls, type Handler } from "./calls.ts";
import type { ApiLog } from "./control.ts";
import { refuse } from "./errors.ts";
import { type Front, FRONT_LIMITS, type FrontLimits, startFront } from "./front.ts";
import { createGuard } from "./guard.ts";
import { type Begun, HttpServer } from "./http_server.ts";
import { pathOf } from "./request_url.ts";
import { isOwnPath, type Slicerd } from "./slicerd.ts";
import { type ApiTls, type Back, TlsBacks } from "./tls_backs.ts";
import { endWithSession } from "./ui_door.ts";
import { createPage } from "./ui_page.ts";
import { type SessionRights, UiSessions } from "./ui_sessions.ts";
import { listenOwned } from "./unix_socket.ts";

/** Calls that are answered at once. Each may hold a body of 1 MiB. */
const MAX_CALLS = 64;

/** How long calls under way may go on when the API stops. */
const DRAIN_MS = 3_000;

/** TCP for the API. */
export interface TcpOptions {
  /** An IP literal, or `localhost`. */
  readonly hostname: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly token: string;
  /** The token by which other hosts of the fleet read the audit log. */
  readonly logToken?: (() => string) | undefined;
  /** Needed beyond loopback. */
  readonly tls?: ApiTls;
  /** Further hosts under which it is called: what the certificate is valid for. */
  readonly names?: readonly string[];
  /** Told of ports on loopback that are opened later: the proxy must never dial these either. */
  readonly onPort?: (port: number) => void;
}

/** See {@linkcode startApi}. Tests pass smaller limits. */
export interface ApiOptions extends Omit<AppOptions, "stop" | "uiLinks"> {
  /** Where calls go that are not ours. Disposed with the API. */
  readonly slicerd?: Slicerd | undefined;
  readonly socketPath?: string;
  readonly tcp?: TcpOptions;
  readonly clock?: Clock;
  readonly maxCalls?: number;
  readonly drainMs?: number;
  readonly frontLimits?: FrontLimits;
}

/** A running API. Disposing it removes the socket, lets calls under way end for a bounded time, and closes all. */
export interface Api extends AsyncDisposable {
  /** Where TCP listens. */
  readonly tcpAddress?: { readonly hostname: string; readonly port: number };
  /** Every TCP port that the API listens on, on loopback too: the proxy must never dial them. */
  readonly ports: readonly number[];
}

/**
 * Starts the API on the listeners that are named. Over the unix socket an Authorization header is ignored: the published
 * clients send the token of another API there. Over TCP every call needs the token, on loopback too, or a session of the
 * web page, which is there only.
 *
 * @throws ProxyError `cli.usage` when TCP would leave the machine without TLS, or its hostname is none; `state.locked`,
 * `listen.failed`. Nothing listens then.
 */
export async function startApi(options: ApiOptions): Promise<Api> {
  const { socketPath, tcp, drainMs = DRAIN_MS } = options;
  const stop = new AbortController();
  const clock = options.clock ?? systemClock();
  const sessions = new UiSessions(clock);
  const app = createApp({
    ...options,
    stop: stop.signal,
    uiLinks: tcp && ((rights) => createLink(sessions, rights, tcpServer?.origin ?? "")),
  });
  // As GET, so that Deno counts the body that it leaves out (RFC 9110 §9.3.2): Hono would make it an empty one. Not as
  // a new Request, which would tidy the path.
  const { slicerd } = options;
  const answer = (isTcp: boolean): Handler => (request) => {
    if (slicerd?.takes(request)) return slicerd.pass(request, { isTcp });
    if (request.method === "HEAD") Object.defineProperty(request, "method", { value: "GET" });
    return app.fetch(request);
  };
  const calls = new Calls(options.maxCalls ?? MAX_CALLS);
  const callsOf = (request: Request) => slicerd?.takes(request) ? slicerd.calls : calls;
  const begin: Begin = (where, handle) => beginServer(where, { handle, callsOf, log: options.log });
  await using started = new AsyncDisposableStack();
  const tcpServer = tcp &&
    started.use(
      listenTcp(tcp, {
        handle: answer(true),
        begin,
        sessions,
        limits: options.frontLimits ?? FRONT_LIMITS,
        clock,
        log: options.log,
      }),
    );
  let remove = () => {};
  if (socketPath !== undefined) {
    const listen = async () => {
      const socket = await listenOwned(socketPath, (path) => begin({ path }, answer(false)));
      remove = socket.remove;
      return socket.server;
    };
    started.use(new HttpServer(await listen(), listen, options.log));
  }
  started.defer(() => calls.idle(drainMs));
  started.defer(() => {
    remove(); // first, so that a caller who comes now finds nobody instead of waiting
    stop.abort(); // answers that have no end of their own
    slicerd?.[Symbol.dispose]();
  });
  const running = started.move();
  return {
    ...(tcpServer ? { tcpAddress: tcpServer.address } : {}),
    ports: tcpServer?.ports ?? [],
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

type Where =
  | { readonly path: string }
  | { readonly hostname: string; readonly port: number; readonly cert?: string; readonly key?: string };

/** Answers a call from `peer`. */
type PeerHandler = (request: Request, peer: Deno.Addr) => Response | Promise<Response>;

type Begin = (where: Where, handle: PeerHandler) => Begun & AsyncDisposable;

/**
 * One listener. Disposing cuts what is open. `shutdown()` would wait for ever for a peer that sent half a head, and
 * cannot be hurried afterwards (measured), so draining is up to {@linkcode Calls}.
 */
function beginServer(
  where: Where,
  { handle, callsOf, log }: {
    readonly handle: PeerHandler;
    readonly callsOf: (request: Request) => Calls;
    readonly log: ApiLog;
  },
): Begun & AsyncDisposable {
  const ending = new AbortController();
  const server = Deno.serve(
    {
      ...where,
      signal: ending.signal,
      onListen() {},
      onError(error) {
        log.error(`Cannot answer a call: ${error instanceof Error ? error.name : typeof error}`);
        return refuse(500, "internal error");
      },
    } as Deno.ServeTcpOptions,
    (request, { remoteAddr, completed }) =>
      callsOf(request).run((request) => handle(request, remoteAddr), request, completed),
  );
  const { finished } = server;
  finished.catch(() => {}); // whoever waits for it is told
  return {
    port: server.addr.port ?? 0,
    finished,
    stop: () => ending.abort(),
    [Symbol.asyncDispose]: async () => {
      ending.abort();
      await finished.catch(() => {});
    },
  };
}

/** A link that lets one browser in at `origin`. */
function createLink(sessions: UiSessions, rights: SessionRights, origin: string) {
  const { code, expiresAt } = sessions.createLink(rights);
  return { url: `${origin}/ui/login?code=${code}`, expiresAt };
}

interface TcpServer extends AsyncDisposable {
  readonly address: { readonly hostname: string; readonly port: number };
  /** Where a browser of this machine finds it. */
  readonly origin: string;
  readonly ports: readonly number[];
}

interface TcpParts {
  readonly handle: Handler;
  readonly begin: Begin;
  readonly sessions: UiSessions;
  readonly limits: FrontLimits;
  readonly clock: Clock;
  readonly log: ApiLog;
}

function listenTcp(tcp: TcpOptions, { handle, begin, sessions, limits, clock, log }: TcpParts): TcpServer {
  const { token, logToken, tls, port, names = [], onPort = () => {} } = tcp;
  const scheme = tls ? "https" : "http";
  const hostname = tcp.hostname === "localhost" ? "127.0.0.1" : parseHost(tcp.hostname) ?? "";
  const ip = parseIp(hostname);
  if (!ip) {
    throw new ProxyError("cli.usage", "Cannot listen for API calls: the address to bind is no IP address", {
      hint: "write --api-bind 127.0.0.1:9090",
    });
  }
  const isLoopback = LOOPBACK.some((network) => cidrContains(network, ip));
  const isAnyAddress = ip.every((byte) => byte === 0);
  const shown = formatHostPort({ host: hostname, port });
  if (!isLoopback && !tls) {
    throw new ProxyError(
      "cli.usage",
      `Cannot listen for API calls on ${shown}: beyond loopback it needs TLS`,
      {
        hint: "bind it to 127.0.0.1, or give it a certificate",
      },
    );
  }
  const guard = createGuard({
    token,
    logToken,
    scheme,
    sessions,
    names: [hostname, ...names, ...(isLoopback || isAnyAddress ? ["localhost"] : [])],
    isAnyAddress,
  });
  const page = createPage(scheme, sessions);
  let front: Front | undefined;
  const guarded: PeerHandler = async (request, peer) => {
    const verdict = guard(request);
    if (verdict instanceof Response) return verdict;
    // A page that anybody may load says nothing about who loads it.
    if (verdict || request.headers.has("authorization")) front?.admit(peer);
    if (verdict && !isOwnPath(pathOf(request))) return refuse(403, "Cannot do this from the web page");
    const answer = page(request) ?? await handle(request);
    return verdict ? endWithSession(answer, verdict) : answer;
  };
  const name = isAnyAddress ? names.find((each) => each !== hostname) ?? "localhost" : hostname;
  const originAt = (port: number) => `${scheme}://${formatHostPort({ host: name, port })}`;
  try {
    const serveBack = (tls?: ApiTls): Back => {
      const open = (port: number) =>
        begin(
          { hostname: "127.0.0.1", port, ...(tls ? { cert: tls.cert, key: tls.key } : {}) },
          guarded,
        );
      return new HttpServer(open(0), open, log);
    };
    const listener = Deno.listen({ hostname, port });
    const backs = startBehind(
      listener,
      () =>
        tls
          ? new TlsBacks(tls, { serve: serveBack, now: () => clock.now(), onPort, log })
          : plainBack(serveBack()),
    );
    const running = front = startFront(listener, { backPort: () => backs.port(), limits, log });
    return {
      address: { hostname, port: listener.addr.port },
      origin: originAt(listener.addr.port),
      ports: [listener.addr.port, backs.currentPort],
      async [Symbol.asyncDispose]() {
        await running[Symbol.asyncDispose]();
        await backs[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    throw new ProxyError("listen.failed", `Cannot listen for API calls on ${shown}: ${messageOf(error)}`, {
      cause: error,
      hint: tls ? "check --api-bind, and the certificate and its key" : "choose another --api-bind",
    });
  }
}

const LOOPBACK = [parseCidr("127.0.0.0/8"), parseCidr("::1")];

/** What a front hands on to. */
type Behind = Pick<TlsBacks, "port" | "currentPort"> & AsyncDisposable;

function plainBack(back: Back): Behind {
  return {
    port: () => Promise.resolve(back.port),
    currentPort: back.port,
    [Symbol.asyncDispose]: () => back[Symbol.asyncDispose](),
  };
}

/** The listener is closed when what is to stand behind it cannot start: a bad certificate. */
function startBehind(listener: Deno.Listener, start: () => Behind): Behind {
  try {
    return start();
  } catch (error) {
    listener.close();
    throw error;
  }
}
