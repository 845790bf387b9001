/**
 * Ending TLS on a connection that is open already, with a certificate of our choice. Deno can only do a server handshake on
 * a connection that its own listener accepted, so each certificate has a listener on loopback, and the connection's bytes are
 * spliced to it. This is the one file that knows of that; its interface is `terminate()`.
 *
 * The hop is safe because an inner connection counts only when its full 4-tuple was registered by our own splice: another
 * local process that dials the listener is closed and never read. (The runtime begins a handshake by itself with whoever
 * connects, so a quick stranger may see the certificate, which is public.)
 *
 * Not here: which certificate (`ca/`), the stream that comes of it (`loopback_session.ts`), what is said inside
 * (`accept/session.ts`).
 *
 * @module
 */
import { type Accepting, startAccepting } from "../../core/accept_loop.ts";
import type { Deadline, Deadlines } from "../../core/deadlines.ts";
import { parseClientHello } from "../../core/client_hello.ts";
import { messageOf, ProxyError } from "../../core/errors.ts";
import type { Limits } from "../../core/limits.ts";
import { logger } from "../../core/log.ts";
import { setListenerNoDelay, shutdownSocket } from "../../core/native.ts";
import { type ByteStream, closeQuietly } from "../streams/byte_reader.ts";
import { SocketStream } from "../streams/socket_stream.ts";
import { type Splice, splice } from "../streams/splice.ts";
import { clientTlsFailure } from "./errors.ts";
import { LoopbackSession, type TlsSession } from "./loopback_session.ts";

/** A certificate chain with its key. */
export interface ServerCertificate {
  /** PEM, leaf first. */
  readonly certPem: string;
  /** PEM, PKCS#8. */
  readonly keyPem: string;
  /** Epoch milliseconds at which a new one should be asked for. */
  readonly renewAt: number;
  /** The one protocol that is agreed on with clients that offer some (RFC 7301). Default: `http/1.1`. */
  readonly alpn?: string;
}

/** A set of port numbers. */
export interface PortSet {
  has(port: number): boolean;
  add(port: number): unknown;
  delete(port: number): unknown;
}

/** Ends TLS on connections. */
export class Interceptor {
  readonly #limits: Limits;
  readonly #deadlines: Deadlines;
  readonly #now: () => number;
  /** In the order of their use. */
  readonly #listeners = new Map<string, Listed>();
  /** The last of them: a map makes a new table after every few deletions. */
  #latest: Listed | undefined;

  constructor(
    options: {
      readonly limits: Limits;
      readonly deadlines: Deadlines;
      readonly now: () => number;
      readonly ports?: PortSet;
    },
  ) {
    this.#limits = options.limits;
    this.#deadlines = options.deadlines;
    this.#now = options.now;
    this.ports = options.ports ?? new Set();
  }

  /** The ports of the loopback listeners: nothing may be dialled there on a client's behalf. */
  readonly ports: PortSet;

  /** True when a certificate is cached under this name, or being loaded. */
  has(name: string): boolean {
    return this.#listeners.has(name);
  }

  /** How many listeners are open. */
  get listenerCount(): number {
    return this.#listeners.size;
  }

  /**
   * Does the server side of a TLS handshake on `raw` and returns the decrypted stream. Owns `raw` from here on.
   *
   * @param first what was read from `raw` already
   * @param name what the certificate is cached under
   * @param load gives the certificate; called when there is none or it is to be renewed
   * @throws ProxyError `client.malformed`, `client.closed` or `client.timeout`, with the audit reason; `raw` is closed then
   */
  async terminate(
    raw: ByteStream,
    first: Uint8Array,
    name: string,
    load: () => Promise<ServerCertificate>,
  ): Promise<TlsSession> {
    let link: Link;
    try {
      const listener = this.#reserveOpen(name) ?? await this.#reserve(name, load);
      link = await listener.connect();
    } catch (error) {
      closeQuietly(raw);
      throw error;
    }
    return await this.#handshake(raw, first, link);
  }

