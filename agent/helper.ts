/**
 * The helper itself: everything that has to run all the time, started from the configuration and kept in step with it. A
 * changed file counts within a second, and no connection is lost by it.
 *
 * Not here: what makes it survive (`supervisor.ts`, the systemd unit) and what is done once (`install.ts`).
 *
 * @module
 */
import { messageOf, ProxyError } from "../core/errors.ts";
import { formatHostPort } from "../core/host_port.ts";
import { type AgentConfig, agentFiles, readConfig, readToken, type TunnelConfig } from "./config.ts";
import { type DnsServer, startDnsServer } from "./dns_server.ts";
import { applyRedirects } from "./firewall.ts";
import { listen, type Served } from "./listen.ts";
import { serveLocalProxy } from "./local_proxy.ts";
import { dohNames, NameLookup, proxyNames } from "./name_lookup.ts";
import { closeQuietly, type ProxyAccess } from "./proxy_link.ts";
import { relay } from "./relay.ts";
import { open, serveHttp, serveHttps, type ServeOptions } from "./transparent.ts";

/** Where the resolver asks. */
export const DNS_PLACE = { host: "127.0.0.1", port: 53 } as const;

const POLL_MS = 1_000;

export interface HelperOptions {
  readonly log: (line: string) => void;
  /** Default: that of the installation in this VM. */
  readonly dir?: string;
  /** Default {@linkcode DNS_PLACE}. */
  readonly dns?: { readonly host: string; readonly port: number };
  /** Turns connections to us. Tests pass one that does nothing. */
  readonly redirect?: (config: AgentConfig) => Promise<readonly string[]>;
}

/** Everything from the files that a running helper needs. */
interface Loaded {
  readonly config: AgentConfig;
  readonly access: ProxyAccess;
  /** Changes when a file does. */
  readonly stamp: string;
}

/** A running helper. */
export interface Helper extends AsyncDisposable {
  readonly dnsPort: number;
}

/**
 * Starts it: listeners first, redirects last, so that nothing is redirected to nobody.
 *
 * @throws ProxyError `agent.failed`, `listen.failed`, `state.*`
 */
