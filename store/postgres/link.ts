/**
 * One connection to a PostgreSQL server: dialled, encrypted, and used by one caller at a time. Every call has an end: a server
 * that does not answer in time costs the connection, never a caller that waits for ever.
 *
 * The driver is `postgres`: of the two that are maintained it alone can be told everything, so that no `PG…` variable has a
 * say (`pg` reads several whatever it is told, and `PGBINARY` then decides). It gets a socket that is connected already,
 * because it would take a server's word for it that there is no TLS, and connects anew behind its caller's back.
 *
 * Not here: what is asked (`database.ts`), and when to dial again (`../fleet/`).
 *
 * @module
 */
import { connect as dialTcp, type Socket } from "node:net";
import { connect as startTls, type TLSSocket } from "node:tls";
import postgres from "postgres";
import { messageOf, ProxyError } from "../../core/errors.ts";
import { isIpLiteral } from "../../core/host_port.ts";
import { certificatesIn, cutHandshake, isSignedByOne } from "../../core/node_tls.ts";
import { formatStoreHost, formatStoreHosts, type StoreAddress, type StoreHost } from "./address.ts";

/** How a server is reached and asked. */
export interface LinkOptions {
  readonly address: StoreAddress;
  /** Asked for at each dial, so that it may change; empty where the server wants none. */
  readonly password: () => Promise<string>;
  /** PEM; the system's roots when undefined. */
  readonly caPem: string | undefined;
  /** How long dialling one host, and one question, may take. */
  readonly timeoutMs: number;
  /** Shown by the server in `pg_stat_activity`. */
  readonly name: string;
  /** Is told when somebody notifies a channel that is listened to. */
  readonly onNotice?: (payload: string) => void;
}

interface DialOptions extends Omit<LinkOptions, "password"> {
  readonly password: string;
}

/** A row of an answer. */
export type Answer = Readonly<Record<string, unknown>>;

/** A part of a long answer. */
const ROWS_OF_PART = 2_000;
/** SSLRequest (PostgreSQL protocol 3.0, 55.7): length and code. */
const SSL_REQUEST = new Uint8Array([0, 0, 0, 8, 4, 210, 22, 47]);
const YES = 0x53; // S

/** An open connection to the server that can be written to. */
export class Link implements AsyncDisposable {
  /** Where it leads. */
  readonly host: StoreHost;
  readonly #sql: postgres.Sql;
  readonly #socket: Socket;
  readonly #timeoutMs: number;
  /** Ends the questions that are under way: a listener of the socket for each would be too many. */
  readonly #ends = new Set<() => void>();
  #isBroken = false;

  private constructor(host: StoreHost, socket: Socket, options: DialOptions) {
    this.host = host;
    this.#socket = socket;
    this.#timeoutMs = options.timeoutMs;
    this.#sql = driverFor(socket, options);
    socket.once("close", () => {
      this.#isBroken = true;
      for (const end of this.#ends) end();
    });
  }

  /**
   * Connects to the first host that answers and is no standby.
   *
   * @throws ProxyError `store.away` with what is wrong with each; `store.refused` when one answers and lets nobody in
   */
  static async open(options: LinkOptions): Promise<Link> {
    const failures: string[] = [];
    // Before the driver asks for it, who would let an error of it end the process.
    const password = await options.password();
    for (const host of options.address.hosts) {
      try {
        return await Link.#openOne(host, { ...options, password });
      } catch (error) {
        if (isRefusal(error)) throw refused(host, error);
        failures.push(`${formatStoreHost(host)}: ${shortMessage(error)}`);
      }
    }
    throw new ProxyError("store.away", `Cannot reach the store: ${failures.join("; ")}`);
  }

  static async #openOne(host: StoreHost, options: DialOptions): Promise<Link> {
    const link = new Link(host, await dial(host, options), options);
    try {
      await link.query("SELECT 1");
      return link;
    } catch (error) {
      link.destroy();
      throw error;
    }
  }

  /** False once it can be used no more. */
  get isOpen(): boolean {
    return !this.#isBroken;
  }

