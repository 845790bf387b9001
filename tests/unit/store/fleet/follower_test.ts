import { assertEquals, assertRejects } from "@std/assert";
import { type StoredClient, writeClient } from "../../../../store/clients.ts";
import type { Mutation, NewSeal, Row } from "../../../../store/engine.ts";
import { Follower } from "../../../../store/fleet/follower.ts";
import { SealKeys } from "../../../../store/fleet/seal_keys.ts";
import type {
  Position,
  PostgresDatabase,
  SealStanding,
  StoredChange,
} from "../../../../store/postgres/database.ts";
import { makeProof } from "../../../../store/seal_proof.ts";
import { PolicyView } from "../../../../store/view.ts";
import { Writer } from "../../../../store/writer.ts";
import { keysOf, MemoryEngine, SharedMemory } from "../memory_engine.ts";
import { assertCode, HandClock } from "../support.ts";
import { keptLog } from "./answers.ts";

function client(name: string): StoredClient {
  return { record: { name, version: "1", createdAt: 0 }, id: name, digest: name };
}

/** A store whose changes are a list, of which the oldest may be kept no more. */
class Changes {
  readonly changes: StoredChange[] = [];
  /** Changes up to this one are kept no more. */
  forgotten = 0;
  rows: Row[] = [];
  newSeal: NewSeal | undefined;
  standing: SealStanding = {
    keyId: "k",
    nextKeyId: undefined,
    formerKeyId: undefined,
    switchedAt: undefined,
  };
  readonly asked: string[] = [];

  add(...mutations: Mutation[]): Position {
    const sequence = this.changes.length + 1;
    this.changes.push({ sequence, changeId: `c${sequence}`, mutations });
    return { sequence, changeId: `c${sequence}` };
  }

  addClient(name: string): Position {
    const mutation = writeClient(client(name));
    this.rows.push({ key: mutation.key, value: mutation.value });
    return this.add(mutation);
  }