export async function startHelper(options: HelperOptions): Promise<Helper> {
  const { log, dir, dns = DNS_PLACE, redirect = applyConfiguredRedirects } = options;
  let loaded = await load(dir);
  const { config } = loaded;
  const stack = new AsyncDisposableStack();
  try {
    const access = () => loaded.access;
    const serve: ServeOptions = { access, log };
    const onError = (error: unknown) => log(`unexpected: ${messageOf(error)}`);
    const local = (port: number, handle: (conn: Deno.TcpConn, options: ServeOptions) => Promise<void>) =>
      stack.use(listen({ host: "127.0.0.1", port }, (conn) => handle(conn, serve), onError));
    local(config.httpPort, serveHttp);
    local(config.httpsPort, serveHttps);
    local(config.proxyPort, serveLocalProxy);
    // Redirected IPv6 connections arrive at the same ports of ::1, where there is IPv6.
    for (const [port, handle] of [[config.httpPort, serveHttp], [config.httpsPort, serveHttps]] as const) {
      try {
        stack.use(listen({ host: "::1", port }, (conn) => handle(conn, serve), onError));
      } catch (error) {
        log(messageOf(error));
      }
    }
    const lookup = stack.use(lookupOf(config, access));
    const server: DnsServer = stack.use(
      await startDnsServer({ where: dns, ask: (question) => lookup.ask(question), log }),
    );
    const tunnels = stack.use(new Tunnels(serve));
    tunnels.follow(config.tunnels);
    for (const note of await redirect(config)) log(note);
    stack.defer(watch(async () => {
      const next = await load(dir);
      if (next.stamp === loaded.stamp) return;
      const isOtherProxy = next.config.proxy.host !== loaded.config.proxy.host;
      loaded = next;
      lookup.clear();
      tunnels.follow(next.config.tunnels);
      if (isOtherProxy) { for (const note of await redirect(next.config)) log(note); }
      log("took over the changed configuration");
    }, log));
    const started = stack.move();
    return { dnsPort: server.port, [Symbol.asyncDispose]: () => started.disposeAsync() };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

function applyConfiguredRedirects(config: AgentConfig): Promise<readonly string[]> {
  const { firewall, proxy, httpPort, httpsPort } = config;
  return applyRedirects(firewall, { proxyAddress: proxy.host, httpPort, httpsPort });
}

function lookupOf({ dohUrl, proxyPort }: AgentConfig, access: () => ProxyAccess): NameLookup {
  const service = dohUrl === undefined
    ? proxyNames(access)
    : dohNames(new URL(dohUrl), () => proxyPort, () => access().caPem);
  return new NameLookup(service, () => performance.now());
}

async function load(dir: string | undefined): Promise<Loaded> {
  const files = agentFiles(dir);
  const config = await readConfig(dir);
  const token = await readToken(dir);
  if (!config || !token) {
    throw new ProxyError("agent.failed", "Cannot run the helper: it is not installed", {
      hint: "slicer-proxy agent install PROXY_IP --token-file FILE",
    });
  }
  const caPem = await Deno.readTextFile(config.caFile);
  const stamps = [files.config, files.token, config.caFile].map(async (path) => {
    const { mtime, size } = await Deno.stat(path);
    return `${mtime?.getTime()}/${size}`;
  });
  return {
    config,
    access: { proxy: config.proxy, caPem, token },
    stamp: (await Promise.all(stamps)).join(" "),
  };
}

/** Calls `look` again and again; what it throws is logged, once while it stays the same. */
function watch(look: () => Promise<void>, log: (line: string) => void): () => Promise<void> {
  let isStopping = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wake = () => {};
  let last = "";
  const watching = (async () => {
    while (!isStopping) {
      await new Promise<void>((resolve) => {
        wake = resolve;
        timer = setTimeout(resolve, POLL_MS);
      });
      if (isStopping) return;
      try {
        await look();
        last = "";
      } catch (error) {
        const words = messageOf(error);
        if (words !== last) log(`goes on with the earlier configuration: ${words}`);
        last = words;
      }
    }
  })();
  return async () => {
    isStopping = true;
    clearTimeout(timer);
    wake();
    await watching;
  };
}

/** The open local ports of the configured tunnels. */
class Tunnels implements AsyncDisposable {
  readonly #serve: ServeOptions;
  readonly #open = new Map<string, Served>();
  readonly #closing = new Set<Promise<void>>();

  constructor(serve: ServeOptions) {
    this.#serve = serve;
  }

  /** Opens what is new, closes what is gone. One that cannot be opened is logged and tried again at the next change. */
  follow(tunnels: readonly TunnelConfig[]): void {
    const keys = new Set(tunnels.map(keyOf));
    for (const [key, served] of this.#open) {
      if (keys.has(key)) continue;
      this.#open.delete(key);
      const closing = Promise.resolve(served[Symbol.asyncDispose]()).finally(() =>
        this.#closing.delete(closing)
      );
      this.#closing.add(closing);
    }
    for (const tunnel of tunnels) {
      const key = keyOf(tunnel);
      if (this.#open.has(key)) continue;
      try {
        const onError = (error: unknown) => this.#serve.log(`tunnel ${tunnel.name}: ${messageOf(error)}`);
        this.#open.set(key, listen(tunnel.listen, (conn) => this.#join(conn, tunnel), onError));
      } catch (error) {
        this.#serve.log(`tunnel ${tunnel.name}: ${messageOf(error)}`);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.follow([]);
    await Promise.all(this.#closing);
  }

  async #join(conn: Deno.TcpConn, { target }: TunnelConfig): Promise<void> {
    const opened = await open(target, this.#serve);
    if ("refusal" in opened) return closeQuietly(conn);
    await relay(conn, opened.conn, { toA: opened.first });
  }
}

function keyOf({ name, listen, target }: TunnelConfig): string {
  return [name, formatHostPort(listen), formatHostPort(target)].join(" ");
}