  /**
   * Asks one question; its parameters are `$1`, `$2` …
   *
   * @param timeoutMs for answers that are long
   * @throws what the server says; when it does not answer, the connection is gone
   */
  async query(
    text: string,
    parameters: readonly (string | number | null)[] = [],
    timeoutMs = this.#timeoutMs,
  ): Promise<Answer[]> {
    const asked = this.#ask(text, parameters);
    return [...await this.#within(timeoutMs, asked)];
  }

  /**
   * The same for an answer that is too long to be held at once: `take` gets its rows in parts. Other questions wait meanwhile.
   *
   * @param timeoutMs for all of it
   */
  async queryInParts(
    text: string,
    parameters: readonly (string | number | null)[],
    { take, timeoutMs }: { readonly take: (rows: readonly Answer[]) => void; readonly timeoutMs: number },
  ): Promise<void> {
    await this.#within(timeoutMs, this.#ask(text, parameters).cursor(ROWS_OF_PART, (rows) => take(rows)));
  }

  #ask(text: string, parameters: readonly (string | number | null)[]) {
    if (this.#isBroken) throw new Error("the connection has ended");
    return this.#sql.unsafe<Answer[]>(text, [...parameters], { prepare: true });
  }

  async #within<T>(timeoutMs: number, asked: Promise<T>): Promise<T> {
    const timer = setTimeout(() => this.destroy(), timeoutMs);
    const gone = Promise.withResolvers<never>();
    const end = () => gone.reject(new Error("the connection ended before the answer"));
    this.#ends.add(end);
    try {
      return await Promise.race([asked, gone.promise]);
    } finally {
      clearTimeout(timer);
      this.#ends.delete(end);
    }
  }

  /** Ends it in the middle of anything. */
  destroy(): void {
    this.#isBroken = true;
    this.#socket.destroy();
  }

  /** Says goodbye. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isBroken) return;
    const timer = setTimeout(() => this.destroy(), this.#timeoutMs);
    await this.#sql.end({ timeout: 1 }).catch(() => {});
    clearTimeout(timer);
    this.destroy();
  }
}

function driverFor(socket: Socket, { address, password, name, onNotice }: DialOptions): postgres.Sql {
  let isTaken = false;
  const settings = {
    host: ["store"],
    port: [1],
    user: address.user,
    database: address.database,
    password: () => password,
    socket: () => {
      if (isTaken) throw new Error("the connection has ended");
      isTaken = true;
      return socket;
    },
    target_session_attrs: "primary" as const,
    // All that the driver would look up in the environment.
    max: 1,
    ssl: false as const,
    sslnegotiation: null,
    idle_timeout: undefined,
    connect_timeout: 0,
    max_lifetime: null,
    max_pipeline: 100,
    backoff: false as const,
    keep_alive: null,
    prepare: true,
    debug: false,
    fetch_types: false,
    publications: "alltables",
    connection: { application_name: name },
    onnotice: () => {},
    onnotify: (_channel: string, payload: string) => onNotice?.(payload),
  };
  return postgres(settings as unknown as postgres.Options<Record<string, never>>);
}

async function dial(host: StoreHost, { address, caPem, timeoutMs }: DialOptions): Promise<Socket> {
  const tcp = "folder" in host ? dialTcp(formatStoreHost(host)) : dialTcp(host.port, host.host);
  let tls: TLSSocket | undefined;
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    if (tls) cutHandshake(tls, tcp);
    else tcp.destroy();
  }, timeoutMs);
  try {
    await eventOf(tcp, "connect");
    tcp.on("error", () => {}); // whoever asks is told by its end
    tcp.setNoDelay(true);
    tcp.setKeepAlive(true, 30_000);
    if (!address.isEncrypted || "folder" in host) return tcp;
    tls = await beginTls(tcp, host.host, caPem);
    tls.on("error", () => {});
    await eventOf(tls, "secureConnect");
    if (isLate) throw new Error("it was cut"); // Deno 2.7 takes the end of a connection for that of the handshake
    if (caPem !== undefined && !isSignedByOne(certificatesIn(caPem), tls)) throw new Error(WRONG_CA);
    return tls;
  } catch (error) {
    tcp.on("error", () => {});
    tls?.destroy();
    tcp.destroy();
    throw isLate ? new Error("no answer in time") : error;
  } finally {
    clearTimeout(timer);
  }
}

const WRONG_CA =
  "no CA of --store-ca has signed the server's certificate; where an intermediate CA has, the file needs that one";

/** Resolves when the handshake has begun: in the turn of the server's answer, later Deno 2.7 has lost the socket. */
async function beginTls(socket: Socket, host: string, caPem: string | undefined): Promise<TLSSocket> {
  socket.write(SSL_REQUEST);
  const answer = await eventOf(socket, "data");
  // One byte and no more: what came in clear behind it would be taken for a part of what is encrypted (CVE-2021-23222).
  if (!(answer instanceof Uint8Array && answer.length === 1 && answer[0] === YES)) {
    throw new Error("the server does not speak TLS");
  }
  socket.removeAllListeners();
  socket.on("error", () => {}); // told by the end of what is around it
  // An address is no name for SNI (RFC 6066 §3); the certificate has to be for it all the same.
  const named = isIpLiteral(host) ? { host } : { servername: host };
  return startTls({ socket, ...named, ...(caPem === undefined ? {} : { ca: caPem }) });
}

/** The first event of that name; rejects when the socket ends before. */
function eventOf(socket: Socket, name: "connect" | "data" | "secureConnect"): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error) => reject(error);
    const onClose = () => reject(new Error("the connection was closed"));
    socket.once("error", onError);
    socket.once("close", onClose);
    socket.once(name, (value: unknown) => {
      socket.off("error", onError);
      socket.off("close", onClose);
      resolve(value);
    });
  });
}

