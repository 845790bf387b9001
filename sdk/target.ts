/**
 * Where the API is and how one gets in: addresses as the command line takes them, the token, and the environment.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import process from "node:process";
import { SlicerProxyError } from "./error.ts";

/** Where the proxy listens unless told otherwise, relative to the working folder. */
export const DEFAULT_SOCKET = "./.slicer/proxy/api.sock";

/** How to reach one proxy. */
export interface SlicerProxyOptions {
  /**
   * A socket path (`/run/p.sock`, `./p.sock`, `~/p.sock`, `unix:///run/p.sock`, or anything that ends in `.sock`), or
   * `http://127.0.0.1:PORT`, or `https://HOST:PORT`. `./.slicer/proxy/api.sock` when left out.
   */
  readonly url?: string | undefined;
  /** The API's token (`api-token` in the proxy's state folder). Sent over TCP only: a socket needs none. */
  readonly token?: string | undefined;
  /** The certificates that sign the API's own, in PEM, for https: the `ca.crt` of the proxy's host group. */
  readonly ca?: string | undefined;
  /** How long a call may take, in milliseconds; a minute when left out. Adopting a credential asks its provider. */
  readonly timeoutMs?: number | undefined;
}

/** A unix socket, or the base of all paths on TCP. `label` is how people wrote it. */
export type Target =
  | { readonly kind: "unix"; readonly path: string; readonly label: string }
  | { readonly kind: "http"; readonly base: URL; readonly label: string };

/**
 * The target of an address.
 *
 * @throws SlicerProxyError when it is none
 */
export function parseTarget(text: string, home: string | undefined): Target {
  if (/^https?:\/\//i.test(text)) return parseHttpUrl(text);
  const path = text.replace(/^unix:(\/\/)?/, "");
  const isPath = text !== path || /^(\/|\.\.?\/|~\/)/.test(path) ||
    path.endsWith(".sock");
  if (!isPath || path === "" || path.includes("\0")) {
    throw new SlicerProxyError(
      "Cannot use this API address: it is neither a socket nor a URL",
      {
        hint:
          "write ./api.sock, /run/api.sock, unix:///run/api.sock, http://127.0.0.1:PORT or https://HOST:PORT",
      },
    );
  }
  return { kind: "unix", path: resolve(expandHome(path, home)), label: path };
}

/**
 * The token that goes to `target`, or none.
 *
 * @throws SlicerProxyError when it must not be sent there
 */
export function tokenFor(target: Target, token: string | undefined): string | undefined {
  if (token === undefined || target.kind === "unix") return undefined;
  const { base, label } = target;
  if (base.protocol === "http:" && !isLoopback(base.hostname)) {
    throw new SlicerProxyError(
      `Cannot send the API's token to ${label}: plain http would show it to the network`,
      { hint: "use https, or reach the socket through ssh" },
    );
  }
  const trimmed = token.trim();
  if (!/^[\x21-\x7e]+$/.test(trimmed)) {
    throw new SlicerProxyError("Cannot use the API's token: it is empty, or has spaces or other characters");
  }
  return trimmed;
}

/**
 * The options, and what is missing in them from `SLICER_URL`, `SLICER_TOKEN`, `SLICER_TOKEN_FILE` and `SLICER_CA_FILE`,
 * as the command line reads them. A socket takes neither token nor certificates, so their files need not even be there.
 *
 * @throws SlicerProxyError for a file that cannot be read
 */
export function withEnvironment(given: SlicerProxyOptions): SlicerProxyOptions {
  const url = given.url ?? process.env["SLICER_URL"];
  if (url === undefined || !/^https?:/i.test(url)) return { ...given, url };
  const token = given.token ?? process.env["SLICER_TOKEN"] ??
    readSetting("SLICER_TOKEN_FILE");
  const ca = given.ca ??
    (/^https:/i.test(url) ? readSetting("SLICER_CA_FILE") : undefined);
  return { ...given, url, token, ca };
}

/** The user's home folder, for `~/`. Asks the environment only for an address that needs it. */
export function homeFor(text: string): string | undefined {
  return /^(unix:(\/\/)?)?~\//.test(text) ? process.env["HOME"] : undefined;
}

function parseHttpUrl(text: string): Target {
  const base = URL.canParse(text) ? new URL(text) : undefined;
  if (!base || base.username || base.password || base.search || base.hash) {
    throw new SlicerProxyError(
      "Cannot use this API address: it is not a plain URL",
      {
        hint: "write https://HOST:PORT; the token is an option of its own",
      },
    );
  }
  base.pathname = base.pathname.replace(/\/*$/, "/");
  return { kind: "http", base, label: base.href };
}

function expandHome(path: string, home: string | undefined): string {
  return path.startsWith("~/") && home !== undefined ? `${home}/${path.slice(2)}` : path;
}

function readSetting(variable: string): string | undefined {
  const path = process.env[variable];
  if (path === undefined) return undefined;
  try {
    return readFileSync(expandHome(path, homeFor(path)), "utf8");
  } catch (cause) {
    throw new SlicerProxyError(`Cannot read the file that ${variable} names: ${path}`, { cause });
  }
}

/** True for names and addresses of this machine; URL has put the address in canonical form. */
function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" ||
    /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
