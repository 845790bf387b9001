/**
 * The loopback listener that the browser comes back to after a login (RFC 8252 §7.3). It takes one answer, the one that
 * carries this login's state; anything else that a page or a program on this machine sends is refused and changes nothing.
 *
 * Not here: what the answer means, and pasted answers (`oauth/answer.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { type ExpectedAnswer, judgeAnswer } from "./answer.ts";

/** How long the page may take to get its text. */
const CLOSE_TIMEOUT_MS = 1_000;

/** A listener on 127.0.0.1. Dispose it to free the port. */
export interface CallbackListener extends AsyncDisposable {
  /** `http://127.0.0.1:PORT/callback`, literal as the provider has to repeat it. */
  readonly redirectUri: string;
  /** The parameters of the first answer of ours; never rejects, and never resolves without one. */
  readonly answer: Promise<URLSearchParams>;
}

/** See each field. */
export interface CallbackOptions extends ExpectedAnswer {
  /** 0 lets the system choose. */
  readonly port: number;
  /** The page that may deliver the answer by `fetch` instead of a redirect. */
  readonly allowedOrigin: string;
  /** Called once, at the first answer that belongs to another login. */
  readonly onForeign: () => void;
}

/**
 * Listens for the answer.
 *
 * @throws ProxyError `listen.failed`
 */
export function listenForCallback(options: CallbackOptions): CallbackListener {
  const { promise: answer, resolve } = Promise.withResolvers<URLSearchParams>();
  let foreignCount = 0;
  const handle = (request: Request): Response => {
    const url = new URL(request.url);
    const reply = (status: number, text: string | null) => respond(request, options, status, text);
    if (url.pathname !== "/callback") return reply(404, "Not found.");
    if (request.method === "OPTIONS") return reply(204, null);
    if (request.method !== "GET") return reply(405, "Only GET.");
    const verdict = judgeAnswer(url.searchParams, options);
    if (verdict === "incomplete") return reply(400, "This address holds no answer of a login.");
    if (verdict === "foreign") {
      if (++foreignCount === 1) options.onForeign();
      return reply(400, "This answer belongs to another login. Open the address in the terminal once more.");
    }
    resolve(url.searchParams);
    return url.searchParams.has("code")
      ? reply(200, "The answer has arrived. You can close this page and go back to the terminal.")
      : reply(200, "The login was refused. You can close this page and go back to the terminal.");
  };
  const server = serve(options.port, handle);
  return {
    redirectUri: `http://127.0.0.1:${server.addr.port}/callback`,
    answer,
    async [Symbol.asyncDispose]() {
      // The page that is being answered still gets its text. The port is free at once; a connection that holds back half a
      // request would keep shutdown() waiting on some runtimes, and is left to the end of the process.
      const { promise: late, resolve: giveUp } = Promise.withResolvers<void>();
      const timer = setTimeout(giveUp, CLOSE_TIMEOUT_MS);
      await Promise.race([server.shutdown(), late]);
      clearTimeout(timer);
    },
  };
}

function serve(
  port: number,
  handler: (request: Request) => Response,
): Deno.HttpServer<Deno.NetAddr> {
  try {
    const server = Deno.serve({ hostname: "127.0.0.1", port, onListen: () => {} }, handler);
    // Without descriptors it accepts no more, and rejects. The answer can be pasted still: that must not end the command.
    server.finished.catch(() => {});
    return server;
  } catch (cause) {
    const state = cause instanceof Deno.errors.AddrInUse
      ? "the port is in use"
      : cause instanceof Deno.errors.PermissionDenied
      ? "permission denied"
      : "the system refuses";
    throw new ProxyError("listen.failed", `Cannot listen on 127.0.0.1:${port}: ${state}`, {
      cause,
      hint: "is another login waiting? end it, or write --port with a free port, or --port 0 for any",
    });
  }
}

/** Fixed text only: nothing of the request is repeated to the page. */
function respond(request: Request, options: CallbackOptions, status: number, text: string | null): Response {
  const headers = new Headers({
    "cache-control": "no-store",
    "referrer-policy": "no-referrer", // the address of this page holds the code
    "x-content-type-options": "nosniff",
    "vary": "origin",
    "connection": "close",
  });
  if (request.headers.get("origin") === options.allowedOrigin) {
    headers.set("access-control-allow-origin", options.allowedOrigin);
    headers.set("access-control-allow-methods", "GET, OPTIONS");
    headers.set("access-control-allow-private-network", "true");
  }
  if (status === 405) headers.set("allow", "GET, OPTIONS");
  if (text === null) return new Response(null, { status, headers });
  headers.set("content-type", "text/plain; charset=utf-8");
  return new Response(`${text}\n`, { status, headers });
}