/** SQLSTATE classes and codes with which a server lets nobody in: no other host, and no waiting, makes that better. */
const REFUSALS = /^(28...|3D000|42501)$/;

function isRefusal(error: unknown): boolean {
  return error instanceof Error && "code" in error && REFUSALS.test(String(error.code));
}

function refused(host: StoreHost, cause: unknown): ProxyError {
  return new ProxyError(
    "store.refused",
    `Cannot use the store at ${formatStoreHost(host)}: ${messageOf(cause)}`,
    {
      cause,
      hint:
        "docs/FLEET.md has the SQL that makes the database and its role; --store-password-file holds its password",
    },
  );
}

/** What of an error is for people. */
export function shortMessage(error: unknown): string {
  if (error instanceof Error && "code" in error && error.code === "CONNECTION_DESTROYED") {
    return "it is a standby, which cannot be written to";
  }
  return messageOf(error).split("\n")[0] ?? "";
}

/**
 * What a server says while it goes, comes, is full, or is a standby by now, and what passes (SQLSTATE, PostgreSQL appendix A).
 * Whatever else it says is about the question, and comes again.
 */
const PASSING = /^(08...|40...|57...|53300|55P03|25P03|25006)$/;

/** What to do about what a server says again and again. */
const ADVICE: Readonly<Record<string, string>> = {
  "42501": "docs/FLEET.md has the SQL that gives its role the rights",
  "53100": "make room on the disk of the server",
};

/**
 * An error of a question as one of ours: `store.refused` is what a server says that is there, `store.away` anything else.
 *
 * @param outcome what became of what was asked for
 */
export function storeError(
  error: unknown,
  { address }: Pick<LinkOptions, "address">,
  outcome?: string,
): ProxyError {
  if (error instanceof ProxyError) return error;
  const said = error instanceof postgres.PostgresError && !PASSING.test(error.code) ? error.code : undefined;
  const advice = said === undefined
    ? outcome && "do it again when the store answers"
    : ADVICE[said] ?? "the log of the server says more";
  const hint = [outcome, advice].filter((part) => part !== undefined).join("; ");
  return new ProxyError(
    said === undefined ? "store.away" : "store.refused",
    `Cannot use the store at ${formatStoreHosts(address)}: ${shortMessage(error)}`,
    { cause: error, ...(hint === "" ? {} : { hint }) },
  );
}
