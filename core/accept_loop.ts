/**
 * The accept loop of every listener of the program. Whoever can reach a port can make accepting fail: a connection that is
 * reset before it is taken fails with an error of its own. Such an error must cost nobody else anything, so that only one
 * thing makes the loop pause: there is no descriptor or memory for another connection, which retrying at once would not change.
 *
 * It stands in `core/` because `proxy/`, `api/` and `agent/` all listen and share nothing else; the listener and the log
 * are given to it, and it opens nothing itself.
 *
 * Not here: how many connections are taken on, and what becomes of them.
 *
 * @module
 */
import { messageOf } from "./errors.ts";
import { inLaterTurn } from "./later_turn.ts";

/** What the loop needs of a listener. */
export interface AcceptSource<Conn> {
  /** The next connection. Rejects for one that was lost before it was taken, and when the listener is no more. */
  accept(): Promise<Conn>;
  /** Makes a pending `accept` reject. */
  close(): void;
}

/** See each field. */
export interface AcceptOptions<Conn> {
  /** What is listened on, for the log. */
  readonly name: string;
  /**
   * Takes a connection over. When it throws or rejects the connection is closed: it has let go of what it had counted by
   * then.
   */
  readonly serve: (conn: Conn) => void | Promise<void>;
  /** Takes what `serve` throws: a bug, or a connection that was reset while it was taken over. */
  readonly onServeError: (error: unknown) => void;
  /** Takes lines for the people who run the program. At most one of a kind a minute. */
  readonly warn: (line: string) => void;
  /** Called once when the listener is found dead without having been closed here. Default: says so. */
  readonly onDead?: (line: string) => void;
}

/** A loop that runs. Disposing closes the listener and waits for the loop's end, not for what is served. */
export interface Accepting extends AsyncDisposable {
  /** Resolves when nothing is accepted any more. Never rejects. */
  readonly ended: Promise<void>;
}

/** How long to wait for somebody to close something. */
const PAUSE_MS = 50;
/** What waits is accepted without a turn for anybody else: so many at most, or a flood would hold up all that is open. */
const MOST_IN_TURN = 16;
/** Between two lines of one kind. */
const QUIET_MS = 60_000;
/** So many errors in a row that no connection explains mean that the listener is dead. */
const MAX_STRANGE = 100;

/** accept(2): the process, the system or its memory has no room. */
const EXHAUSTED: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"]);

/**
 * accept(2) reports a pending error of the new socket as its own; ENOTCONN is the runtime's, which asks for the peer's address
 * of a connection that is reset already. Each takes a connection out of the queue, so that they do not come by themselves.
 */
const LOST: ReadonlySet<string> = new Set([
  "ECONNABORTED",
  "ECONNRESET",
  "ENOTCONN",
  "EPROTO",
  "EPERM",
  "ETIMEDOUT",
  "ENETDOWN",
  "ENETUNREACH",
  "EHOSTDOWN",
  "EHOSTUNREACH",
  "ENONET",
  "ENOPROTOOPT",
  "EOPNOTSUPP",
]);

/** Accepts until it is disposed or the listener is dead. Owns the listener. */
export function startAccepting<Conn extends { close(): void }>(
  listener: AcceptSource<Conn>,
  options: AcceptOptions<Conn>,
): Accepting {
  const loop = new AcceptLoop(listener, options);
  return {
    ended: loop.ended,
    [Symbol.asyncDispose]: async () => {
      loop.stop();
      await loop.ended;
    },
  };
}

class AcceptLoop<Conn extends { close(): void }> {
  readonly ended: Promise<void>;
  readonly #listener: AcceptSource<Conn>;
  readonly #options: AcceptOptions<Conn>;
  readonly #lines: SparseLines;
  #isStopping = false;
  #strange = 0;
  #wake = () => {};

  constructor(listener: AcceptSource<Conn>, options: AcceptOptions<Conn>) {
    this.#listener = listener;
    this.#options = options;
    this.#lines = new SparseLines(options.warn);
    this.ended = this.#run();
  }

  stop(): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    closeQuietly(this.#listener);
    this.#wake();
  }

  async #run(): Promise<void> {
    for (let inTurn = 1; !this.#isStopping; inTurn++) {
      try {
        const conn = await this.#listener.accept();
        this.#strange = 0;
        this.#serve(conn);
        if (inTurn % MOST_IN_TURN === 0) await new Promise<void>(inLaterTurn);
      } catch (error) {
        if (this.#isStopping) return;
        if (!await this.#goesOn(error)) break;
      }
    }
    closeQuietly(this.#listener);
  }

  #serve(conn: Conn): void {
    const { serve, onServeError } = this.#options;
    const failed = (error: unknown) => {
      closeQuietly(conn);
      onServeError(error);
    };
    try {
      serve(conn)?.catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  /** False when the listener is dead. */
  async #goesOn(error: unknown): Promise<boolean> {
    const { name, warn, onDead = warn } = this.#options;
    const code = codeOf(error);
    if (EXHAUSTED.has(code)) {
      this.#lines.write(
        "exhausted",
        `Cannot accept on ${name}: no descriptor is free (${code}): raise the limit of open files`,
      );
      await this.#pause(PAUSE_MS);
      return true;
    }
    if (LOST.has(code)) {
      this.#lines.write("lost", `a connection to ${name} was reset before it was accepted (${code})`);
      return true;
    }
    if (++this.#strange < MAX_STRANGE && !isClosed(error)) {
      await this.#pause(0); // lets others run, should this go on and on
      return true;
    }
    onDead(`nothing is accepted on ${name} any more: ${messageOf(error)}`);
    return false;
  }

  async #pause(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
  }
}

/** At most one line of a kind a minute; the next one says how many there were. */
class SparseLines {
  readonly #write: (line: string) => void;
  readonly #kinds = new Map<string, { quietUntil: number; skipped: number }>();

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  write(kind: string, line: string): void {
    const now = performance.now();
    const last = this.#kinds.get(kind);
    if (last && now < last.quietUntil) {
      last.skipped++;
      return;
    }
    this.#kinds.set(kind, { quietUntil: now + QUIET_MS, skipped: 0 });
    this.#write(last && last.skipped > 0 ? `${line}, and ${last.skipped} times more since` : line);
  }
}

/** The name of a system call's error (`EMFILE`), empty for another error. */
function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

/** The runtime's words for a listener that somebody has closed. */
function isClosed(error: unknown): boolean {
  return error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted;
}

function closeQuietly(closable: { close(): void }): void {
  try {
    closable.close();
  } catch {
    // It is closed already.
  }
}
