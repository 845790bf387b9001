/**
 * Another seal key for a fleet while it goes on. All of it stands in the store, and every host does the next step that can be
 * done: whoever dies in the middle is not missed.
 *
 *     waiting     a key is announced by its proof; each host says when it has that key on its disk
 *     sealing     all that may act on the policy have it: secrets are sealed anew beside those in force
 *     finishing   the new key is in force by a change like any other, and some hosts have that change still to make
 *
 * A host that has not said that it has the key is waited for as long as it lives. One that was away meanwhile, and has not the
 * key when it comes back, cannot read the policy and denies.
 *
 * Not here: SQL (`../postgres/reseal.ts`), and key files (`seal_keys.ts`).
 *
 * @module
 */
import { isProxyError, messageOf, ProxyError } from "../../core/errors.ts";
import type { LineLog } from "../../core/log.ts";
import type { PostgresDatabase, SealStanding } from "../postgres/database.ts";
import * as reseal from "../postgres/reseal.ts";
import { makeProof } from "../seal_proof.ts";
import { keptKeyPath, withKeyLock } from "../seal_key.ts";
import { nameOf } from "./host_list.ts";
import type { Hosts, OwnHost } from "./hosts.ts";
import type { SealKeys } from "./seal_keys.ts";

/** See the module. */
export type RotationPhase = "waiting" | "sealing" | "finishing";

/** How far a rotation is. */
export interface Rotation {
  readonly phase: RotationPhase;
  /** Of the key that was, or is, in force before, and of the one after. */
  readonly formerId: string;
  readonly nextId: string;
  /** Names of the hosts that have the key, or its change, still to get. */
  readonly waitingFor: readonly string[];
  /** How many sealed rows there are, and how many of them are sealed with the new key. */
  readonly rows: number;
  readonly resealed: number;
}

/** What a rotation works with on this host. */
export interface RotationParts {
  readonly own: OwnHost;
  readonly seal: SealKeys;
  readonly hosts: Pick<Hosts, "waitingFor">;
  readonly log: LineLog;
  /** Where it looks, and where it makes changes. @throws ProxyError `store.away` */
  readonly watch: () => PostgresDatabase;
  readonly changes: () => PostgresDatabase;
  /** Runs what needs the connection of changes for itself. */
  readonly inTurn: <T>(work: () => Promise<T>) => Promise<T>;
  /** Has the next look come at once. */
  readonly wake: () => void;
  /** Has what this host keeps of its last contact sealed with the key in force, before the next step. */
  readonly renewContact: () => void;
}

/** See the module. */
export class KeyRotation {
  readonly #parts: RotationParts;
  /** What the store was told by this process to be on this host's disk, beside the key in force. */
  #told = "";
  /** What was said in the log, so that it is said once. */
  #said = "";
  /** Of the key in force whose file is in its place. */
  #taken = "";
  /** Of the key in force since which no key from before is on this host's disk. */
  #settled = "";

  constructor(parts: RotationParts) {
    this.#parts = parts;
  }

  /** The store knows this process anew. */
  forget(): void {
    this.#told = "";
  }

  /** Does what can be done now. To be called after each look at the store. @throws ProxyError `store.away` */
  async step(standing: SealStanding): Promise<void> {
    const { seal } = this.#parts;
    if (standing.keyId !== seal.keys.id) return; // the change to it is still to be made here
    if (standing.keyId !== this.#taken) {
      await seal.trySettle();
      this.#taken = standing.keyId;
      this.#parts.renewContact();
      return this.#parts.wake();
    }
    try {
      if (standing.nextKeyId !== undefined) await this.#prepare(standing.nextKeyId);
      else if (standing.switchedAt !== undefined) await this.#finish(standing.switchedAt);
      else if (standing.keyId !== this.#settled) {
        await seal.forgetFormer();
        this.#settled = standing.keyId;
      }
    } catch (error) {
      if (!isProxyError(error) || isProxyError(error, "store.away")) throw error;
      this.#say("error", `the seal key cannot be replaced: ${whatIsWrong(error)}`);
    }
  }

