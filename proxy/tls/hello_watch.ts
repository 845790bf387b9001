/**
 * Follows the plain beginning of TLS in a tunnel that is passed through: the ClientHello, and the second one after a
 * HelloRetryRequest (RFC 8446 §4.1.4), whose server name nginx, HAProxy and Node take over the first. Once the server has
 * answered with a ServerHello, or the client has sent another handshake message, nothing plain can follow and nothing is
 * looked at any more.
 *
 * Not here: which names are right, and what happens to a tunnel with a wrong one (`proxy/tunnels/tunnel.ts`).
 *
 * @module
 */
import { type ClientHello, tlsStart } from "../../core/client_hello.ts";
import type { Deadlines } from "../../core/deadlines.ts";
import { ProxyError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import type { Reason } from "../../policy/reason.ts";
import type { ByteReader } from "../streams/byte_reader.ts";
import { peekClientHello } from "../streams/client_hello.ts";

/** See {@linkcode HelloWatch}. */
export interface HelloWatchOptions {
  readonly limits: Pick<Limits, "maxClientHelloBytes" | "handshakeTimeoutMs">;
  readonly deadlines: Deadlines;
  /** What is wrong with a ClientHello, or undefined. */
  readonly check: (hello: ClientHello) => Reason | undefined;
  /** Ends the tunnel. */
  readonly refuse: (reason: Reason) => void;
}

const HANDSHAKE = 0x16;
const CHANGE_CIPHER_SPEC = 0x14;
const APPLICATION_DATA = 0x17;
const CLIENT_HELLO = 1;
const SERVER_HELLO = 2;
const RECORD_HEADER = 5;
/** Up to the end of a ServerHello's random: record header, message header, version, random. */
const ANSWER_BYTES = RECORD_HEADER + 4 + 2 + 32;
/** Warnings that a server may send before its ServerHello (`unrecognized_name`) are a few bytes. */
const MAX_ANSWER_BYTES = 512;
/** The random of a ServerHello that is a HelloRetryRequest (RFC 8446 §4.1.3). */
const RETRY_RANDOM = "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c";

/** The watch over one tunnel. */
export class HelloWatch {
  readonly #options: HelloWatchOptions;
  #state: "first" | "second" | "done" = "first";
  /** Bytes of a record that is passing. */
  #passing = 0;
  /** What the server has said so far, until it is understood or turns out not to be. */
  #answer: Uint8Array | undefined = new Uint8Array(0);

  constructor(options: HelloWatchOptions) {
    this.#options = options;
  }

  /** True when everything may pass without being looked at. */
  get isDone(): boolean {
    return this.#state === "done";
  }

  /**
   * How many of the reader's bytes may pass now, at least one; waits for more where those do not tell. The reader holds some.
   *
   * @throws ProxyError when the tunnel is refused; `refuse` was called then
   */
  async admit(reader: ByteReader): Promise<number> {
    const { deadlines, limits, refuse } = this.#options;
    if (this.#state === "done") return reader.size;
    if (this.#passing > 0) return this.#pass(reader);
    const deadline = deadlines.start(limits.handshakeTimeoutMs, () => refuse("tls-no-client-hello"));
    try {
      return this.#state === "first" ? await this.#admitFirst(reader) : await this.#admitSecond(reader);
    } catch (error) {
      refuse("tls-no-client-hello"); // only the first reason counts
      throw error;
    } finally {
      deadline.stop();
    }
  }

  /** The server's bytes, from its first one on. */
  answered(bytes: Uint8Array): void {
    if (this.#answer === undefined) return;
    const known = this.#answer;
    const answer = new Uint8Array(Math.min(known.length + bytes.length, MAX_ANSWER_BYTES));
    answer.set(known);
    answer.set(bytes.subarray(0, answer.length - known.length), known.length);
    const kind = kindOfAnswer(answer);
    this.#answer = kind === "unknown" && answer.length < MAX_ANSWER_BYTES ? answer : undefined;
    if (kind === "hello" && this.#state === "second") this.#state = "done";
  }

  async #admitFirst(reader: ByteReader): Promise<number> {
    let start = tlsStart(reader.available);
    while (start === undefined && await reader.fill()) start = tlsStart(reader.available);
    if (start === "record") return await this.#admitHello(reader, "second");
    if (start === "ssl2") throw noClientHello();
    this.#state = "done";
    return reader.size;
  }

  /** Early data, an alert or the empty ChangeCipherSpec may stand before the second hello. */
  async #admitSecond(reader: ByteReader): Promise<number> {
    while (reader.size <= RECORD_HEADER) {
      if (!await reader.fill()) return reader.size;
    }
    const [type = 0, major, , high = 0, low = 0, message] = reader.available;
    const length = (high << 8) | low;
    if (type === HANDSHAKE && (message === CLIENT_HELLO || length === 0)) {
      return await this.#admitHello(reader, "done");
    }
    if (type === HANDSHAKE || type < CHANGE_CIPHER_SPEC || type > APPLICATION_DATA || major !== 3) {
      this.#state = "done"; // the next message of TLS 1.2, or nothing that a TLS server would take
      return reader.size;
    }
    this.#passing = RECORD_HEADER + length;
    return this.#pass(reader);
  }

  async #admitHello(reader: ByteReader, next: "second" | "done"): Promise<number> {
    const hello = await peekClientHello(reader, this.#options.limits);
    const fault = this.#options.check(hello);
    if (fault !== undefined) {
      this.#options.refuse(fault);
      throw new ProxyError("policy.mismatch", "Cannot pass the tunnel through: its SNI names another host");
    }
    this.#state = next;
    return hello.byteLength;
  }

  #pass(reader: ByteReader): number {
    const count = Math.min(this.#passing, reader.size);
    this.#passing -= count;
    return count;
  }
}

/** What a server answers with: it wants another ClientHello, it goes on, or that cannot be said (yet). */
function kindOfAnswer(bytes: Uint8Array): "retry" | "hello" | "unknown" {
  let at = 0;
  while (bytes.length - at >= RECORD_HEADER && bytes[at] !== HANDSHAKE) {
    if (bytes[at] !== 0x15 && bytes[at] !== CHANGE_CIPHER_SPEC) return "unknown";
    at += RECORD_HEADER + (((bytes[at + 3] ?? 0) << 8) | (bytes[at + 4] ?? 0));
  }
  const record = bytes.subarray(at, at + ANSWER_BYTES);
  const length = ((record[3] ?? 0) << 8) | (record[4] ?? 0);
  const isHello = record.length === ANSWER_BYTES && record[0] === HANDSHAKE &&
    length >= ANSWER_BYTES - RECORD_HEADER && record[RECORD_HEADER] === SERVER_HELLO;
  if (!isHello) return "unknown";
  return record.subarray(ANSWER_BYTES - 32).toHex() === RETRY_RANDOM ? "retry" : "hello";
}

function noClientHello(): ProxyError {
  return new ProxyError(
    "client.malformed",
    "Cannot pass the tunnel through: TLS begins without a ClientHello",
    {
      reason: "tls-no-client-hello",
    },
  );
}
