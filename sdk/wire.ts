/**
 * One HTTP exchange with the API, under Node and under Deno: over a unix socket or TCP, never along a redirect, with
 * certificates verified. A proxy that the environment names never sees any of it; under Deno one for https may carry
 * it, in a tunnel.
 *
 * Two ways, since neither does for both: Node's `fetch` knows no unix sockets, and in Deno 2.7 `node:http` throws where
 * nobody can catch it when a response is left early.
 *
 * Not here: what is called, and what errors mean (`api.ts`).
 *
 * @module
 */
import http from "node:http";
import https from "node:https";
import type { Target } from "./target.ts";

/** What is sent. `path` is what follows the target's base, escaped. */
export interface WireRequest {
  readonly target: Target;
  readonly ca: string | undefined;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** What came back. The body has to be read, or its iteration ended, to free the connection. */
export interface WireAnswer {
  readonly status: number;
  readonly body: AsyncIterable<string>;
}

/** Sends a request. It rejects, or later its body does, with whatever failed; with some error once `signal` aborted. */
export function send(request: WireRequest, signal: AbortSignal): Promise<WireAnswer> {
  return "Deno" in globalThis ? sendByFetch(request, signal) : sendByNode(request, signal);
}

/** Exported for tests: what {@linkcode send} does under Node. */
export function sendByNode(request: WireRequest, signal: AbortSignal): Promise<WireAnswer> {
  const { target, ca, method, path, headers, body } = request;
  const common = { method, headers, agent: false as const, signal };
  return new Promise((resolve, reject) => {
    const onAnswer = (answer: http.IncomingMessage) => {
      answer.setEncoding("utf8");
      resolve({ status: answer.statusCode ?? 0, body: answer as AsyncIterable<string> });
    };
    const sent = target.kind === "unix"
      ? http.request({ ...common, socketPath: target.path, path: `/${path}` }, onAnswer)
      : target.base.protocol === "https:"
      ? https.request(new URL(path, target.base), {
        ...common,
        rejectUnauthorized: true,
        ...(ca === undefined ? {} : { ca }),
      }, onAnswer)
      : http.request(new URL(path, target.base), common, onAnswer);
    sent.on("error", reject);
    sent.end(body);
  });
}

async function sendByFetch(request: WireRequest, signal: AbortSignal): Promise<WireAnswer> {
  const { target, ca, method, path, headers, body } = request;
  const client = openHttpClient(target, ca);
  try {
    const base = target.kind === "unix" ? new URL("http://localhost/") : target.base;
    const answer = await fetch(new URL(path, base), {
      method,
      headers,
      ...(body === undefined ? {} : { body }),
      redirect: "manual",
      signal,
      client,
    });
    return { status: answer.status, body: textOf(answer, client) };
  } catch (error) {
    client.close();
    throw error;
  }
}

async function* textOf(answer: Response, client: Deno.HttpClient): AsyncGenerator<string, void, void> {
  try {
    if (answer.body) yield* answer.body.pipeThrough(new TextDecoderStream());
  } finally {
    client.close();
  }
}

function openHttpClient(target: Target, ca: string | undefined): Deno.HttpClient {
  if (target.kind === "unix") {
    return Deno.createHttpClient({ proxy: { transport: "unix", path: target.path } });
  }
  if (target.base.protocol === "https:") {
    return Deno.createHttpClient(ca === undefined ? {} : { caCerts: [ca] });
  }
  // Dialled explicitly, so that HTTP_PROXY, which the users of a proxy are likely to have set, never gets the token.
  const hostname = target.base.hostname.replace(/^\[(.*)\]$/, "$1");
  const port = Number(target.base.port || "80");
  return Deno.createHttpClient({ proxy: { transport: "tcp", hostname, port } });
}