  /**
   * Announces another key, made or brought, which is in this host's file of the next one then. While a rotation is under way
   * that one goes on, and nothing is made.
   *
   * @throws ProxyError `store.away`, `state.write-failed`, `seal.*`; `input.conflict` for the key in force, or another one than
   * the rotation that is under way is to
   */
  async begin(brought: string | undefined): Promise<void> {
    const { seal } = this.#parts;
    await seal.settle(); // the next key may be the one in force, and be nowhere else
    // From the look at the store to the announcement: another host with this file would remove the key that this one announces.
    await withKeyLock(seal.file, () => this.#beginAlone(brought));
  }

  async #beginAlone(brought: string | undefined): Promise<void> {
    const { seal } = this.#parts;
    const { seal: standing } = await this.#parts.watch().position();
    if (standing.keyId !== seal.keys.id) throw underWay(standing.keyId);
    const under = standing.nextKeyId ?? (standing.switchedAt === undefined ? undefined : standing.keyId);
    if (under !== undefined) {
      if (brought === undefined || await seal.idOf(brought) === under) return;
      throw underWay(under);
    }
    const keys = await seal.makeNext(brought);
    const proof = { sealCheck: await makeProof(keys, { carriesToken: true }), sealKeyId: keys.id };
    if (!await reseal.announceKey(this.#parts.watch(), proof, seal.keys.id)) throw underWay(undefined);
    this.#parts.log.info(
      `seal key ${keys.id} is to follow ${seal.keys.id}, which is kept as ${
        keptKeyPath(seal.file, seal.keys.id)
      } for backups`,
    );
    this.#parts.wake();
  }

  /** Gives a rotation up whose key is not in force yet. @throws ProxyError `store.away`, `input.not-found` */
  async cancel(): Promise<void> {
    const { changes, inTurn } = this.#parts;
    if (await inTurn(() => reseal.cancelKey(changes()))) return;
    throw new ProxyError("input.not-found", "Cannot give up another seal key: none is to come into force", {
      hint: "slicer-proxy seal-key status says how it stands",
    });
  }

  async #prepare(nextId: string): Promise<void> {
    const { own, seal, log, watch, changes, inTurn, wake } = this.#parts;
    const announced = await reseal.readNextSeal(watch());
    if (announced?.sealKeyId !== nextId) return; // given up meanwhile, or in force
    let problem: string | undefined;
    const next = await seal.readNext(announced).catch((error) => {
      problem = whatIsWrong(error);
      return undefined;
    });
    const has = next?.id ?? "";
    if (this.#told !== has) {
      await reseal.sayNextKey(watch(), own, has);
      this.#told = has;
    }
    if (!next) {
      const what = problem === undefined ? "" : ` (${problem})`;
      return this.#say(
        "warn",
        `this fleet waits for this host: copy seal key ${nextId} from another host to ${seal.nextFile}, with mode 600${what}`,
      );
    }
    if ((await reseal.hostsWithout(watch(), nextId)).length > 0) return;
    const outcome = await inTurn(() =>
      reseal.resealBatch(changes(), { from: seal.keys, to: next, host: own.name })
    );
    if (outcome === "not-now") return;
    if (outcome === "switched") log.info(`everything is sealed with key ${nextId}, which is in force now`);
    wake();
  }

  async #finish(switchedAt: number): Promise<void> {
    const { hosts, watch, log, seal } = this.#parts;
    const { names } = await hosts.waitingFor(switchedAt);
    if (names.length > 0) return;
    await reseal.finishSwitch(watch(), switchedAt);
    log.info(`every host has seal key ${seal.keys.id} in force`);
  }

  #say(level: "warn" | "error", line: string): void {
    if (this.#said === line) return;
    this.#said = line;
    this.#parts.log[level](line);
  }
}

/** How far a rotation is; undefined when none is under way. Anybody may look. @throws ProxyError `store.away` */
export async function readRotation(db: PostgresDatabase): Promise<Rotation | undefined> {
  const { seal: { keyId, nextKeyId, formerKeyId, switchedAt } } = await db.position();
  if (nextKeyId !== undefined) {
    const waitingFor = (await reseal.hostsWithout(db, nextKeyId)).map(nameOf);
    const phase = waitingFor.length > 0 ? "waiting" : "sealing";
    return {
      phase,
      formerId: keyId,
      nextId: nextKeyId,
      waitingFor,
      ...await reseal.countResealed(db, nextKeyId),
    };
  }
  if (switchedAt === undefined) return undefined;
  const waitingFor = (await reseal.hostsBefore(db, switchedAt)).map(nameOf);
  const { rows } = await reseal.countResealed(db, keyId);
  const ids = { formerId: formerKeyId ?? "", nextId: keyId };
  return { phase: "finishing", ...ids, waitingFor, rows, resealed: rows };
}

function whatIsWrong(error: unknown): string {
  const hint = isProxyError(error) ? error.hint : undefined;
  return hint === undefined ? messageOf(error) : `${messageOf(error)}; ${hint}`;
}

function underWay(id: string | undefined): ProxyError {
  return new ProxyError(
    "input.conflict",
    `Cannot take another seal key: the fleet is about to take one already${
      id === undefined ? "" : `, ${id}`
    }`,
    { hint: "slicer-proxy seal-key status says how far it is; seal-key cancel gives it up" },
  );
}
