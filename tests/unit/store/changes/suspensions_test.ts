import { assertEquals } from "@std/assert";
import { createClient } from "../../../../store/changes/clients.ts";
import { setSuspended } from "../../../../store/changes/suspensions.ts";
import { makeWriter, MemoryEngine } from "../memory_engine.ts";
import { assertCode, HandClock } from "../support.ts";

Deno.test("setSuspended() writes a client's suspension and its end once, with the time of the first", async () => {
  const [db, clock] = [new MemoryEngine(), new HandClock()];
  await using writer = await makeWriter({ db, clock });
  const { token: _, ...made } = await createClient(writer, "one");
  const since = clock.nowMs;
  const set = async (isSuspended: boolean) => {
    const before = db.commits.length;
    const hasChanged = await setSuspended(writer, "one", isSuspended);
    return [hasChanged, db.commits.length - before];
  };
  assertEquals(await set(false), [false, 0]);
  assertEquals(await set(true), [true, 1]);
  assertEquals(db.commits.at(-1)?.[0]?.value?.suspendedSince, since);
  clock.nowMs += 1;
  assertEquals(await set(true), [false, 0]);
  assertEquals(writer.view.suspensions(), [{ client: "one", since }]);
  assertEquals(await set(false), [true, 1]);
  assertEquals(Object.hasOwn(db.commits.at(-1)?.[0]?.value ?? {}, "suspendedSince"), false);
  assertEquals(writer.view.client("one")?.record, made);
  assertEquals(await set(false), [false, 0]);
});

Deno.test("setSuspended() of all leaves those alone that are suspended by themselves", async () => {
  const [db, clock] = [new MemoryEngine(), new HandClock()];
  await using writer = await makeWriter({ db, clock });
  await createClient(writer, "one");
  await setSuspended(writer, "one", true);
  const [since, before] = [clock.nowMs, db.commits.length];
  assertEquals(await setSuspended(writer, undefined, false), false);
  assertEquals(db.commits.length, before);
  assertEquals(await setSuspended(writer, undefined, true), true);
  assertEquals(db.keys, ["client one", "suspended all"]);
  assertEquals(writer.view.suspensions(), [{ since }, { client: "one", since }]);
  clock.nowMs += 1;
  assertEquals(await setSuspended(writer, undefined, true), false);
  assertEquals(await setSuspended(writer, undefined, false), true);
  assertEquals([db.keys, writer.view.suspensions()], [["client one"], [{ client: "one", since }]]);
  assertEquals(db.commits.length, before + 2);
});

Deno.test("setSuspended() says what it cannot do to an unknown client, and changes nothing by a failed write", async () => {
  const db = new MemoryEngine();
  await using writer = await makeWriter({ db });
  for (const [isSuspended, verb] of [[true, "suspend"], [false, "resume"]] as const) {
    const { message } = await assertCode(setSuspended(writer, "none", isSuspended), "input.not-found");
    assertEquals(message, `Cannot ${verb} client "none": unknown client`);
  }
  await createClient(writer, "one");
  db.isFull = () => true;
  for (const client of ["one", undefined]) {
    await setSuspended(writer, client, true).then(() => Promise.reject("it was written"), () => {});
  }
  assertEquals(writer.view.suspensions(), []);
});
