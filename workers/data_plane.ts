/**
 * A worker: the data plane of `proxy/` on a thread of its own, with a copy of the policy. The second composition root
 * beside `cli/up/cmd_up.ts`.
 *
 * Not here: the main thread's side (`pool.ts`).
 *
 * @module
 */
import { systemClock } from "../core/clock.ts";
import { isProxyError, messageOf } from "../core/errors.ts";
import { logger, startLog } from "../core/log.ts";
import { watchWakes } from "../core/wake_watch.ts";
import { hasNativeCalls } from "../core/native.ts";
import { type LocalProxy, startProxy } from "../proxy/server.ts";
import { Meters } from "../proxy/records/meters.ts";
import { type Names, openNames } from "../proxy/egress/names/names.ts";
import { Trust } from "../proxy/egress/tls/trust.ts";
import {
  type Answers,
  type FromWorker,
  type PolicyUpdate,
  type Question,
  receivedError,
  sendableError,
  type ToWorker,
} from "./messages.ts";
import { RecordSender } from "./record_sender.ts";
import { PolicyReplica } from "./replica.ts";
import { SharedCounts } from "./shared_counts.ts";
import { SharedExchanges } from "./shared_exchanges.ts";
import { SharedPorts } from "./shared_ports.ts";
import { Signals } from "./signals.ts";

/** The part of a worker's global scope that this file uses. Deno's types know it only where no window is. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker): void;
  addEventListener(type: "error" | "unhandledrejection", listener: () => void): void;
}

/** How often a worker says that it lives. */
const BEAT_MS = 250;
/** How long what clients have to trust is good for: a CA in files is renewed once in years, and of another in the store a worker is told. */
const TRUST_MS = 60_000;

/** Serves until the main thread ends it. To be called once, as the first thing in the worker. */
export function serveDataPlane(): void {
  const scope = globalThis as unknown as WorkerScope;
  const worker = new DataPlane((message) => scope.postMessage(message));
  scope.onmessage = ({ data }) => worker.take(data);
  // The runtime ends the worker after either. What it had to log is not lost with it.
  scope.addEventListener("error", () => worker.die());
  scope.addEventListener("unhandledrejection", () => worker.die());
  scope.postMessage({ type: "hello" }); // what is sent before somebody listens would be lost
}

class DataPlane {
  readonly #post: (message: FromWorker) => void;
  readonly #asked = new Map<number, PromiseWithResolvers<unknown>>();
  #nextQuestion = 0;
  #records: RecordSender | undefined;
  #policy: PolicyReplica | undefined;
  readonly #trust = new Trust([]);
  #server: LocalProxy | undefined;
  #names: Names | undefined;
  #beating: ReturnType<typeof setInterval> | undefined;
  #endWatch = () => {};
  readonly #caPem = new Remembered(() => this.#ask({ kind: "trust" }));

  constructor(post: (message: FromWorker) => void) {
    this.#post = post;
  }

  take(message: ToWorker): void {
    switch (message.type) {
      case "start":
        return this.#start(message);
      case "policy":
        this.#update(message.update);
        return this.#post({ type: "done", id: message.id });
      case "answer":
        return this.#answered(message);
      case "listen-anew":
        this.#server?.listenAnew();
        return this.#post({ type: "done", id: message.id });
      case "flush":
        this.#records?.flush();
        return this.#post({ type: "done", id: message.id });
      case "stop":
        void this.#stop();
    }
  }

  /** Sends the records that wait, before the thread ends. */
  die(): void {
    this.#records?.end();
  }