  /** Has every certificate loaded anew for the handshakes to come: another CA signs. What is under way goes on. */
  forget(): void {
    for (const [name, listed] of this.#listeners) this.#drop(name, listed);
  }

  /** Closes every listener; sessions go on. */
  async close(): Promise<void> {
    const listeners = [...this.#listeners.values()];
    this.#listeners.clear();
    for (const { opening } of listeners) await opening.then((opened) => opened.close(), () => {});
  }

  async #handshake(raw: ByteStream, first: Uint8Array, link: Link): Promise<TlsSession> {
    const joined = splice(raw, link.outer, {
      deadlines: this.#deadlines,
      firstToB: first,
      afterATimeoutMs: this.#limits.halfCloseTimeoutMs,
      // Our side has said its last word: the client only has to fetch it.
      afterBTimeoutMs: this.#limits.lingerTimeoutMs,
      endByClosing: true,
    });
    let isLate = false;
    const deadline = this.#deadlines.start(this.#limits.handshakeTimeoutMs, () => {
      isLate = true;
      joined.abort();
    });
    let isGone = false;
    // Not two reactions, and none that holds the link: this one is kept for as long as the session.
    let onGone: () => Promise<void> | void = link.lost;
    const done = joined.done.then(() => {
      isGone = true;
      return onGone();
    });
    try {
      const tls = await link.accepted;
      if (!tls) throw new Error("closed before the handshake");
      try {
        await tls.handshake();
        if (isGone) throw new Error("closed in the handshake");
      } catch (error) {
        closeQuietly(tls);
        throw error;
      }
      link.claimed();
      const session = new LoopbackSession(tls, {
        joined,
        done,
        patienceMs: this.#limits.halfCloseTimeoutMs,
        deadlines: this.#deadlines,
      });
      onGone = () => session.clientGone();
      return session;
    } catch (error) {
      link.end();
      await settleAlert(joined, isLate);
      if (isLate) {
        throw new ProxyError("client.timeout", "Cannot end TLS: the handshake took too long", {
          reason: "tls-handshake",
        });
      }
      const { reason, words } = clientTlsFailure(error, { isOpenssl: isOpenssl(first) });
      throw new ProxyError(
        reason === "client-closed" ? "client.closed" : "client.malformed",
        `Cannot end TLS: ${words}`,
        {
          cause: error,
          reason,
        },
      );
    } finally {
      deadline.stop();
    }
  }

  /** A listener that is open already; else undefined. It stays open at least until its `connect` is over. */
  #reserveOpen(name: string): LoopbackListener | undefined {
    const listed = this.#listeners.get(name);
    const opened = listed?.opened;
    if (!listed || !opened || this.#now() >= opened.renewAt) return undefined;
    if (this.#latest !== listed) {
      this.#listeners.delete(name);
      this.#listeners.set(name, listed);
      this.#latest = listed;
    }
    opened.reserve();
    return opened;
  }

  /** The same, of one that may have to be opened or waited for first. */
  async #reserve(name: string, load: () => Promise<ServerCertificate>): Promise<LoopbackListener> {
    for (;;) {
      const known = this.#listeners.get(name);
      if (!known) return await this.#open(name, load);
      const listener = await known.opening.catch(() => undefined); // why it failed concerns whoever opened it
      if (!listener || this.#listeners.get(name) !== known) continue; // dropped while we waited
      const open = this.#reserveOpen(name);
      if (open) return open;
      this.#listeners.delete(name);
      await listener.close();
    }
  }

  /** Opens a listener, which is reserved before anyone can drop it: whoever opens one gets to use it. */
  #open(name: string, load: () => Promise<ServerCertificate>): Promise<LoopbackListener> {
    const opening = load().then((certificate) => {
      const listener = new LoopbackListener(certificate, this.ports, this.#deadlines);
      listener.reserve();
      listed.opened = listener;
      return listener;
    });
    const listed: Listed = { opening, opened: undefined };
    this.#listeners.set(name, listed);
    this.#latest = listed;
    opening.catch(() => {
      if (this.#listeners.get(name) === listed) this.#listeners.delete(name);
    });
    for (const [oldName, old] of this.#listeners) {
      if (this.#listeners.size <= this.#limits.maxTlsListeners) break;
      this.#drop(oldName, old);
    }
    return opening;
  }

  #drop(name: string, { opening }: Listed): void {
    this.#listeners.delete(name);
    opening.then((opened) => opened.close(), () => {});
  }
}

/** A listener that is being opened, and then is open. */
interface Listed {
  readonly opening: Promise<LoopbackListener>;
  opened: LoopbackListener | undefined;
}

/** What begins with no ClientHello is nobody's. */
function isOpenssl(first: Uint8Array): boolean {
  try {
    return parseClientHello(first)?.offersEncryptThenMac ?? false;
  } catch {
    return false;
  }
}

/** After a failed handshake our alert is still on its way to the client; give it a moment, then cut. */
async function settleAlert(joined: Splice, isLate: boolean): Promise<void> {
  if (!isLate) {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([joined.done, new Promise<void>((resolve) => timer = setTimeout(resolve, 100))]);
    clearTimeout(timer);
  }
  joined.abort();
  await joined.done;
}

/** Our two ends of one loopback connection: `outer` carries ciphertext, `accepted` becomes the TLS side. */
interface Link {
  readonly outer: ByteStream;
  /** Undefined when the connection was lost before. */
  readonly accepted: Promise<Deno.TlsConn | undefined>;
  /** The client is gone: who waits for the TLS side waits in vain. */
  lost(): void;
  /** The TLS side has an owner now. */
  claimed(): void;
  /** Forgets the registration, and closes a TLS side that has come meanwhile. */
  end(): void;
}

/** How long an accepted connection that nobody has registered is kept at most: ours are microseconds behind. */
const UNCLAIMED_MS = 2_000;
/** More than that many, beside one for each connect of our own that is under way, are other processes knocking. */
const MAX_UNCLAIMED = 64;

