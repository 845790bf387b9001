/** The data plane on several threads, with a real state behind it, on free loopback ports. */
import { FROM_ANYWHERE } from "../../proxy/egress/connect/connector.ts";
import { NO_PARENTS } from "../../proxy/egress/parents/parents.ts";
import { Deadlines } from "../../core/deadlines.ts";
import { parseCidr } from "../../core/cidr.ts";
import { systemClock } from "../../core/clock.ts";
import { DEFAULT_LIMITS, type Limits } from "../../core/limits.ts";
import { hasNativeCalls } from "../../core/native.ts";
import type { StoredRecord } from "../../policy/audit_record.ts";
import { AuditLog } from "../../proxy/records/audit_log.ts";
import { makeMetersMemory } from "../../proxy/records/meters.ts";
import { AskBook } from "../../proxy/decide/ask_book.ts";
import type { Listen } from "../../proxy/server.ts";
import { State } from "../../store/state.ts";
import type { ViewChange } from "../../store/view.ts";
import type { PolicyUpdate } from "../../workers/messages.ts";
import { startWorkers, type Workers, type WorkersOptions } from "../../workers/pool.ts";
import { waitUntil } from "./sockets.ts";
import type { Rig } from "../unit/secrets/support.ts";
import { proxyAuthority, upstreamAuthority } from "./test_authority.ts";

hasNativeCalls();

export interface WorkersStageOptions
  extends Partial<Pick<WorkersOptions, "applyLimitMs" | "silenceLimitMs">> {
  readonly count?: number;
  readonly limits?: Partial<Limits>;
  readonly listen?: readonly Listen[];
  /** Hosts whose certificate is at hand. Default: none. */
  readonly isWarm?: (host: string) => boolean;
  /** While it is true, audit records cannot be written. */
  readonly isDiskFull?: () => boolean;
  /** A state with credentials, in place of a new one without. */
  readonly rig?: Rig;
  /** Another worker than `worker_stage.ts`, beside it. */
  readonly module?: string;
  /** Is called when a worker was given the policy. */
  readonly onSnapshot?: (state: State) => void;
}

export interface WorkersStage extends AsyncDisposable {
  readonly state: State;
  readonly workers: Workers;
  readonly audit: AuditLog;
  readonly port: number;
  /** Of the client `one`. */
  readonly token: string;
  readonly caPem: string;
  readonly records: StoredRecord[];
  /** Errors that were logged. */
  readonly errors: string[];
  isAuditWritable(): boolean;
  /** Has the worker of a plane, from 1, misbehave. */
  tell(plane: number, act: "hold" | "throw" | "reject" | "leave"): void;
  /** Has it hang, and waits until it does. It hangs until what comes back is disposed. */
  hang(plane: number): Promise<Disposable>;
}

export async function startWorkersStage(options: WorkersStageOptions = {}): Promise<WorkersStage> {
  await using started = new AsyncDisposableStack();
  const clock = systemClock();
  const state = options.rig?.state ?? await newState(started);
  const { token } = await state.createClient("one");
  const ca = await proxyAuthority();
  const { caPem: upstreamCa } = await upstreamAuthority();
  const updateOf = (changes: readonly ViewChange[]): PolicyUpdate => ({
    changes,
    trusted: [{ pattern: "*", pem: [upstreamCa] }],
    closed: options.rig?.credentials.closedEndpoints() ?? [],
  });
  const records: StoredRecord[] = [];
  const errors: string[] = [];
  const audit = started.use(
    new AuditLog({
      now: () => clock.now(),
      deadlines: new Deadlines(),
      sink: {
        write: (written) => {
          if (options.isDiskFull?.()) return Promise.reject(new Error("no space left on device"));
          records.push(...written);
          return Promise.resolve();
        },
      },
    }),
  );
  const workers = started.use(
    await startWorkers({
      count: options.count ?? 3,
      module: new URL(options.module ?? "worker_stage.ts", import.meta.url).href,
      config: {
        listen: options.listen ?? [{ hostname: "127.0.0.1", port: 0 }],
        mode: "strict",
        socksAuth: "optional",
        cleartextSecrets: "private",
        explain: "connect",
        onEcho: "mask",
        limits: { ...DEFAULT_LIMITS, lingerTimeoutMs: 200, drainTimeoutMs: 500, ...options.limits },
        denyCidrs: [],
        allowCidrs: [parseCidr("127.0.0.0/8"), parseCidr("::1/128")],
        dns: [],
        parents: NO_PARENTS,
        dialFrom: FROM_ANYWHERE,
        logQuery: false,
        http2: true,
      },
      tokenKey: state.tokenKey,
      snapshot: () => {
        const update = updateOf(state.snapshot());
        options.onSnapshot?.(state);
        return update;
      },
      follow: (replicate) => state.keepCopies((changes) => replicate(updateOf(changes))),
      policy: options.rig?.credentials ??
        { credential: () => undefined, rejected: () => Promise.resolve(undefined) },
      certificates: {
        forHost: (host) => ca.issue([host]),
        isWarm: options.isWarm ?? (() => false),
        forProxy: () => ca.issue(["localhost"]),
        forTrust: () => Promise.resolve(ca.caPem),
      },
      metersMemory: makeMetersMemory(),
      asks: new AskBook(),
      audit,
      note: () => {},
      log: { warn: () => {}, error: (line) => errors.push(line) },
      reportBug: (error) => errors.push(`bug: ${error}`),
      ...(options.applyLimitMs === undefined ? {} : { applyLimitMs: options.applyLimitMs }),
      ...(options.silenceLimitMs === undefined ? {} : { silenceLimitMs: options.silenceLimitMs }),
    }),
  );
  const stage = new BroadcastChannel("worker-stage");
  started.defer(() => stage.close());
  const running = started.move();
  return {
    state,
    workers,
    audit,
    port: workers.addresses[0]?.port ?? 0,
    token,
    caPem: ca.caPem,
    records,
    errors,
    isAuditWritable: () => audit.isWritable,
    tell: (plane, act) => stage.postMessage({ plane, act }),
    hang: async (plane) => {
      const flags = new Int32Array(new SharedArrayBuffer(8));
      stage.postMessage({ plane, act: "hang", flags: flags.buffer });
      await waitUntil("it hangs", () => Atomics.load(flags, 0) === 1);
      return { [Symbol.dispose]: () => Atomics.store(flags, 1, 1) };
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function newState(started: AsyncDisposableStack): Promise<State> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-workers-" });
  started.defer(() => Deno.remove(dir, { recursive: true }));
  return started.use(await State.open({ dir: `${dir}/state`, clock: systemClock() }));
}
