/**
 * Which calls of a browser the guard lets in without the API's token: the page itself, which holds no secret, and what the
 * page does in a live session. A session may do less than the token: read, add a rule, switch the mode, end itself; and
 * revoke rules, suspend clients and decide about what waits when its link was made for that.
 *
 * A session's call must carry its cookie, which is strict, and its key in a header, which the page alone can send: another
 * origin would have to ask first (CORS) and is refused. A call that changes something must also say its own origin.
 *
 * Not here: Host and Origin as such (`guard.ts`), what the page's files are (`ui_page.ts`).
 *
 * @module
 */
import { parseAuthority } from "../core/host_port.ts";
import { refuse } from "./errors.ts";
import { pathOf } from "./request_url.ts";
import type { NewSession, SessionRights, UiSessions } from "./ui_sessions.ts";

/** The header that carries a session's key. */
export const KEY_HEADER = "x-slicer-proxy-ui";

/** What a session may change. New links are not among it: they would let a session outlive its time, or gain rights. */
const MAY_CHANGE: Readonly<Record<SessionRights, readonly string[]>> = {
  usual: ["POST /proxy/v1/allows", "PUT /proxy/v1/mode", "POST /ui/logout"],
  manage: ["POST /proxy/v1/allows/revoke"],
};

/** And of one thing, which the path names: `manage` suspends and resumes a client, and decides about what waits. */
const MAY_MANAGE_ONE =
  /^POST \/proxy\/v1\/(?:clients\/[^/]+\/(?:suspend|resume)|requests\/[^/]+\/(?:approve|deny))$/;

/** Where the page asks what its session may do. */
export const SESSION_PATH = "/ui/session";

/** A cookie of this name may be set by others on the same host; so many are looked at. */
const MAX_COOKIES = 4;

/** The scheme and the authority under which a browser sees the API, both checked. */
export interface SeenAs {
  readonly scheme: "http" | "https";
  /** Lower case, with the port unless it is the scheme's own. */
  readonly authority: string;
}

/** True for what any browser may load: the files of the page, and the ways in. */
export function isOpenPage(request: Request): boolean {
  const path = pathOf(request);
  return (request.method === "GET" || request.method === "HEAD") && path !== SESSION_PATH &&
    (path === "/ui" || path.startsWith("/ui/") || isFrontDoor(request));
}

/** True for a browser at the address of the API itself, whose person looks for the page. Programs do not ask for HTML. */
export function isFrontDoor(request: Request): boolean {
  return pathOf(request) === "/" && (request.headers.get("accept") ?? "").includes("text/html");
}

/** True for a call of the page, which shows no token: the guard has looked at what it does show. */
export function isPageCall({ headers }: Request): boolean {
  return headers.has(KEY_HEADER) && !headers.has("authorization");
}

/** True while the session that let a call in is live. */
export type StillIn = () => boolean;

/** Lets the call in when it shows a live session; the refusal when it may not do this; `none` without a session. */
export function admitSession(
  request: Request,
  seenAs: SeenAs,
  sessions: UiSessions,
): Response | StillIn | "none" {
  const session = presentedSessions(request, seenAs).find((session) => sessions.isLive(session));
  if (!session) return "none";
  const isStillIn = () => sessions.isLive(session);
  const site = request.headers.get("sec-fetch-site");
  if (site !== null && site !== "same-origin") return refuse(403, "Cannot answer a page of another origin");
  if (request.method === "GET" || request.method === "HEAD") return isStillIn;
  // The guard has compared an Origin that is there with our own.
  if (site === null && !request.headers.has("origin")) {
    return refuse(403, "Cannot take a change from a browser that does not say where it comes from");
  }
  const change = `${request.method} ${pathOf(request)}`;
  if (MAY_CHANGE.usual.includes(change)) return isStillIn;
  if (!MAY_CHANGE.manage.includes(change) && !MAY_MANAGE_ONE.test(change)) {
    return refuse(
      403,
      "Cannot do this from the web page: its session may read, add rules and switch the mode",
      {
        hint: "use the command line",
      },
    );
  }
  if (sessions.rightsOf(session) === "manage") return isStillIn;
  return refuse(403, "Cannot do this from the web page: its session may only add", {
    hint: "slicer-proxy ui --manage opens one that may also revoke, suspend and approve",
  });
}

/** The answer, which is cut before anything that comes after the session's end: the audit log may be followed for days. */
export function endWithSession(answer: Response, isStillIn: StillIn): Response {
  if (!answer.body) return answer;
  const whileIn = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
    transform(chunk, controller) {
      if (isStillIn()) controller.enqueue(chunk);
      else controller.terminate();
    },
  });
  return new Response(answer.body.pipeThrough(whileIn), answer);
}

/** The sessions that a request shows the secrets of, live or not. */
export function presentedSessions(request: Request, seenAs: SeenAs): readonly NewSession[] {
  const key = request.headers.get(KEY_HEADER);
  if (key === null) return [];
  const name = cookieName(seenAs);
  // Several Cookie fields of HTTP/2 come joined by commas.
  const cookies = (request.headers.get("cookie") ?? "").split(/[;,] */).filter((pair) =>
    pair.startsWith(`${name}=`)
  );
  return cookies.slice(0, MAX_COOKIES).map((pair) => ({ cookie: pair.slice(name.length + 1), key }));
}

/** The Set-Cookie that begins a session in a browser, or ends it with an empty `cookie`. */
export function sessionCookie(cookie: string, maxAgeMs: number, seenAs: SeenAs): string {
  return [
    `${cookieName(seenAs)}=${cookie}`,
    "Path=/",
    `Max-Age=${Math.floor(maxAgeMs / 1_000)}`,
    "HttpOnly",
    "SameSite=Strict",
    ...(seenAs.scheme === "https" ? ["Secure"] : []),
  ].join("; ");
}

/** Cookies know no port, so the name has it: the pages of two proxies on one host do not end each other's sessions. */
function cookieName({ scheme, authority }: SeenAs): string {
  const port = parseAuthority(authority, scheme === "https" ? 443 : 80)?.port ?? 0;
  // RFC 6265bis §4.1.3.2: with this prefix only this host, over TLS, can have set it.
  return `${scheme === "https" ? "__Host-" : ""}slicer_proxy_ui_${port}`;
}
