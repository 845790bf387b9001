/**
 * The decrypted side of a connection whose TLS was ended over loopback: its end, said in TLS, and its descriptors, all closed.
 *
 * Not here: how it came about (`loopback.ts`).
 *
 * @module
 */
import type { Deadlines } from "../../core/deadlines.ts";
import { type ByteStream, closeQuietly, closeWriteQuietly } from "../streams/byte_reader.ts";
import type { Splice } from "../streams/splice.ts";

/** The decrypted side of a connection. */
export interface TlsSession extends ByteStream {
  /** Cuts the connection without a close_notify, so that the client sees a truncation (RFC 8446 §6.1). */
  abort(): void;
  /** Resolves when every descriptor of the connection is closed. */
  readonly done: Promise<void>;
}

/** How long whatever waits on the TLS side has to notice by itself that the client is gone. */
const NOTICE_MS = 1_000;

/** See the module. */
export class LoopbackSession implements TlsSession {
  readonly done: Promise<void>;
  readonly #tls: Deno.TlsConn;
  readonly #joined: Splice;
  readonly #patienceMs: number;
  readonly #deadlines: Deadlines;
  #hasSaidEnd = false;
  #isClientGone = false;
  #isClosed = false;
  #onClosed: (() => void) | undefined;

  constructor(
    tls: Deno.TlsConn,
    { joined, done, patienceMs, deadlines }: {
      readonly joined: Splice;
      /** Has to wait for {@linkcode clientGone}. */
      readonly done: Promise<void>;
      readonly patienceMs: number;
      readonly deadlines: Deadlines;
    },
  ) {
    this.#tls = tls;
    this.#joined = joined;
    this.done = done;
    this.#patienceMs = patienceMs;
    this.#deadlines = deadlines;
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.#tls.read(into);
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#tls.write(bytes);
  }

  async closeWrite(): Promise<void> {
    await this.#tls.closeWrite();
    this.#hasSaidEnd = true;
  }

  /** Says close_notify, then lets the splice hand over the rest and close. A client that reads nothing is cut. */
  close(): void {
    if (this.#isClosed) return;
    this.#joined.expectEnd(this.#patienceMs);
    if (this.#hasSaidEnd || this.#isClientGone) return this.#closeTls();
    this.#hasSaidEnd = true;
    closeWriteQuietly(this.#tls).then(() => this.#closeTls());
  }

  abort(): void {
    this.#joined.abort();
    this.#closeTls();
  }

  /**
   * Both ways are over, and our end of the hop is closed: that wakes whatever waits on the TLS side, with an end of stream. To
   * close it under a read is an error with a stack instead, which costs a twentieth of a new tunnel: only who does not notice.
   */
  clientGone(): Promise<void> | undefined {
    if (this.#isClosed) return undefined;
    this.#isClientGone = true;
    const late = this.#deadlines.start(NOTICE_MS, () => this.#closeTls());
    return new Promise((resolve) =>
      this.#onClosed = () => {
        late.stop();
        resolve();
      }
    );
  }

  /** Closing again throws, which costs as much. */
  #closeTls(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeQuietly(this.#tls);
    this.#onClosed?.();
  }
}
