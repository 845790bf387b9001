/**
 * The main thread's side of the workers: starts them, keeps their copies of the policy up, answers what they ask, and
 * replaces one that has died. Each listens on the same ports, among which the system deals out connections; what one of them
 * holds is nothing to the others.
 *
 * A change of the policy is in force everywhere when {@linkcode Replicate} resolves: every worker has said that it made it.
 * One that does not say so in time is given up: from that moment it admits nothing, and it is replaced.
 *
 * Not here: what a worker does (`data_plane.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { fitLimits } from "../core/limits.ts";
import { descriptorLimit, findListeners } from "../core/native.ts";
import type { AuditLog } from "../proxy/records/audit_log.ts";
import type { Asks } from "../proxy/decide/asks.ts";
import type { Certificates } from "../proxy/context.ts";
import type { PolicySource } from "../proxy/policy_source.ts";
import type { DeadChoice } from "../proxy/egress/connect/race.ts";
import { descriptorsPerUpstream } from "../proxy/egress/parents/way_cost.ts";
import { addNames, type NameCounters, NO_NAMES } from "../proxy/egress/names/asker.ts";
import { countersIn } from "../proxy/records/counts.ts";
import {
  fewConnections,
  type Listen,
  openListener,
  type ProxyCounters,
  type ProxyServer,
} from "../proxy/server.ts";
import { Lent } from "./lent.ts";
import {
  emptyPlace,
  exchangesOf,
  type Member,
  nextPauseMs,
  ownMemory,
  post,
  signalsOf,
  within,
} from "./member.ts";
import {
  type FromWorker,
  type PolicyUpdate,
  type Question,
  receivedError,
  sendableError,
  type ToWorker,
  type WorkerConfig,
} from "./messages.ts";
import { makeCountsMemory, makeSeeds, SharedCounts } from "./shared_counts.ts";
import { makePortsMemory, SharedPorts } from "./shared_ports.ts";

/** How long a worker may take to make a change of the policy before it is given up. Under full load it is 0.2 s. */
const APPLY_LIMIT_MS = 5_000;
/**
 * A worker that has not said for so long that it lives hangs, or is gone without a word. Counted in looks and not by a
 * clock: when the whole process was stopped for a while (SIGSTOP, a paused machine), nobody has missed a look.
 */
const SILENCE_LIMIT_MS = 15_000;
/** The same of one that loads the program, before its first sign: on a machine that is busy with other things that takes a while. */
const LOAD_LIMIT_MS = 60_000;
/** From one look at the workers to the next. */
const WATCH_MS = 250;
/** From the stop of the last request to the end of a worker. */
const STOP_GRACE_MS = 3_000;

/** Makes a part of the policy that of every worker, and resolves then. Never rejects. */
export type Replicate = (update: PolicyUpdate) => Promise<void>;

/** See {@linkcode startWorkers}. */
export interface WorkersOptions {
  /** 2 or more. */
  readonly count: number;
  /** The program's own entry module, which in a worker calls `serveDataPlane()`. */
  readonly module: string;
  readonly config: WorkerConfig;
  readonly tokenKey: Uint8Array;
  /** The whole policy as it is now. */
  readonly snapshot: () => PolicyUpdate;
  /** Has `replicate` called for every change from now on, in their order and in the turn in which each is made. */
  readonly follow: (replicate: Replicate) => void;
  readonly policy: Pick<PolicySource, "credential" | "rejected">;
  readonly certificates: Certificates;
  /** The memory of `Meters`. */
  readonly metersMemory: SharedArrayBuffer;
  /** Where requests wait for a person. */
  readonly asks: Asks;
  readonly audit: AuditLog;
  /** Is told of an upstream whose preferred address did not answer. */
  readonly onDeadChoice?: (dead: DeadChoice) => void;
  /** Takes lines of the operational log. */
  readonly note: (line: string) => void;
  readonly log: { warn(line: string): void; error(line: string): void };
  readonly reportBug: (error: unknown) => void;
  /** Tests pass shorter ones. */
  readonly applyLimitMs?: number;
  readonly silenceLimitMs?: number;
}

