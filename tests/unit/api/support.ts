/**
 * A running API over a real state folder, and a caller that sends exactly the bytes it is told to: clients that tidy
 * paths and headers would hide what is tested here.
 *
 * @module
 */
import { join } from "node:path";
import type { AuditSource, SecretDesk, StatusReport } from "../../../api/control.ts";
import { type Api, type ApiOptions, startApi } from "../../../api/server.ts";
import { systemClock } from "../../../core/clock.ts";
import { AuditStore, type AuditStoreOptions } from "../../../store/audit/store.ts";
import { LATENCY_BOUNDS } from "../../../core/histogram.ts";
import { type Reason, REASONS } from "../../../policy/reason.ts";
import { State } from "../../../store/state.ts";

/** An answer, read to its end. */
export interface Answer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

/** A call. `body` that is no string is sent as JSON with its content type. */
export interface CallOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export const TOKEN = "spa_test-token-of-the-api-0123456789abcdef";

/** Two measurements below the first bound, one above the last. */
const DURATIONS = { counts: [2, ...LATENCY_BOUNDS.slice(1).map(() => 0), 1], sum: 400.5 };

export const REPORT: StatusReport = {
  version: "1.2.3",
  startedAt: Date.UTC(2026, 0, 2, 3, 4, 5),
  uptimeMs: 61_999,
  mode: "audit",
  hostgroup: "sbox",
  binds: ["192.168.222.1"],
  httpPort: 3128,
  httpsPort: 3129,
  openConnections: 7,
  maxConnections: 4_700,
  openTunnels: 5,
  idleUpstreams: 3,
  tlsListeners: 2,
  workers: 4,
  replacedWorkers: 1,
  upstreamCas: [{ host: "*.corp.example", file: "corp.pem", certificates: 2, error: "bad" }],
  requests: { allow: 11, deny: 12, passthrough: 13 },
  denials: { ...noReasons(), "no-rule": 10, quota: 2 },
  failures: { ...noReasons(), dns: 4 },
  responses: { "1xx": 1, "2xx": 2, "3xx": 3, "4xx": 4, "5xx": 5 },
  requestDuration: DURATIONS,
  setupDuration: DURATIONS,
  renewals: { renewed: 14, adopted: 15, failed: 16, refused: 17 },
  parents: [{ hosts: "*", url: "http://proxy.corp:3128" }],
  deadAddresses: [{ place: "up.test:443", address: "2001:db8::1", instead: "192.0.2.1" }],
  names: { questions: 61, failures: 62, cacheHits: 63, stale: 64 },
  budgetWarnings: 6,
  sentBytes: 100,
  receivedBytes: 200,
  echoes: 0,
  tokens: { input: 0, output: 0 },
  certificates: { entries: 21, hits: 22, misses: 23, mintFailures: 24, mintDuration: DURATIONS },
  auditLog: {
    ...{ isWritable: true, queued: 31, writeFailures: 32, coalesced: 33 },
    exported: { queued: 34, sent: 35, dropped: 36, failures: 37, failing: "it answered with 503" },
  },
  store: {
    clients: 0,
    secrets: 0,
    rules: 0,
    rulesWithWarnings: 1,
    suspendedClients: 0,
    writeDuration: DURATIONS,
    writeFailures: 41,
    databaseBytes: 42,
  },
  process: {
    startedAt: Date.UTC(2026, 0, 2, 3, 4, 4),
    cpuSeconds: 1.5,
    residentBytes: 51,
    openDescriptors: 52,
    maxDescriptors: 53,
  },
  fleet: {
    fleet: "default",
    host: "host-1",
    hostId: "id-1",
    sequence: 71,
    behind: 2,
    behindMs: 1_250,
    awaySince: Date.UTC(2026, 0, 2, 3, 4, 6),
    heldUntilMs: Date.UTC(2026, 0, 2, 3, 9, 6),
    roster: {
      sequence: 73,
      isCut: false,
      readAt: Date.UTC(2026, 0, 2, 3, 4, 5),
      hosts: (["live", "late", "denies"] as const).map((state, i) => ({
        ...{ id: `id-${i + 1}`, name: `host-${i + 1}`, version: "1.2.3", state },
        since: Date.UTC(2026, 0, 2),
        lastSeen: Date.UTC(2026, 0, 2, 3, 4, 5 - i),
        applied: 73 - i,
        behind: i,
        behindMs: i * 1_500,
        figures: { connections: 81 + i, tunnels: 82 + i, allowed: 83, denied: 84, passedThrough: 85 },
      })),
    },
  },
};

/** An audit log without a record. */
/** Knows of no use, and takes every secret. */
export const NO_DESK: SecretDesk = {
  lastUse: () => undefined,
  test: () => Promise.resolve({ verdict: "accepted", words: "nobody asked" }),
};

