/**
 * Questions over TCP and TLS (RFC 7766, RFC 7858). A connection has one question at a time: some servers answer in order, and
 * a name that is slow would hold up those behind it. Connections are kept for the next question.
 *
 * @module
 */
import { messageOf } from "../../../core/errors.ts";
import { NAME_LIMITS } from "../../../core/limits.ts";
import { closeQuietly, writeAll } from "../../streams/byte_reader.ts";
import type { Exchange, Way } from "./exchange.ts";
import { FailedLookup } from "./failed_lookup.ts";
import type { ServerSocket } from "./server_socket.ts";

interface IdleLink {
  readonly socket: ServerSocket;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** The connections to one server. How many questions there are at once is the caller's to bound. */
export class StreamLinks implements Way {
  readonly #open: (signal: AbortSignal) => Promise<ServerSocket>;
  /** The one that was used last is the last. */
  readonly #idle: IdleLink[] = [];
  #isClosed = false;

  constructor(open: (signal: AbortSignal) => Promise<ServerSocket>) {
    this.#open = open;
  }

  async ask(exchange: Exchange, signal: AbortSignal): Promise<Uint8Array> {
    for (let kept = this.#takeIdle(); kept; kept = this.#takeIdle()) {
      const answer = await this.#use(kept, exchange, signal).catch((error) => {
        if (signal.aborted) this.leave(); // those kept beside it are likely as dead
        if (signal.aborted || error instanceof FailedLookup && error.kind === "garbage") throw error;
        return undefined; // the server has closed it meanwhile, as it may (RFC 7766 §6.2.4)
      });
      if (answer) return answer;
    }
    return await this.#use(await this.#open(signal), exchange, signal);
  }

  leave(): void {
    for (let kept = this.#takeIdle(); kept; kept = this.#takeIdle()) closeQuietly(kept.stream);
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.leave();
  }

  async #use(socket: ServerSocket, exchange: Exchange, signal: AbortSignal): Promise<Uint8Array> {
    const cut = () => closeQuietly(socket.stream);
    signal.addEventListener("abort", cut);
    try {
      signal.throwIfAborted();
      await writeAll(socket.stream, framed(exchange.query));
      const answer = await readFrame(socket);
      if (!exchange.isAnswer(answer)) throw new FailedLookup("garbage", "it answers another question");
      if (socket.reader.size > 0) cut(); // nobody asked for more
      else this.#rest(socket);
      return answer;
    } catch (error) {
      cut();
      if (signal.aborted) throw signal.reason;
      if (error instanceof FailedLookup) throw error;
      throw new FailedLookup("away", messageOf(error), { cause: error });
    } finally {
      signal.removeEventListener("abort", cut);
    }
  }

  #rest(socket: ServerSocket): void {
    if (this.#isClosed || this.#idle.length >= NAME_LIMITS.maxIdle) return closeQuietly(socket.stream);
    // All wait equally long: the one whose time is over is the first.
    const timer = setTimeout(() => closeQuietly(this.#idle.shift()?.socket.stream), NAME_LIMITS.idleMs);
    Deno.unrefTimer(timer);
    this.#idle.push({ socket, timer });
  }

  #takeIdle(): ServerSocket | undefined {
    const link = this.#idle.pop();
    if (link) clearTimeout(link.timer);
    return link?.socket;
  }
}

/** RFC 1035 §4.2.2: the length goes before. In one write, for a server that reads no more than the first piece. */
function framed(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(2 + message.length);
  new DataView(bytes.buffer).setUint16(0, message.length);
  bytes.set(message, 2);
  return bytes;
}

async function readFrame({ reader }: ServerSocket): Promise<Uint8Array> {
  const fill = async (size: number) => {
    while (reader.size < size) {
      if (!await reader.fill()) throw new Error("the server closed the connection");
    }
  };
  await fill(2);
  const { buffer, byteOffset } = reader.available;
  const size = new DataView(buffer, byteOffset).getUint16(0);
  if (size > NAME_LIMITS.maxAnswerBytes) throw new FailedLookup("too-large");
  await fill(2 + size);
  const answer = reader.available.slice(2, 2 + size);
  reader.consume(2 + size);
  return answer;
}