/** The data plane on several threads. */
export interface Workers extends ProxyServer {
  /** Resolves when every worker has taken a part of the policy. */
  update(update: PolicyUpdate): Promise<void>;
  /** A port of this process, which no worker may dial. */
  addOwnPort(port: number): void;
  /** Resolves when the audit log has the records of everything that was decided before. */
  flush(): Promise<void>;
  /** How many had to be replaced. */
  readonly replaced: number;
  /** What was asked of name servers, by those that were replaced too. */
  names(): NameCounters;
}

/**
 * Starts the workers and waits until all of them listen. Nothing is left of them when one cannot.
 *
 * @throws ProxyError `listen.failed`, `internal`
 */
export async function startWorkers(options: WorkersOptions): Promise<Workers> {
  const pool = new Pool(options);
  try {
    await pool.start();
    return pool;
  } catch (error) {
    await pool[Symbol.asyncDispose]();
    throw error;
  }
}

class Pool implements Workers {
  readonly #options: WorkersOptions;
  readonly #listen: readonly Listen[];
  readonly #members: Member[] = [];
  readonly #counts: SharedCounts;
  readonly #ports: SharedPorts;
  readonly #lent = new Lent();
  readonly #watch: ReturnType<typeof setInterval>;
  /** Rejects when a worker is lost before all of them listen. */
  readonly #startFailed = Promise.withResolvers<never>();
  #nextId = 0;
  /** All of them have started, and no stop was asked for: who is lost is replaced. */
  #isRunning = false;
  #isStopping = false;
  replaced = 0;
  /** Of workers that are gone. */
  #formerNames: NameCounters = NO_NAMES;

  constructor(options: WorkersOptions) {
    this.#options = options;
    const planes = options.count + 1;
    const memory = {
      counts: makeCountsMemory(planes),
      seeds: makeSeeds(),
      ports: makePortsMemory(planes),
      meters: options.metersMemory,
    };
    this.#counts = new SharedCounts(memory.counts, memory.seeds, 0);
    this.#ports = new SharedPorts(memory.ports, 0);
    // Before anything else is shared: two programs that share a port would each get half of the connections.
    this.#listen = options.config.listen.map(claimPort);
    for (let plane = 1; plane < planes; plane++) {
      this.#members.push(emptyPlace({ ...memory, plane }));
    }
    this.#startFailed.promise.catch(() => {}); // after the start nobody waits for it
    this.#watch = setInterval(() => this.#look(), WATCH_MS);
  }

