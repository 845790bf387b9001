/**
 * Where the API is: `--url` and `SLICER_URL`.
 *
 * @module
 */
import { resolve } from "node:path";
import { trimEndOf } from "../../core/text.ts";
import { usageError } from "../command/parse.ts";

/** Where the daemon listens unless told otherwise, relative to the working directory. */
export const DEFAULT_SOCKET = "./.slicer/proxy/api.sock";

/** A unix socket, or the base of all paths on TCP. `label` is how people wrote it. */
export type ApiTarget =
  | { readonly kind: "unix"; readonly path: string; readonly label: string }
  | { readonly kind: "http"; readonly base: URL; readonly label: string };

/**
 * The target in `text`: an http(s) URL, or a socket path as `unix:///run/p.sock`, `unix://./p.sock`, `/run/p.sock`,
 * `./p.sock`, `../p.sock`, `~/p.sock` or anything that ends in `.sock`.
 *
 * @param home the user's home folder, for `~/`
 * @throws ProxyError `cli.usage` for anything else, and for a URL with user, query or fragment
 */
export function parseApiUrl(text: string, home: string | undefined): ApiTarget {
  if (/^https?:\/\//i.test(text)) return parseHttpUrl(text);
  const path = text.replace(/^unix:(\/\/)?/, "");
  const isPath = text !== path || /^(\/|\.\.?\/|~\/)/.test(path) || path.endsWith(".sock");
  if (!isPath || path === "" || path.includes("\0")) {
    throw usageError(
      "Cannot use this API address: it is neither a socket nor a URL",
      "write ./api.sock, /run/api.sock, unix:///run/api.sock, http://127.0.0.1:PORT or https://HOST:PORT",
    );
  }
  return { kind: "unix", path: resolve(expandHome(path, home)), label: path };
}

/** `~/x` under `home`. A shell expands it in `--url ~/x`, but not in `--url=~/x` and in variables. */
export function expandHome(path: string, home: string | undefined): string {
  return path.startsWith("~/") && home !== undefined ? `${home}/${path.slice(2)}` : path;
}

function parseHttpUrl(text: string): ApiTarget {
  const base = URL.canParse(text) ? new URL(text) : undefined;
  if (!base || base.username || base.password || base.search || base.hash) {
    throw usageError(
      "Cannot use this API address: it is not a plain URL",
      "write https://HOST:PORT; the token goes into SLICER_TOKEN or SLICER_TOKEN_FILE",
    );
  }
  base.pathname = trimEndOf(base.pathname, "/") + "/";
  return { kind: "http", base, label: base.href };
}
