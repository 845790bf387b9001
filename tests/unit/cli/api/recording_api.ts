/**
 * A real HTTP server that keeps what it was asked and answers what the test says: on a unix socket or on TCP.
 *
 * @module
 */

/** One request as it arrived. */
export interface Recorded {
  readonly method: string;
  /** Path and query, as sent. */
  readonly path: string;
  readonly authorization: string | null;
  readonly body: unknown;
}

/** Stop it with `await using`. */
export interface RecordingApi extends AsyncDisposable {
  readonly requests: readonly Recorded[];
  readonly port: number;
}

/** Listens on the socket `where`, or on a free port of 127.0.0.1, with TLS when `where` is a certificate with its key. */
export function startRecordingApi(
  answer: (request: Recorded) => Response,
  where?: string | { readonly cert: string; readonly key: string },
): RecordingApi {
  const requests: Recorded[] = [];
  const handler = async (request: Request): Promise<Response> => {
    const { pathname, search } = new URL(request.url);
    const text = await request.text();
    const recorded: Recorded = {
      method: request.method,
      path: pathname + search,
      authorization: request.headers.get("authorization"),
      body: text === "" ? undefined : JSON.parse(text),
    };
    requests.push(recorded);
    return answer(recorded);
  };
  if (typeof where === "string") {
    const server = Deno.serve({ path: where, onListen: () => {} }, handler);
    return { requests, port: 0, [Symbol.asyncDispose]: () => server.shutdown() };
  }
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {}, ...where }, handler);
  return { requests, port: server.addr.port, [Symbol.asyncDispose]: () => server.shutdown() };
}