class LoopbackListener {
  readonly renewAt: number;
  readonly #listener: Deno.TlsListener;
  readonly #ports: PortSet;
  readonly #deadlines: Deadlines;
  /** Registered by our own splices, by 4-tuple; an entry is consumed once. */
  readonly #waiting = new Map<string, (conn: Deno.TlsConn) => void>();
  /** Accepted and not registered (yet). */
  readonly #unclaimed = new Map<string, { readonly conn: Deno.TlsConn; readonly deadline: Deadline }>();
  /** Connects and handshakes under way: until they are over the listener stays. */
  #users = 0;
  /** Connects of our own that are not registered yet. While there are none, whoever is not registered is a stranger. */
  #connecting = 0;
  #isClosed = false;
  readonly #accepting: Accepting;

  constructor(
    { certPem, keyPem, renewAt, alpn = "http/1.1" }: ServerCertificate,
    ports: PortSet,
    deadlines: Deadlines,
  ) {
    this.renewAt = renewAt;
    this.#deadlines = deadlines;
    this.#listener = Deno.listenTls({
      hostname: "127.0.0.1",
      port: 0,
      cert: certPem,
      key: keyPem,
      alpnProtocols: [alpn],
    });
    setListenerNoDelay(this.#address);
    this.#ports = ports;
    ports.add(this.#address.port);
    const log = logger("tls");
    this.#accepting = startAccepting(this.#listener, {
      name: `loopback port ${this.#address.port}`,
      serve: (conn) => this.#accepted(conn),
      onServeError: (error) => log.error(`unexpected: ${messageOf(error)}`),
      warn: (line) => log.warn(line),
    });
  }

  get #address(): Deno.NetAddr {
    return this.#listener.addr as Deno.NetAddr;
  }

  /** Keeps it open until the link of the one {@linkcode connect} that follows is claimed or ended. */
  reserve(): void {
    this.#users++;
  }

  async connect(): Promise<Link> {
    let outer: Deno.TcpConn | undefined;
    this.#connecting++;
    try {
      outer = await Deno.connect({ hostname: this.#address.hostname, port: this.#address.port });
      outer.setNoDelay(true);
    } catch (error) {
      closeQuietly(outer);
      this.#connecting--;
      this.#rejectStrangers();
      this.#letGo();
      throw error;
    }
    this.#connecting--;
    const key = tupleOf(outer.localAddr, outer.remoteAddr);
    const { promise, resolve } = Promise.withResolvers<Deno.TlsConn | undefined>();
    const early = this.#unclaimed.get(key);
    if (early) {
      this.#forget(key);
      resolve(early.conn);
    } else this.#waiting.set(key, resolve);
    this.#rejectStrangers();
    let isOver = false;
    return {
      outer: new SocketStream(outer),
      accepted: promise,
      lost: () => {
        if (!isOver && this.#waiting.delete(key)) resolve(undefined);
      },
      end: () => {
        if (isOver) return;
        isOver = true;
        if (!this.#waiting.delete(key)) promise.then(closeQuietly);
        this.#letGo();
      },
      claimed: () => {
        if (isOver) return;
        isOver = true;
        this.#letGo();
      },
    };
  }

  /** Stops accepting once no handshake is under way any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#closeWhenIdle();
    if (this.#users === 0) await this.#accepting.ended;
  }

  #letGo(): void {
    this.#users--;
    this.#closeWhenIdle();
  }

  #closeWhenIdle(): void {
    if (!this.#isClosed || this.#users > 0) return;
    this.#ports.delete(this.#address.port);
    void this.#accepting[Symbol.asyncDispose]();
    this.#rejectStrangers();
  }

  #rejectStrangers(): void {
    if (this.#connecting > 0) return;
    for (const [key, { conn }] of this.#unclaimed) {
      this.#forget(key);
      reject(conn);
    }
  }

  #forget(key: string): void {
    this.#unclaimed.get(key)?.deadline.stop();
    this.#unclaimed.delete(key);
  }

  #accepted(conn: Deno.TlsConn): void {
    const key = tupleOf(conn.remoteAddr, conn.localAddr);
    const claim = this.#waiting.get(key);
    if (claim) {
      this.#waiting.delete(key);
      claim(conn);
    } else if (this.#connecting === 0) reject(conn);
    else this.#keepUnclaimed(key, conn);
  }

  /** The newest may be ours: where there are too many, the oldest goes. */
  #keepUnclaimed(key: string, conn: Deno.TlsConn): void {
    for (const [oldKey, old] of this.#unclaimed) {
      if (this.#unclaimed.size < MAX_UNCLAIMED + this.#connecting) break;
      this.#forget(oldKey);
      reject(old.conn);
    }
    const deadline = this.#deadlines.start(UNCLAIMED_MS, () => {
      this.#forget(key);
      reject(conn);
    });
    this.#unclaimed.set(key, { conn, deadline });
  }
}

/** Ends a connection of another process, handshake or not. */
function reject(conn: Deno.TlsConn): void {
  shutdownSocket(conn.localAddr as Deno.NetAddr, conn.remoteAddr as Deno.NetAddr);
  closeQuietly(conn);
}

function tupleOf(dialler: Deno.Addr, listener: Deno.Addr): string {
  const [from, to] = [dialler as Deno.NetAddr, listener as Deno.NetAddr];
  return `${from.hostname}:${from.port}>${to.hostname}:${to.port}`;
}
