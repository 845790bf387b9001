/**
 * Passing calls on to slicerd: the published clients have one URL for VMs and for the proxy. What is not ours goes to
 * slicerd as it came, streams both ways, whoever reads slowly slowing down the other end.
 *
 * Not here: who may call (`guard.ts` has asked before), WebSockets (`slicerd_socket.ts`).
 *
 * @module
 */
import { isProxyError, messageOf } from "../core/errors.ts";
import { Calls } from "./calls.ts";
import { refuse } from "./errors.ts";
import { pathOf } from "./request_url.ts";
import { passWebSocket, type SlicerdPlace } from "./slicerd_socket.ts";

/** See each field. */
export interface SlicerdOptions {
  readonly place: SlicerdPlace;
  /** Sent to slicerd by whoever calls over TCP, where the caller's own is the API's, and by a caller that sends none. */
  readonly token?: string;
  readonly maxCalls?: number;
}

/** How a call came in. */
export interface Caller {
  /** Over TCP the Authorization is the API's own token, and the cookies are those of the web page. */
  readonly isTcp: boolean;
}

/** A shell or a log that is followed holds its call for hours, so these do not take those of the API. */
const MAX_CALLS = 256;

/** Ours, whatever slicerd may have by these names. */
const OWN_PATHS: readonly string[] = ["/proxy", "/healthz", "/metrics", "/ui"];

/** RFC 9110 §7.6.1: for one hop. Deno frames messages itself. */
const HOP_BY_HOP: readonly string[] = [
  ...["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"],
  ...["proxy-authenticate", "proxy-authorization", "expect"],
];

/** True for a path that the API answers itself. */
export function isOwnPath(path: string): boolean {
  return path === "" || path === "/" || path === "*" ||
    OWN_PATHS.some((own) => path === own || path.startsWith(`${own}/`));
}

/** The way to slicerd. Disposing ends what is open. */
export class Slicerd implements Disposable {
  readonly calls: Calls;
  readonly #options: SlicerdOptions;
  readonly #http: Deno.HttpClient;
  readonly #stop = new AbortController();

  constructor(options: SlicerdOptions) {
    this.#options = options;
    this.calls = new Calls(options.maxCalls ?? MAX_CALLS);
    this.#http = openClient(options);
  }

  /** True for calls that go to slicerd. */
  takes(request: Request): boolean {
    return !isOwnPath(pathOf(request));
  }

  /** Passes a call on. Never rejects: what goes wrong becomes a 502 that says so. */
  async pass(request: Request, caller: Caller): Promise<Response> {
    const target = targetOf(request);
    if (target === undefined) {
      return refuse(400, "Cannot pass this call on: its path can be read in two ways", {
        hint: "write it without //, \\ and dot segments",
      });
    }
    const headers = this.#headers(request.headers, caller);
    const { place } = this.#options;
    try {
      const upgrade = request.headers.get("upgrade")?.toLowerCase();
      if (upgrade === "websocket") {
        return await passWebSocket(request, { place, target, headers, signal: this.#stop.signal });
      }
      if (upgrade !== undefined) {
        return refuse(501, "Cannot pass this call on: of upgrades only WebSocket is passed to slicerd", {
          hint: `call slicerd itself at ${place.label}`,
        });
      }
      return await this.#fetch(request, target, headers);
    } catch (error) {
      if (isProxyError(error)) {
        return refuse(502, error.message, error.hint === undefined ? {} : { hint: error.hint });
      }
      return refuse(502, `Cannot reach slicerd at ${place.label}: ${whyNot(error)}`, {
        hint: "is slicer up running, and is --slicerd its socket or URL?",
      });
    }
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#http.close();
  }

  async #fetch(request: Request, target: string, headers: Headers): Promise<Response> {
    const { place } = this.#options;
    const hasBody = request.body !== null && request.method !== "GET" && request.method !== "HEAD";
    const answer = await fetch(new URL(target, place.kind === "unix" ? "http://localhost" : place.base), {
      method: request.method,
      headers,
      body: hasBody ? request.body : null,
      redirect: "manual",
      signal: AbortSignal.any([request.signal, this.#stop.signal]),
      client: this.#http,
    });
    return new Response(answer.body, {
      status: answer.status,
      statusText: answer.statusText,
      headers: endToEnd(answer.headers),
    });
  }

  #headers(received: Headers, { isTcp }: Caller): Headers {
    const headers = endToEnd(received);
    headers.delete("host");
    if (isTcp) {
      // Whoever serves slicerd must not learn the token of the API, which is for credentials and rules.
      headers.delete("authorization");
      headers.delete("cookie");
    }
    const { token } = this.#options;
    if (token !== undefined && !headers.has("authorization")) headers.set("authorization", `Bearer ${token}`);
    // Else the runtime asks for gzip and unpacks it: the answer would not be the one that slicerd gave.
    headers.set("accept-encoding", "identity");
    return headers;
  }
}

/** Path and query as they were sent, when they reach slicerd that way: the runtime tidies paths, and `..` is not tidied into ours. */
function targetOf(request: Request): string | undefined {
  const path = pathOf(request);
  const [url = ""] = request.url.split("#", 1);
  const at = url.indexOf("?");
  const query = at < 0 ? "" : url.slice(at);
  if (!path.startsWith("/") || path.startsWith("//")) return undefined;
  const tidy = new URL(path, "http://localhost");
  return tidy.pathname === path && !path.includes("//") ? path + query : undefined;
}

/** A copy without the fields that are for one hop, and those that `Connection` names. */
function endToEnd(received: Headers): Headers {
  const headers = new Headers(received);
  const named = (received.get("connection") ?? "").split(",").map((name) => name.trim());
  for (const name of [...HOP_BY_HOP, ...named]) {
    if (/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) headers.delete(name);
  }
  return headers;
}

function openClient({ place }: SlicerdOptions): Deno.HttpClient {
  if (place.kind === "unix") return Deno.createHttpClient({ proxy: { transport: "unix", path: place.path } });
  if (place.base.protocol === "https:") return Deno.createHttpClient({});
  // Dialled explicitly: HTTP_PROXY must not get slicerd's token.
  const hostname = place.base.hostname.replace(/^\[(.*)\]$/, "$1");
  return Deno.createHttpClient({
    proxy: { transport: "tcp", hostname, port: Number(place.base.port || "80") },
  });
}

function whyNot(error: unknown): string {
  const text = `${messageOf(error)} ${error instanceof Error && error.cause ? messageOf(error.cause) : ""}`;
  if (/no such file|not found/i.test(text)) return "there is no such socket";
  if (/refused/i.test(text)) return "nothing listens there";
  if (/permission denied/i.test(text)) return "permission denied";
  if (/abort/i.test(text)) return "the call ended";
  return "the connection failed";
}
