/**
 * A host of a fleet whose store answers as a test says. What it asks and does is noted in order, and it looks at the store when
 * the test says so, not by the time.
 *
 * Not here: whether the questions are right (`../fleet_test.ts` and those beside it, with a server).
 *
 * @module
 */
import type { Mutation, Row } from "../../../../store/engine.ts";
import { Fleet } from "../../../../store/fleet/fleet.ts";
import type { LocalCopy } from "../../../../store/fleet/local_copy.ts";
import type { SealKeys } from "../../../../store/fleet/seal_keys.ts";
import { Uplink } from "../../../../store/fleet/uplink.ts";
import { parseStoreAddress } from "../../../../store/postgres/address.ts";
import {
  type DatabaseOptions,
  type Position,
  PostgresDatabase,
  type SealStanding,
  type StoredChange,
} from "../../../../store/postgres/database.ts";
import type { Answer } from "../../../../store/postgres/link.ts";
import type { StoreKeys } from "../../../../store/seal.ts";
import { Writer } from "../../../../store/writer.ts";
import { keysOf } from "../memory_engine.ts";
import { HandClock } from "../support.ts";
import { keptLog } from "./answers.ts";

export const GRACE_MS = 40_000;

/** What a question is called in the notes, by a part of its text. */
const NAMES: readonly (readonly [string, string])[] = [
  ["INSERT INTO slicer_proxy.hosts", "hello"],
  ["SET last_seen", "beat"],
  ["SELECT 1 FROM slicer_proxy.hosts", "taken?"],
  ["SET applied", "applied"],
  ["DELETE FROM slicer_proxy.hosts WHERE fleet = $1 AND id = $2 AND", "goodbye"],
  ["DELETE FROM slicer_proxy.hosts", "forget"],
  ["AS sums", "waiting"],
  ["AS turn", "look"],
  ["INTO slicer_proxy.log_ways", "way"],
  ["SET next_key", "next key"],
  ["h.next_key <>", "without key"],
  ["next_seal_check", "next seal"],
  ["LISTEN", "listen"],
];

/** A store; see the module. */
export class ScriptedStore {
  /** What was asked and done, since {@linkcode take}. */
  readonly notes: string[] = [];
  /** The parameters of the last question of each name. */
  readonly parameters = new Map<string, readonly unknown[]>();
  /** What a question is answered with, by its name; an error is thrown. A beat counts, and else nothing is found. */
  readonly answers = new Map<string, () => readonly Answer[] | Promise<readonly Answer[]>>([
    ["beat", () => [{}]],
  ]);
  readonly changes: StoredChange[] = [];
  /** Up to which changes the host has written copies: a second after the last that it made, so among no notes. */
  readonly copied: number[] = [];
  readonly opened: { readonly options: DatabaseOptions; isOpen: boolean; destroy(): void }[] = [];
  rows: Row[] = [];
  /** The proof of its seal key, once the fleet is made. */
  seal: { readonly sealCheck: Uint8Array<ArrayBuffer>; readonly sealKeyId: string } | undefined;
  /** The keys that its proof is of, where those are not the ones in force. */
  proven: StoreKeys | undefined;
  position: Position = { sequence: 0, changeId: undefined };
  standing: SealStanding = { keyId: "", nextKeyId: undefined, formerKeyId: undefined, switchedAt: undefined };

  /** The notes so far, which are forgotten. */
  take(): string[] {
    return this.notes.splice(0);
  }

  /** Another host makes a change. */
  add(...mutations: Mutation[]): void {
    const sequence = this.position.sequence + 1;
    this.position = { sequence, changeId: `c${sequence}` };
    this.changes.push({ ...this.position, mutations });
  }

  open(options: DatabaseOptions): PostgresDatabase {
    this.notes.push("open");
    const gone = Promise.withResolvers<never>();
    gone.promise.catch(() => {});
    const link = {
      options,
      isOpen: true,
      host: { host: "db.test", port: 5432 },
      query: (sql: string, parameters: readonly unknown[] = []) =>
        Promise.race([this.#answer(sql, parameters), gone.promise]),
      destroy: () => {
        link.isOpen = false;
        gone.reject(new Error("the connection ended"));
      },
    };
    this.opened.push(link);
    const sealOf = () => this.seal;
    const db = {
      get sealCheck() {
        return sealOf()?.sealCheck;
      },
      get sealKeyId() {
        return sealOf()?.sealKeyId;
      },
      initialise: (sealCheck: Uint8Array<ArrayBuffer>, sealKeyId: string) => {
        this.seal = { sealCheck, sealKeyId };
        return this.#note("made", undefined);
      },
      ...{ fleet: options.fleet, link, aheadMs: 0, serverRun: "1", query: link.query },
      position: () => link.query("position").then(() => ({ ...this.position, seal: this.standing })),
      changeIdAt: (at: number) => this.#note(`id of ${at}`, this.#at(at)?.changeId),
      changesAfter: (after: number) =>
        this.#note("changes", this.changes.filter(({ sequence }) => sequence > after)),
      readAll: () => {
        const seal = this.seal ?? { sealCheck: new Uint8Array(), sealKeyId: this.standing.keyId };
        return this.#note("all", { rows: this.rows, position: this.position, seal });
      },
      rows: (prefix: Deno.KvKey) => this.#rows(prefix),
      commitQuietly: (mutations: readonly Mutation[]) =>
        this.#note(`quietly ${keysText(mutations)}`, undefined),
      sizeBytes: () => this.#note("size", 7),
      time: () => this.#note("time", 11),
      sweep: () => this.#note("sweep", undefined),
      inTurn: (work: (turn: unknown) => unknown) => {
        const { position } = this;
        return this.#note("turn", undefined).then(() =>
          work({
            position,
            commit: (mutations: Mutation[]) => {
              this.add(...mutations);
              return this.#note(`commit ${keysText(mutations)}`, this.position);
            },
          })
        );
      },
      [Symbol.asyncDispose]: () => {
        link.isOpen = false;
        return this.#note("closed", undefined);
      },
    };
    return db as unknown as PostgresDatabase;
  }

  #at(at: number): StoredChange | undefined {
    return this.changes.find(({ sequence }) => sequence === at);
  }

