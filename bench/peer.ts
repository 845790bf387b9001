/**
 * A proxy under test, as the load sees it.
 *
 * @module
 */
import { HOST, TOKEN, USER } from "./settings.ts";

/** How a client reaches the upstream. */
export interface Route {
  /** Port of an HTTP proxy on 127.0.0.1, or undefined to connect to `originPort` itself. */
  readonly proxyPort?: number;
  /** Port in the URL. */
  readonly originPort: number;
  /** The client's token, where it is not the usual one. */
  readonly token?: string;
  /** The CA that must have signed what the client sees: it proves who ended TLS. */
  readonly caFile: string;
}

/** A running proxy. */
export interface Peer {
  readonly name: string;
  /** TLS is ended and begun again. */
  readonly inspected: Route;
  /** The bytes are passed on. */
  readonly passthrough: Route | undefined;
  /** As `inspected`, and requests get {@linkcode CREDENTIAL}; only where the proxy is measured so. */
  readonly injected?: Route;
  /** The processes that make up the proxy, children not listed. */
  readonly pids: readonly number[];
  readonly startMs: number;
  /** What it was told, for the report. */
  readonly settings: string;
  /** Where it logs requests. */
  readonly logFile: string | undefined;
  stop(): Promise<void>;
}

/** Tokens of the clients that are treated otherwise, where a proxy tells them apart by that. Of no value outside. */
export const RESERVED_TOKENS = {
  passthrough: "spi_bench_token_for_passthrough",
  injected: "spi_bench_token_for_injection",
} as const;

/** The URL of a path on the upstream, on that route. */
export function urlOf({ originPort }: Route, path: string): string {
  return `https://${HOST}${originPort === 443 ? "" : `:${originPort}`}${path}`;
}

/** The proxy's URL with the credentials in it. */
export function proxyUrl({ proxyPort, token = TOKEN }: Route): string | undefined {
  return proxyPort === undefined ? undefined : `http://${USER}:${token}@127.0.0.1:${proxyPort}`;
}
