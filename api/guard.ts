/**
 * Who may call the API over TCP: whoever has its token, and asks for it by its own name. The second half is for
 * browsers: a page of another site must not reach an API on loopback by pointing its own name there (DNS rebinding).
 *
 * Not here: the unix socket, which the file system guards, and what a session of the web page may do (`ui_door.ts`).
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { formatHost, isIpLiteral, parseAuthority } from "../core/host_port.ts";
import { refuse } from "./errors.ts";
import { authorityOf, pathOf } from "./request_url.ts";
import { admitSession, isOpenPage, type StillIn } from "./ui_door.ts";
import type { UiSessions } from "./ui_sessions.ts";

/** What a guard checks against. */
export interface GuardOptions {
  readonly token: string;
  /** The token that other hosts of the fleet have: it reads this host's audit log, and is good for nothing else. */
  readonly logToken?: (() => string) | undefined;
  readonly scheme: "http" | "https";
  /** Hosts under which the API is called, canonical and without port. */
  readonly names: readonly string[];
  /** True when it listens on all addresses, so that any IP literal may be its own. Rebinding needs a name. */
  readonly isAnyAddress: boolean;
  /** Of the web page. */
  readonly sessions: UiSessions;
}

/**
 * Answers a request that must not pass, in the order Host, Origin, token or session; anything else lets it pass, for as
 * long as a session lives when it is one that did. A call with an Authorization is judged by it alone.
 */
export function createGuard(options: GuardOptions): (request: Request) => Response | StillIn | undefined {
  const expected = digest(options.token);
  return (request) => {
    const authority = ownAuthority(request, options);
    if (authority === undefined) {
      return refuse(421, "Cannot answer for this Host: it is none of this API's names", {
        hint: `call it by its own address, such as ${options.scheme}://${formatHost(options.names[0] ?? "")}`,
      });
    }
    const origin = request.headers.get("origin");
    if (origin !== null && origin.toLowerCase() !== `${options.scheme}://${authority}`) {
      return refuse(403, "Cannot answer a page of another origin");
    }
    const authorization = request.headers.get("authorization");
    if (authorization === null) {
      if (isOpenPage(request)) return undefined;
      const admitted = admitSession(request, { scheme: options.scheme, authority }, options.sessions);
      if (admitted !== "none") return admitted;
    }
    // RFC 6750 §2.1, RFC 9110 §11.1: the scheme's name is case-insensitive.
    const token = /^bearer +([^\s]+)$/i.exec(authorization ?? "")?.[1];
    if (token !== undefined && isLogToken(token, options)) {
      return isLogCall(request)
        ? undefined
        : refuse(403, "Cannot do this with a token of the fleet: it reads the audit log of this host");
    }
    if (token === undefined || !timingSafeEqual(digest(token), expected)) {
      const state = token === undefined ? "no token was sent" : "the token is wrong";
      return refuse(401, `Cannot let this call in: ${state}`, {
        hint: "send Authorization: Bearer TOKEN; the token is in the file that --api-token-file names",
        headers: { "www-authenticate": 'Bearer realm="slicer-proxy"' },
      });
    }
    return undefined;
  };
}

function isLogToken(token: string, { logToken }: GuardOptions): boolean {
  return logToken !== undefined && timingSafeEqual(digest(token), digest(logToken()));
}

/** Never one that would have this host ask the others in turn. */
function isLogCall(request: Request): boolean {
  return request.method === "GET" && pathOf(request) === "/proxy/v1/audit" &&
    !new URL(request.url).searchParams.has("fleet");
}

/**
 * The lower-case authority that a request is for, when it is this API's own. A Host beside it must say the same. The port
 * is not compared: behind `ssh -L` it is another, and a page cannot choose it without being of another origin.
 */
function ownAuthority(request: Request, { scheme, names, isAnyAddress }: GuardOptions): string | undefined {
  const authority = authorityOf(request);
  const host = request.headers.get("host")?.toLowerCase();
  if (authority === undefined || (host !== undefined && host !== authority)) return undefined;
  const name = parseAuthority(authority, scheme === "https" ? 443 : 80)?.host;
  const isOwn = name !== undefined && (names.includes(name) || (isAnyAddress && isIpLiteral(name)));
  return isOwn ? authority : undefined;
}

/** Equal lengths for the comparison, whatever was sent. */
function digest(token: string): Uint8Array {
  return createHash("sha256").update(token, "utf8").digest();
}