  async *#rows(prefix: Deno.KvKey): AsyncGenerator<Row> {
    await this.#note(`rows ${prefix.join(" ")}`, undefined);
    yield* this.rows;
  }

  async #answer(sql: string, parameters: readonly unknown[]): Promise<readonly Answer[]> {
    const name = NAMES.find(([mark]) => sql.includes(mark))?.[1] ?? sql;
    this.parameters.set(name, parameters);
    await this.#note(name, undefined);
    return await this.answers.get(name)?.() ?? [];
  }

  #note<T>(what: string, answer: T): Promise<T> {
    this.notes.push(what);
    return Promise.resolve(answer);
  }
}

function keysText(mutations: readonly Mutation[]): string {
  return mutations.map(({ key, value }) => `${value ? "+" : "-"}${key.join("/")}`).join(" ");
}

/** A host at the side of its store; see the module. */
export interface ScriptedFleet extends AsyncDisposable {
  readonly store: ScriptedStore;
  readonly fleet: Fleet;
  readonly clock: HandClock;
  readonly log: ReturnType<typeof keptLog>;
  readonly keys: StoreKeys;
  /** How long it was to rest after each look. */
  readonly rests: number[];
  /** Joins, and begins to follow; resolves after its first two looks. */
  begin(): Promise<Writer>;
  /** Has it look at the store, and resolves when it rests again. */
  look(): Promise<void>;
}

/** Not joined yet. To be disposed when its fleet is. */
export async function scriptedFleet({ timeoutMs = 5_000 } = {}): Promise<ScriptedFleet> {
  const [store, clock, log, keys] = [new ScriptedStore(), new HandClock(), keptLog(), await keysOf(1)];
  store.standing = { ...store.standing, keyId: keys.id };
  const note = (what: string) => Promise.resolve(void store.notes.push(what));
  const rests: number[] = [];
  let [wanted, rested] = [0, Promise.withResolvers<void>()];
  const { rest } = Uplink.prototype;
  const { open } = PostgresDatabase;
  PostgresDatabase.open = (options) => Promise.resolve(store.open(options));
  Uplink.prototype.rest = function (ms) {
    rests.push(ms);
    if (rests.length === wanted) rested.resolve();
    return rest.call(this, 3_600_000); // until it is woken
  };
  const fleet = new Fleet({
    address: parseStoreAddress("postgres://u@db.test:5432/d"),
    password: () => Promise.resolve(""),
    ...{ caPem: undefined, timeoutMs, name: "n", fleet: "mine", host: "host-1", clock, log },
    own: { id: "id-1", instance: "process-1", name: "host-1", version: "1", graceMs: GRACE_MS },
    seal: sealOf(keys, { note, proven: () => store.proven }),
    copy: {
      save: ({ sequence }: Position) => Promise.resolve(void store.copied.push(sequence)),
      saveContact: () => note("contact"),
      drop: () => note("dropped"),
      forget: () => note("forgotten"),
    } as unknown as LocalCopy,
    lock: { [Symbol.dispose]: () => void store.notes.push("unlocked") },
  });
  const nextRest = (count: number) => {
    [wanted, rested] = [rests.length + count, Promise.withResolvers()];
  };
  const look = async () => {
    nextRest(1);
    store.opened.findLast(({ options }) => options.onNotice)?.options.onNotice?.("mine");
    await rested.promise;
  };
  const begin = async () => {
    const { loaded, start } = await fleet.join();
    const writer = new Writer({ db: fleet, keys, clock, ...loaded });
    nextRest(2); // the first look finds its key in its place, and another one comes at once
    await fleet.begin(writer, start);
    await rested.promise;
    return writer;
  };
  const restore = () => {
    PostgresDatabase.open = open;
    Uplink.prototype.rest = rest;
    return Promise.resolve();
  };
  return { store, fleet, clock, log, keys, rests, begin, look, [Symbol.asyncDispose]: restore };
}

/** The key in force, whatever the proof, and one that is to follow. */
function sealOf(
  first: StoreKeys,
  { note, proven }: {
    readonly note: (what: string) => Promise<void>;
    readonly proven: () => StoreKeys | undefined;
  },
): SealKeys {
  let keys = first;
  const seal = {
    get keys() {
      return keys;
    },
    ...{ file: "/mk", nextFile: "/mk.next" },
    take: (taken: StoreKeys) => {
      keys = taken;
    },
    proven: () => note("proven").then(() => proven() ?? keys),
    readNext: () => Promise.resolve({ id: "next" }),
    trySettle: () => note("settled"),
    forgetFormer: () => note("former gone"),
  };
  return seal as unknown as SealKeys;
}
