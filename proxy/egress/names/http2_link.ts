/**
 * Questions over HTTPS (RFC 8484), on one connection of HTTP/2, which that RFC asks for at least. The id is always 0, for caches
 * on the way (§4.1); nobody can forge inside TLS.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Deadlines } from "../../../core/deadlines.ts";
import { messageOf } from "../../../core/errors.ts";
import { formatHost } from "../../../core/host_port.ts";
import { DEFAULT_LIMITS, NAME_LIMITS } from "../../../core/limits.ts";
import { startHttp2Client } from "../../http2/client.ts";
import { H2 } from "../../http2/error.ts";
import type { Http2ClientConnection, Http2ClientStream } from "../../http2/types.ts";
import { closeQuietly } from "../../streams/byte_reader.ts";
import type { Exchange, Way } from "./exchange.ts";
import { FailedLookup } from "./failed_lookup.ts";
import type { NameServer } from "./name_server.ts";
import { orAborted } from "./or_aborted.ts";
import type { ServerSocket } from "./server_socket.ts";

const MEDIA_TYPE = "application/dns-message";

/** The connection to one server, opened when it is needed. */
export class Http2Link implements Way {
  readonly #server: NameServer;
  readonly #deadlines: Deadlines;
  readonly #open: () => Promise<ServerSocket>;
  /** All that are not over. New questions go on one of them, the last that was opened. */
  readonly #connections = new Set<Http2ClientConnection>();
  #current: Promise<Http2ClientConnection> | undefined;
  #idle: ReturnType<typeof setTimeout> | undefined;
  #asking = 0;
  /** When an answer came last: a connection that went dead without a word must not be used for ever. */
  #heardAt = -Infinity;
  #isClosed = false;

  /** @param open connects within a bounded time */
  constructor(server: NameServer, deadlines: Deadlines, open: () => Promise<ServerSocket>) {
    this.#server = server;
    this.#deadlines = deadlines;
    this.#open = open;
  }

  async ask(exchange: Exchange, signal: AbortSignal): Promise<Uint8Array> {
    this.#asking++;
    clearTimeout(this.#idle);
    try {
      // The one that was there may be about to end: the server closes idle ones as it likes.
      if (this.#current) {
        const answer = await this.#try(exchange, signal).catch((error) => {
          if (signal.aborted || (error instanceof FailedLookup && error.kind !== "away")) throw error;
          return undefined;
        });
        if (answer) return answer;
      }
      return await this.#try(exchange, signal);
    } finally {
      if (--this.#asking === 0 && !this.#isClosed) this.#rest();
    }
  }

  leave(): void {
    if (this.#current) this.#leave(this.#current);
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#current = undefined;
    clearTimeout(this.#idle);
    for (const connection of this.#connections) connection.close();
  }

  async #try(exchange: Exchange, signal: AbortSignal): Promise<Uint8Array> {
    const askedAt = performance.now();
    const connecting = this.#current ??= this.#connect();
    let connection: Http2ClientConnection | undefined;
    try {
      connection = await orAborted(connecting, signal);
      const answer = await this.#askOn(connection, exchange, signal);
      this.#heardAt = performance.now();
      return answer;
    } catch (error) {
      if (signal.aborted) {
        // One that is still coming about has a time limit of its own, and the next question may have it.
        if (connection && this.#heardAt < askedAt) this.#leave(connecting);
        throw signal.reason;
      }
      if (error instanceof FailedLookup && error.kind !== "away") throw error;
      this.#leave(connecting);
      throw error instanceof FailedLookup
        ? error
        : new FailedLookup("away", messageOf(error), { cause: error });
    }
  }

  async #connect(): Promise<Http2ClientConnection> {
    const socket = await this.#open();
    if (this.#isClosed || socket.protocol !== "h2") {
      closeQuietly(socket.stream);
      throw new FailedLookup("away", "it does not speak HTTP/2");
    }
    const connection = startHttp2Client({ ...socket, limits: DEFAULT_LIMITS, deadlines: this.#deadlines });
    this.#connections.add(connection);
    void connection.closed.then(() => this.#connections.delete(connection));
    return connection;
  }

  async #askOn(
    connection: Http2ClientConnection,
    { query, isAnswer }: Exchange,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const { host, port, path } = this.#server;
    const fields = Object.entries({
      "accept": MEDIA_TYPE,
      "content-type": MEDIA_TYPE,
      "content-length": String(query.length),
    }).map(([key, value]) => ({ key, value }));
    const authority = port === 443 ? formatHost(host) : `${formatHost(host)}:${port}`;
    const head = { method: "POST", scheme: "https", authority, path, protocol: undefined, fields };
    const stream = await connection.openStream(() => head, { signal });
    try {
      const answer = await orAborted(askStream(stream, query), signal);
      if (!isAnswer(answer)) throw new FailedLookup("garbage", "it answers another question");
      return answer;
    } finally {
      stream.reset(H2.CANCEL); // nothing when it is over already
    }
  }

  /** Those that wait on it go on, each for a bounded time, and then it ends; new questions have another. */
  #leave(connecting: Promise<Http2ClientConnection>): void {
    if (this.#current === connecting) this.#current = undefined;
    connecting.then((connection) => connection.shutDown(), () => {});
  }

  #rest(): void {
    this.#idle = setTimeout(() => this.#current && this.#leave(this.#current), NAME_LIMITS.idleMs);
    Deno.unrefTimer(this.#idle);
  }
}

async function askStream(stream: Http2ClientStream, query: Uint8Array): Promise<Uint8Array> {
  await stream.write(query, true);
  let response = await stream.response();
  while (response.status < 200) response = await stream.response();
  const type = response.fields.find(({ key }) => key === "content-type")?.value;
  if (response.status !== 200) {
    throw new FailedLookup("servfail", `it answers with status ${response.status}`);
  }
  if (type?.split(";")[0]?.trim().toLowerCase() !== MEDIA_TYPE) {
    throw new FailedLookup("garbage", `its answer is no ${MEDIA_TYPE}`);
  }
  const parts: Uint8Array[] = [];
  let size = 0;
  while (await stream.fill()) {
    const bytes = stream.available;
    if ((size += bytes.length) > NAME_LIMITS.maxAnswerBytes) throw new FailedLookup("too-large");
    parts.push(bytes.slice());
    stream.consume(bytes.length);
  }
  return Buffer.concat(parts);
}