  async start(): Promise<void> {
    const { audit, config, follow, log } = this.#options;
    const { maxConnections } = this.#limits;
    if (maxConnections < config.limits.maxConnections) log.warn(fewConnections(maxConnections));
    audit.onWritable = (isWritable) => {
      for (const member of this.#members) signalsOf(member).isAuditWritable = isWritable;
    };
    follow((update) => this.#replicate(update)); // before the first of them is given a policy
    for (const member of this.#members) this.#spawn(member);
    const listening = this.#members.map((member) => member.listening.promise);
    await Promise.race([Promise.all(listening), this.#startFailed.promise]);
    this.#isRunning = true;
  }

  get addresses(): readonly Deno.NetAddr[] {
    return this.#listen.map(({ hostname, port }) => ({ transport: "tcp", hostname, port }));
  }

  counters(): ProxyCounters {
    const sum = { openGrants: 0, tlsListeners: 0 };
    for (const member of this.#members) {
      const { openGrants, tlsListeners } = signalsOf(member).figures;
      sum.openGrants += openGrants;
      sum.tlsListeners += tlsListeners;
    }
    return { ...countersIn(this.#counts), maxConnections: this.#limits.maxConnections, ...sum };
  }

  names(): NameCounters {
    return this.#members.map((member) => signalsOf(member).figures.names).reduce(addNames, this.#formerNames);
  }

  addOwnPort(port: number): void {
    this.#ports.add(port);
  }

  async update(update: PolicyUpdate): Promise<void> {
    await this.#replicate(update);
  }

  async flush(): Promise<void> {
    await this.#tellAll((id) => ({ type: "flush", id }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#isRunning = false;
    clearInterval(this.#watch);
    for (const { respawn } of this.#members) clearTimeout(respawn);
    const limitMs = 2 * this.#options.config.limits.drainTimeoutMs + STOP_GRACE_MS;
    await Promise.all(this.#members.map(async (member) => {
      if (member.hasPolicy) { // else it is still loading, would not hear, and has nothing to finish
        post(member, { type: "stop" });
        await within(member.stopped.promise, limitMs);
      }
      this.#end(member);
    }));
  }

  /** The descriptors are the process's, and so each worker gets a part of what may stay open in all. */
  get #limits(): WorkerConfig["limits"] {
    const { count, config } = this.#options;
    const perUpstream = descriptorsPerUpstream(config.parents, config.dialFrom);
    const limits = fitLimits(config.limits, descriptorLimit(), { threads: count, perUpstream });
    return {
      ...limits,
      maxTlsListeners: Math.ceil(limits.maxTlsListeners / count),
      ownUnauthenticated: Math.ceil(limits.maxUnauthenticated / count),
    };
  }

  #spawn(member: Member): void {
    const worker = new Worker(this.#options.module, {
      type: "module",
      name: `slicer-proxy data plane ${member.memory.plane}`,
    });
    member.worker = worker;
    this.#formerNames = addNames(this.#formerNames, signalsOf(member).figures.names);
    // Of its own: should a former worker of this place come back from where it hangs, it finds itself condemned.
    member.memory = { ...member.memory, ...ownMemory() };
    member.stopped = Promise.withResolvers();
    member.startedAt = performance.now();
    member.beats = member.silentLooks = 0;
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      if (member.worker === worker) this.#take(member, data);
    };
    worker.onerror = (event) => {
      event.preventDefault(); // it would end the process
      if (member.worker === worker) this.#lose(member, failure(`it died: ${event.message}`));
    };
  }

  #take(member: Member, message: FromWorker): void {
    const { audit, note, reportBug } = this.#options;
    switch (message.type) {
      case "hello":
        return this.#begin(member);
      case "listening":
        member.listening.resolve();
        return;
      case "failed":
        return this.#lose(member, receivedError(message.error));
      case "done":
        return member.waiting.get(message.id)?.();
      case "question":
        return void this.#answer(member, message.id, message.question);
      case "audit":
        audit.writeAll(message.records);
        return exchangesOf(member).take(message.records);
      case "dead-choice":
        return this.#options.onDeadChoice?.(message.dead);
      case "note":
        return note(message.line);
      case "bug":
        return reportBug(message.text);
      case "stopped":
        member.stopped.resolve();
    }
  }

  /** The policy is taken and sent within one turn, so that no change falls between it and the updates that follow. */
  #begin(member: Member): void {
    const { config, tokenKey, snapshot } = this.#options;
    signalsOf(member).isAuditWritable = this.#options.audit.isWritable;
    const listen = this.#listen.map((where) => ({ ...where, isShared: true }));
    post(member, {
      type: "start",
      config: { ...config, listen, limits: this.#limits },
      policy: snapshot(),
      tokenKey,
      memory: member.memory,
    });
    member.hasPolicy = true;
  }

  async #replicate(update: PolicyUpdate): Promise<void> {
    await this.#tellAll((id) => ({ type: "policy", id, update }));
  }

  /** Resolves when all workers have done what they are told. One that has no policy yet is told nothing: it will begin later. */
  async #tellAll(message: (id: number) => ToWorker): Promise<void> {
    const id = this.#nextId++;
    await Promise.all(this.#members.map((member) => this.#tell(member, id, message(id))));
  }

  async #tell(member: Member, id: number, message: ToWorker): Promise<void> {
    if (!member.hasPolicy) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    member.waiting.set(id, resolve);
    post(member, message);
    const isInTime = await within(promise, this.#options.applyLimitMs ?? APPLY_LIMIT_MS);
    member.waiting.delete(id);
    if (!isInTime) this.#giveUp(member, "it does not do what it is told");
  }

  async #answer(member: Member, id: number, question: Question): Promise<void> {
    const { worker } = member;
    const reply = (message: ToWorker) => {
      if (member.worker === worker) post(member, message);
    };
    try {
      reply({ type: "answer", id, value: await this.#find(member, question) });
    } catch (error) {
      if (!(error instanceof ProxyError)) this.#options.reportBug(error);
      reply({ type: "answer", id, error: sendableError(error) });
    }
  }

  async #find(member: Member, question: Question): Promise<unknown> {
    const { certificates, policy } = this.#options;
    switch (question.kind) {
      case "certificate":
        return await certificates.forHost(question.host);
      case "is-warm":
        return await certificates.isWarm(question.host);
      case "own-certificate":
        return await certificates.forProxy();
      case "trust":
        return await certificates.forTrust();
      case "credential":
        return this.#lent.lend(await policy.credential(question.secret, question.request));
      case "ask": {
        const { decided, end } = this.#options.asks.hold(question.ask);
        member.asks.set(question.ask.id, end);
        return await decided;
      }
      case "ask-end":
        member.asks.get(question.id)?.();
        member.asks.delete(question.id);
        return undefined;
      case "rejected": {
        const credential = this.#lent.of(question.ref);
        return credential && this.#lent.lend(await policy.rejected(credential, question.answer));
      }
    }
  }

  #look(): void {
    const { silenceLimitMs = SILENCE_LIMIT_MS } = this.#options;
    for (const member of this.#members) {
      const { beats } = signalsOf(member);
      const limitMs = beats === 0 ? LOAD_LIMIT_MS : silenceLimitMs;
      if (beats !== member.beats) member.silentLooks = 0;
      else if (member.worker && ++member.silentLooks * WATCH_MS > limitMs) {
        this.#giveUp(member, "it gives no sign of life");
      }
      member.beats = beats;
    }
  }

