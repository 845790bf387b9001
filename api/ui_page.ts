/**
 * What a browser gets under `/ui/`: the page's files, the way in by a link, and the way out.
 *
 * Not here: who is let in (`guard.ts`, `ui_door.ts`), what the page shows (`ui/`).
 *
 * @module
 */
import { refuse } from "./errors.ts";
import { authorityOf, pathOf } from "./request_url.ts";
import { UI_FILES } from "./ui_files.ts";
import { isFrontDoor, presentedSessions, type SeenAs, SESSION_PATH, sessionCookie } from "./ui_door.ts";
import { SESSION_MS, type UiSessions } from "./ui_sessions.ts";

/**
 * Nothing but our own files, no inline code, no frames, no forms elsewhere; no other site learns that this one was open,
 * can hold on to its window, or can embed its files.
 */
const HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join("; "),
  "x-frame-options": "DENY",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
};

/** Answers requests under `/ui`, and a browser at `/`, all let in by the guard; undefined for every other path. */
export function createPage(
  scheme: "http" | "https",
  sessions: UiSessions,
): (request: Request) => Response | undefined {
  return (request) => {
    const path = pathOf(request);
    if (path !== "/ui" && !path.startsWith("/ui/") && !isFrontDoor(request)) return undefined;
    const seenAs = { scheme, authority: authorityOf(request) ?? "" };
    const response = answer(request, path, seenAs, sessions);
    for (const [name, value] of Object.entries(HEADERS)) response.headers.set(name, value);
    return response;
  };
}

function answer(request: Request, path: string, seenAs: SeenAs, sessions: UiSessions): Response {
  if (path === "/ui/logout") return logOut(request, seenAs, sessions);
  if (request.method !== "GET" && request.method !== "HEAD") return notAllowed("GET, HEAD");
  if (path === "/ui") return new Response(null, { status: 308, headers: { location: "/ui/" } });
  if (path === "/") return new Response(null, { status: 303, headers: { location: "/ui/" } });
  if (path === SESSION_PATH) return describeSession(request, seenAs, sessions);
  if (path === "/ui/login") return logIn(request, seenAs, sessions);
  const file = UI_FILES.get(path);
  if (!file) return refuse(404, "Cannot find this page: no such path");
  return new Response(file.text, { headers: { "content-type": file.type } });
}

/** Spends the link's code. The key goes to the page in the fragment, which leaves the browser in no request. */
function logIn(request: Request, seenAs: SeenAs, sessions: UiSessions): Response {
  if (request.method !== "GET") return notAllowed("GET");
  const opened = sessions.open(new URL(request.url).searchParams.get("code") ?? "");
  if (typeof opened === "string") {
    const isTooMany = opened === "too-many";
    return new Response(UI_FILES.get("/ui/refused.html")?.text, {
      status: isTooMany ? 429 : 403,
      headers: { "content-type": "text/html; charset=utf-8", ...(isTooMany ? { "retry-after": "60" } : {}) },
    });
  }
  return new Response(null, {
    status: 303,
    headers: {
      location: `/ui/#key=${opened.key}`,
      "set-cookie": sessionCookie(opened.cookie, SESSION_MS, seenAs),
    },
  });
}

/** Tells the page what to offer. What it may do is decided at each call. */
function describeSession(request: Request, seenAs: SeenAs, sessions: UiSessions): Response {
  const rights = presentedSessions(request, seenAs).map((each) => sessions.rightsOf(each)).find((each) =>
    each
  );
  if (!rights) return refuse(404, "Cannot describe the session: this call has none");
  return Response.json({ may_manage: rights === "manage" });
}

function logOut(request: Request, seenAs: SeenAs, sessions: UiSessions): Response {
  if (request.method !== "POST") return notAllowed("POST");
  for (const session of presentedSessions(request, seenAs)) sessions.close(session);
  return new Response(null, { status: 204, headers: { "set-cookie": sessionCookie("", 0, seenAs) } });
}

function notAllowed(allow: string): Response {
  return refuse(405, `Cannot use this method here: it is none of ${allow}`, { headers: { allow } });
}