export const NO_AUDIT: AuditSource = {
  records: () => ReadableStream.from([]),
  follow: () => ReadableStream.from([]),
};
function noReasons(): Record<Reason, number> {
  return Object.fromEntries(Object.keys(REASONS).map((reason) => [reason, 0])) as Record<Reason, number>;
}

/** An API on a unix socket (and TCP when asked for) over a new state, all of it gone when disposed. */
export class TestApi implements AsyncDisposable {
  readonly dir: string;
  readonly socketPath: string;
  readonly control: State;
  readonly audit: AuditStore;
  readonly api: Api;
  readonly logged: string[];

  private constructor(dir: string, control: State, audit: AuditStore, api: Api, logged: string[]) {
    this.dir = dir;
    this.socketPath = join(dir, "api.sock");
    this.control = control;
    this.audit = audit;
    this.api = api;
    this.logged = logged;
  }

  static async start(
    options: Partial<Omit<ApiOptions, "tcp">> & {
      readonly tcp?: Partial<ApiOptions["tcp"]>;
      readonly store?: AuditStoreOptions;
    } = {},
  ): Promise<TestApi> {
    const dir = await Deno.makeTempDir();
    const control = await State.open({ dir: join(dir, "state"), clock: systemClock() });
    const audit = await AuditStore.open(join(dir, "audit.jsonl"), options.store);
    const logged: string[] = [];
    const api = await startApi({
      control,
      audit,
      secrets: NO_DESK,
      status: async () => {
        const { clients, secrets, rules } = await control.figures();
        return { ...REPORT, store: { ...REPORT.store, clients, secrets, rules } };
      },
      log: { error: (line) => logged.push(line) },
      socketPath: join(dir, "api.sock"),
      ...options,
      ...(options.tcp ? { tcp: { hostname: "127.0.0.1", port: 0, token: TOKEN, ...options.tcp } } : {}),
    } as ApiOptions);
    return new TestApi(dir, control, audit, api, logged);
  }

  /** Calls over the unix socket. */
  async call(path: string, options: CallOptions = {}): Promise<Answer> {
    return await exchange(await Deno.connect({ transport: "unix", path: this.socketPath }), path, options);
  }

  /** Calls over TCP with the right Host and token, unless `headers` say otherwise. An empty value leaves one out. */
  async callTcp(path: string, options: CallOptions = {}): Promise<Answer> {
    const { hostname, port } = this.address;
    const headers = {
      host: `${hostname}:${port}`,
      authorization: `Bearer ${TOKEN}`,
      ...options.headers,
    };
    return await exchange(await Deno.connect({ hostname, port }), path, { ...options, headers });
  }

  get address(): { readonly hostname: string; readonly port: number } {
    if (!this.api.tcpAddress) throw new TypeError("started without tcp");
    return this.api.tcpAddress;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.api[Symbol.asyncDispose]();
    this.audit[Symbol.dispose]();
    await this.control[Symbol.asyncDispose]();
    await Deno.remove(this.dir, { recursive: true });
  }
}

/** Sends one request on a connection and reads until the server closes it. */
export async function exchange(
  connection: Deno.Conn,
  path: string,
  { method, headers = {}, body }: CallOptions,
): Promise<Answer> {
  using _ = connection;
  const isJson = body !== undefined && typeof body !== "string";
  const content = isJson ? JSON.stringify(body) : body ?? "";
  const fields = {
    host: "localhost",
    connection: "close",
    ...(isJson ? { "content-type": "application/json" } : {}),
    ...(body === undefined
      ? {}
      : { "content-length": String(new TextEncoder().encode(content as string).length) }),
    ...headers,
  };
  const head = Object.entries(fields).filter(([, value]) => value !== "").map(([name, value]) =>
    `${name}: ${value}\r\n`
  );
  const verb = method ?? (body === undefined ? "GET" : "POST");
  const message = new TextEncoder().encode(`${verb} ${path} HTTP/1.1\r\n${head.join("")}\r\n${content}`);
  // Both at once: a server may answer and close before it has read a body that is too long.
  const sending = (async () => {
    for (let at = 0; at < message.length;) at += await connection.write(message.subarray(at));
  })().catch(() => {});
  const answer = await readAnswer(connection);
  await sending;
  return answer;
}

async function readAnswer(connection: Deno.Conn): Promise<Answer> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(65_536);
  let text = "";
  try {
    for (let n: number | null; (n = await connection.read(buffer)) !== null;) {
      text += decoder.decode(buffer.subarray(0, n), { stream: true });
    }
  } catch (error) {
    if (text === "") throw error; // reset after the answer: part of the body was never read
  }
  const end = text.indexOf("\r\n\r\n");
  const [statusLine = "", ...lines] = text.slice(0, end).split("\r\n");
  const headers = Object.fromEntries(lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  }));
  return { status: Number(statusLine.split(" ")[1]), headers, text: text.slice(end + 4) };
}