  get #last(): Position {
    const { sequence = 0, changeId } = this.changes.at(-1) ?? {};
    return { sequence, changeId };
  }

  get db(): PostgresDatabase {
    const kept = () => this.changes.filter(({ sequence }) => sequence > this.forgotten);
    const seal = () => this.newSeal ?? { sealCheck: new Uint8Array(), sealKeyId: "" };
    const note = <T>(what: string, answer: T): Promise<T> => {
      this.asked.push(what);
      return Promise.resolve(answer);
    };
    const db = {
      position: () => note("position", { ...this.#last, seal: this.standing }),
      changeIdAt: (at: number) => note("id", kept().find(({ sequence }) => sequence === at)?.changeId),
      changesAfter: (after: number) =>
        note("changes", kept().filter(({ sequence }) => sequence > after).slice(0, 2)),
      readAll: () => note("all", { rows: this.rows, position: this.#last, seal: seal() }),
      seal: () => note("seal", seal()),
    };
    return db as unknown as PostgresDatabase;
  }
}

/** A follower at the beginning of a store's changes. */
async function stage() {
  const clock = new HandClock();
  const keys = await keysOf(1);
  const seal = new SealKeys("/nowhere/mk", keys, keptLog());
  const store = new Changes();
  store.newSeal = { sealCheck: await makeProof(keys), sealKeyId: keys.id };
  const view = new PolicyView();
  const writer = new Writer({ db: new MemoryEngine(new SharedMemory()), keys, view, clock, nextSequence: 0 });
  const follower = new Follower(seal, clock);
  let confirmed = 0;
  const catchUp = () => follower.catchUp(store.db, () => Promise.resolve(void confirmed++));
  const names = () => view.clients().map(({ name }) => name).join(" ");
  const take = () => store.asked.splice(0);
  return {
    clock,
    keys,
    seal,
    store,
    view,
    writer,
    follower,
    catchUp,
    names,
    take,
    confirmed: () => confirmed,
  };
}

const START = { sequence: 0, changeId: undefined };

Deno.test("Follower makes the changes of others in order and each once, and then says so", async () => {
  const { follower, writer, store, catchUp, names, take, confirmed, clock } = await stage();
  follower.begin(writer, START);
  clock.nowMs += 5;
  assertEquals(follower.progress, { sequence: 0, behind: 0, behindMs: 5 });
  for (const name of ["a", "b", "c"]) store.addClient(name);
  assertEquals(await catchUp(), store.standing);
  assertEquals([names(), confirmed()], ["a b c", 1]);
  assertEquals(follower.position, { sequence: 3, changeId: "c3" });
  assertEquals([follower.inForce, follower.progress.behindMs], [follower.position, 0] as unknown[]);
  assertEquals(take().filter((what) => what === "changes").length, 2, "as many as come at once");
  await catchUp();
  assertEquals([take(), confirmed()], [["position"], 2]);
  clock.nowMs += 7;
  assertEquals(follower.progress, { sequence: 3, behind: 0, behindMs: 7 });
});

Deno.test("Follower counts the time that it is behind from before it asked", async () => {
  const { follower, writer, store, clock } = await stage();
  follower.begin(writer, START);
  store.addClient("a");
  await follower.catchUp(store.db, () => Promise.resolve(void (clock.nowMs += 9)));
  assertEquals(follower.progress.behindMs, 9);
});

Deno.test("Follower knows what it lacks while it cannot be made, and reads everything then", async () => {
  const { follower, writer, store, catchUp, names, take } = await stage();
  follower.begin(writer, START);
  const row = writeClient(client("a"));
  store.addClient("a");
  store.add({ ...row, value: { id: "damaged" } });
  await assertCode(catchUp(), "state.damaged");
  assertEquals([follower.progress.behind, follower.inForce.sequence, names()], [1, 1, "a"]);
  take();
  await catchUp();
  assertEquals([take(), follower.position.sequence], [["position", "all"], 2]);
});

Deno.test("Follower reads everything when the next change is kept no more", async () => {
  const { follower, writer, store, catchUp, names, take } = await stage();
  follower.begin(writer, START);
  store.addClient("a");
  await catchUp();
  for (const name of ["b", "c", "d"]) store.addClient(name);
  store.forgotten = 2;
  take();
  await catchUp();
  assertEquals([names(), follower.position.sequence, take().includes("all")], ["a b c d", 4, true]);
});

Deno.test("Follower reads everything anew where that was left half made", async () => {
  const { follower, writer, store, catchUp, names, take } = await stage();
  follower.begin(writer, START);
  store.addClient("a");
  store.forgotten = 1;
  const rows = store.rows.splice(0, 1, { key: ["client", "a"], value: { id: "damaged" } });
  await assertCode(catchUp(), "state.damaged");
  store.forgotten = 0;
  store.rows = rows;
  take();
  await catchUp();
  assertEquals([take().includes("all"), names()], [true, "a"]);
});

Deno.test("Follower takes no turn of the writer while there is nothing new", async () => {
  const { follower, writer, store, catchUp } = await stage();
  follower.begin(writer, START);
  const { inTurn } = writer;
  let turns = 0;
  writer.inTurn = (work) => {
    turns++;
    return inTurn.call(writer, work) as ReturnType<typeof work>;
  };
  await catchUp();
  assertEquals(turns, 0);
  store.addClient("a");
  await catchUp();
  assertEquals(turns, 1);
});

Deno.test("Follower does not go on with a store that lacks what is in force here", async (t) => {
  const cases: readonly (readonly [string, (store: Changes) => void])[] = [
    ["an older one", (store) => store.changes.splice(1)],
    [
      "another one at that place",
      (store) => store.changes.splice(1, 1, { sequence: 2, changeId: "x", mutations: [] }),
    ],
    ["another one at an earlier place", (store) => {
      store.changes.splice(1, 1, { sequence: 2, changeId: "x", mutations: [] });
      store.addClient("d");
    }],
  ];
  for (const [name, lose] of cases) {
    await t.step(name, async () => {
      const { follower, writer, store, catchUp } = await stage();
      follower.begin(writer, START);
      for (const each of ["a", "b"]) store.addClient(each);
      await catchUp();
      lose(store);
      await assertCode(catchUp(), "store.refused");
      assertEquals(follower.position, { sequence: 2, changeId: "c2" });
    });
  }
});

Deno.test("Follower.checkPast() looks whether the store has what is in force here", async () => {
  const { follower, writer, store, catchUp, take } = await stage();
  follower.begin(writer, START);
  await follower.checkPast(store.db);
  for (const each of ["a", "b"]) store.addClient(each);
  await catchUp();
  take();
  await follower.checkPast(store.db);
  assertEquals(take(), ["id"]);
  store.forgotten = 2; // long ago
  store.addClient("c");
  await follower.checkPast(store.db);
  take();
  await catchUp();
  assertEquals(take(), ["position", "all"]);
  store.changes.splice(1);
  await assertCode(follower.checkPast(store.db), "store.refused");
});

Deno.test("Follower.reach() brings the view to the last change there is", async () => {
  const { follower, writer, store, names } = await stage();
  follower.begin(writer, START);
  await follower.reach(store.db, START);
  const last = store.addClient("a");
  await follower.reach(store.db, last);
  assertEquals([names(), follower.position], ["a", last] as unknown[]);
  await assertCode(follower.reach(store.db, { sequence: 1, changeId: "x" }), "store.refused");
  const late = await stage();
  late.follower.begin(late.writer, START);
  late.store.addClient("a");
  await assertCode(late.follower.reach(late.store.db, { sequence: 1, changeId: "x" }), "store.refused");
  await assertCode(follower.reach(store.db, START), "store.refused");
});

Deno.test("Follower.makeOwn() takes the place of an own change, and gives it up when it failed", async () => {
  const { follower, writer, store, catchUp, take } = await stage();
  follower.begin(writer, START);
  assertEquals(await follower.makeOwn(() => Promise.resolve("none")), { value: "none", sequence: undefined });
  const own = store.addClient("a");
  const made = await follower.makeOwn(() => Promise.resolve(follower.moveTo(own)));
  assertEquals([made.sequence, follower.position, follower.inForce], [1, own, own] as unknown[]);
  await assertRejects(() => follower.makeOwn(() => Promise.reject(new Error("refused"))), Error, "refused");
  await catchUp();
  assertEquals(take().includes("all"), false, "nothing was committed");
  const lost = store.addClient("b");
  const fail = follower.makeOwn(() => {
    follower.moveTo(lost);
    return Promise.reject(new Error("after the commit"));
  });
  await assertRejects(() => fail, Error, "after the commit");
  assertEquals([follower.position, follower.inForce], [own, own]);
  await catchUp();
  assertEquals([take().includes("all"), follower.position], [true, lost] as unknown[]);
});

Deno.test("Follower takes another seal key with the change that brings it", async () => {
  const { follower, writer, store, catchUp, keys, take, seal } = await stage();
  follower.begin(writer, START);
  const token = new Uint8Array(32).fill(9); // as after a rotation
  const sealCheck = await makeProof({ ...keys, token }, { carriesToken: true });
  store.newSeal = { sealCheck, sealKeyId: "k2" };
  store.add({ key: ["seal"], value: { keyId: "k2" } });
  await catchUp();
  assertEquals([writer.keys.token, seal.keys.token], [token, token]);
  assertEquals(take().includes("all"), false);
  store.add({ key: ["seal"], value: { keyId: "k3" } }); // there is yet another one by now
  store.newSeal = { sealCheck: await makeProof(keys, { carriesToken: true }), sealKeyId: "k4" };
  store.add({ key: ["client", "x"], value: {} }); // is in what is read anew, and is not made once more
  await catchUp();
  assertEquals([take().includes("all"), writer.keys.token], [true, keys.token] as unknown[]);
});

Deno.test("Follower has places of new rules behind all that came", async () => {
  const { follower, writer, store, catchUp } = await stage();
  follower.begin(writer, START);
  store.addClient("a");
  const value = { id: "r", host: "a.test", methods: [], paths: [], ports: [443], passthrough: false };
  store.add({ key: ["rule", "a", 6], value });
  await catchUp();
  assertEquals(writer.takeSequence(), 7);
});

Deno.test("Follower follows nothing before it has begun", async () => {
  const { store, catchUp } = await stage();
  store.addClient("a");
  await assertRejects(catchUp, TypeError, "before it has begun");
});