  /**
   * Loses a worker whose thread may not end: nothing interrupts one that hangs. It would keep its listeners, and the system
   * would go on dealing connections to them. So all that there are now are shut, once whoever lives listens anew.
   */
  #giveUp(member: Member, state: string): void {
    this.#lose(member, failure(state));
    if (!this.#isRunning) return;
    const shuts = this.#listen.map(findListeners);
    void this.#tellAll((id) => ({ type: "listen-anew", id })).then(() => shuts.forEach((shut) => shut()));
  }

  /** Ends a worker and puts another in its place. What it held ends with it. */
  #lose(member: Member, why: ProxyError): void {
    const { worker, memory: { plane } } = member;
    if (!worker) return;
    signalsOf(member).condemn(); // a thread that hangs ends only when it comes back
    this.#end(member);
    member.stopped.resolve();
    if (!this.#isRunning) return this.#startFailed.reject(why);
    this.#options.log.error(`worker ${plane} is replaced, and its connections have ended: ${why.message}`);
    this.replaced++;
    member.respawn = setTimeout(() => this.#spawn(member), nextPauseMs(member));
  }

  /** Ends a worker, writes what it has not accounted for, and takes back what it had counted and listened on. */
  #end(member: Member): void {
    if (!member.worker) return;
    member.worker.terminate();
    member.worker = undefined;
    for (const record of exchangesOf(member).lost()) this.#options.audit.write(record);
    member.hasPolicy = false;
    for (const end of member.asks.values()) end();
    member.asks.clear();
    for (const resolve of member.waiting.values()) resolve();
    member.waiting.clear();
    this.#counts.clear(member.memory.plane);
    this.#ports.clear(member.memory.plane);
  }
}

function failure(state: string): ProxyError {
  return new ProxyError("internal", `Cannot go on with a worker: ${state}`);
}

/** The place with the port that it is to have, after a look that nobody else has it. @throws ProxyError `listen.failed` */
function claimPort(where: Listen): Listen {
  const listener = openListener(where);
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return { ...where, port };
}