  #start({ config, policy: update, tokenKey, memory }: ToWorker & { readonly type: "start" }): void {
    startLog((line) => this.#post({ type: "note", line }));
    hasNativeCalls();
    const { plane } = memory;
    const signals = new Signals(memory.signals);
    const clock = systemClock();
    const policy = new PolicyReplica({
      tokenKey,
      clock,
      lender: {
        credential: (secret, request) => this.#ask({ kind: "credential", secret, request }),
        rejected: (ref, answer) => this.#ask({ kind: "rejected", ref, answer }),
      },
      isCondemned: () => signals.isCondemned,
    });
    this.#policy = policy;
    this.#update(update);
    const records = new RecordSender({
      send: (records) => this.#post({ type: "audit", records }),
      exchanges: new SharedExchanges(memory.exchanges),
      isWritable: () => signals.isAuditWritable,
    });
    this.#records = records;
    const caCertsFor = (host: string) => this.#trust.certificatesFor(host);
    const names = openNames({
      servers: config.dns,
      limitMs: config.limits.resolveTimeoutMs,
      caCertsFor,
      log: logger("names"),
    });
    this.#names = names;
    try {
      this.#server = startProxy({
        ...config,
        policy,
        certificates: {
          forHost: (host) => this.#ask({ kind: "certificate", host }),
          isWarm: (host) => this.#ask({ kind: "is-warm", host }),
          forProxy: () => this.#ask({ kind: "own-certificate" }),
          forTrust: () => this.#caPem.get(),
        },
        clock,
        onDeadChoice: (dead) => this.#post({ type: "dead-choice", dead }),
        resolve: names.resolve,
        resolveRecords: names.resolveRecords,
        caCertsFor,
        ownPorts: () => [], // the API's are among the shared ones
        audit: records,
        reportBug: (error) =>
          this.#post({
            type: "bug",
            text: error instanceof Error ? error.stack ?? error.message : String(error),
          }),
        counts: new SharedCounts(memory.counts, memory.seeds, plane, () => signals.isCondemned),
        tlsPorts: new SharedPorts(memory.ports, plane),
        meters: new Meters(memory.meters),
        asks: {
          hold: (ask) => ({
            decided: this.#ask({ kind: "ask", ask }),
            end: () => void this.#ask({ kind: "ask-end", id: ask.id }),
          }),
        },
      });
    } catch (error) {
      if (!isProxyError(error)) throw error; // the main thread is told how this worker died
      return this.#post({ type: "failed", error: sendableError(error) });
    }
    const beat = () => {
      clock.now(); // so that it goes on from here, should the machine's be set back while nobody asks
      const { openGrants = 0, tlsListeners = 0 } = this.#server?.counters() ?? {};
      signals.beat({ openGrants, tlsListeners, names: names.counters });
    };
    beat();
    this.#endWatch = watchWakes(clock, () => {
      this.#server?.retireUpstreams();
      names.forget();
    });
    this.#beating = setInterval(beat, BEAT_MS);
    this.#post({ type: "listening" });
  }

  #update(update: PolicyUpdate): void {
    this.#policy?.update(update);
    if (update.trusted && this.#trust.replace(update.trusted)) this.#server?.retireUpstreams();
    if (update.isOtherCa || update.changes.some(({ kind }) => kind === "ca")) {
      this.#caPem.forget();
      this.#server?.retireCertificates();
    }
  }

  async #stop(): Promise<void> {
    try {
      await this.#server?.[Symbol.asyncDispose]();
      this.#names?.[Symbol.dispose]();
    } catch (error) {
      this.#post({ type: "bug", text: messageOf(error) });
    }
    clearInterval(this.#beating);
    this.#endWatch();
    this.#records?.end();
    this.#post({ type: "stopped" });
  }

  #ask<Q extends Question>(question: Q): Promise<Answers[Q["kind"]]> {
    const id = this.#nextQuestion++;
    const asked = Promise.withResolvers<unknown>();
    this.#asked.set(id, asked);
    this.#post({ type: "question", id, question });
    return asked.promise as Promise<Answers[Q["kind"]]>;
  }

  #answered({ id, value, error }: ToWorker & { readonly type: "answer" }): void {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (error) asked?.reject(receivedError(error));
    else asked?.resolve(value);
  }
}

/** Asks once a minute, however often it is called: nobody's questions are to reach the main thread at their own rate. */
class Remembered {
  readonly #ask: () => Promise<string>;
  #last: { readonly until: number; readonly answer: Promise<string> } | undefined;

  constructor(ask: () => Promise<string>) {
    this.#ask = ask;
  }

  get(): Promise<string> {
    if (this.#last && performance.now() < this.#last.until) return this.#last.answer;
    const last = { until: performance.now() + TRUST_MS, answer: this.#ask() };
    this.#last = last;
    last.answer.catch(() => {
      if (this.#last === last) this.#last = undefined;
    });
    return last.answer;
  }

  forget(): void {
    this.#last = undefined;
  }
}
