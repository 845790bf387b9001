/**
 * What every database of the state has to do, as tests: the same ones for the file of one host and for the server of many.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { Engine, Row, SealedEngine } from "../../../store/engine.ts";

/** A database under test, to be opened again with what it holds. */
export interface EngineStage extends AsyncDisposable {
  open(): Promise<Engine & SealedEngine>;
}

/** Registers the tests. `stage` is undefined where the database cannot be had, and says why. */
export function testEngine(name: string, startStage: () => Promise<EngineStage | string>): void {
  const test = (what: string, run: (stage: EngineStage) => Promise<void>) =>
    Deno.test(`${name}: ${what}`, async (t) => {
      const stage = await startStage();
      if (typeof stage === "string") {
        return void await t.step({ name: `skipped: ${stage}`, ignore: true, fn: () => {} });
      }
      await using _ = stage;
      await run(stage);
    });

  test("initialise() keeps the seal check over a restart", async (stage) => {
    {
      await using db = await stage.open();
      assertEquals(db.sealCheck, undefined);
      await db.initialise(new Uint8Array([0, 1, 255]), "id");
    }
    await using again = await stage.open();
    assertEquals(again.sealCheck, new Uint8Array([0, 1, 255]));
  });

  test("rows() gives back every kind of field", async (stage) => {
    const value = {
      text: "ä\u0000\u{1f600}\\'\"",
      number: -1.5,
      yes: true,
      texts: ["", "a"],
      bytes: new Uint8Array([0, 128, 255]),
      none: new Uint8Array(0),
    };
    await using db = await opened(stage);
    await db.commit([{ key: ["x", "ä\u{1f600}"], value }]);
    assertEquals(await rowsOf(db, ["x"]), [{ key: ["x", "ä\u{1f600}"], value }]);
  });

  test("rows() is in key order, below its prefix alone", async (stage) => {
    await using db = await opened(stage);
    const numbers = [-1e300, -2.5, -2, -1, -0.5, 0, Number.MIN_VALUE, 0.5, 1, 1.5, 2, 10, 2 ** 53, 1e300];
    const texts = ["", "A", "a", "a b", "aa", "b", "ä", "\u{ffff}", "\u{1f600}"];
    const keys = [
      ...numbers.map((number): Deno.KvKey => ["rule", "m", number]),
      ...texts.map((text): Deno.KvKey => ["client", text]),
      ["clients", "other"],
      ["rul"],
      ["rule", "l", 1],
      ["rule", "n", 1],
    ];
    await db.commit(keys.toReversed().map((key) => ({ key, value: {} })));
    assertEquals((await rowsOf(db, ["rule", "m"])).map(({ key }) => key[2]), numbers);
    assertEquals((await rowsOf(db, ["client"])).map(({ key }) => key[1]), texts);
    assertEquals((await rowsOf(db, ["rule"])).map(({ key }) => key[1]), [
      "l",
      ...numbers.map(() => "m"),
      "n",
    ]);
    assertEquals(await rowsOf(db, ["nothing"]), []);
  });

  test("commit() replaces and removes, and of one key the last change counts", async (stage) => {
    await using db = await opened(stage);
    await db.commit([{ key: ["x", 1], value: { a: 1 } }, { key: ["x", 2], value: { a: 2 } }]);
    await db.commit([{ key: ["x", 2], value: { a: 3 } }, { key: ["x", 9] }]);
    assertEquals((await rowsOf(db, ["x"])).map(({ value }) => value), [{ a: 1 }, { a: 3 }]);
    await db.commit([
      { key: ["x", 1] },
      { key: ["x", 2] },
      { key: ["x", 2], value: { a: 4 } },
      { key: ["x", 3], value: { a: 5 } },
      { key: ["x", 3] },
    ]);
    assertEquals(await rowsOf(db, ["x"]), [{ key: ["x", 2], value: { a: 4 } }]);
  });

  test("commit() takes as many rows as it says, and they are there after a restart", async (stage) => {
    const count = 1_000;
    {
      await using db = await opened(stage);
      const keys = Array.from({ length: count }, (_, i): Deno.KvKey => ["x", i]);
      await db.commit(keys.map((key) => ({ key, value: { pad: "p".repeat(100) }, expireInMs: 60_000 })));
    }
    await using db = await stage.open();
    assertEquals((await rowsOf(db, ["x"])).length, count);
    if (await db.sizeBytes() <= 0) throw new Error("a database with rows takes no bytes");
  });

  test("commit() keeps a row of the largest secret", async (stage) => {
    await using db = await opened(stage);
    const sealed = crypto.getRandomValues(new Uint8Array(49_152 + 4_096 * 2));
    await db.commit([{ key: ["secret", "s"], value: { sealed } }]);
    assertEquals(await rowsOf(db, ["secret"]), [{ key: ["secret", "s"], value: { sealed } }]);
  });
}

async function opened(stage: EngineStage): Promise<Engine & SealedEngine> {
  const db = await stage.open();
  await db.initialise(new Uint8Array(1), "id");
  return db;
}

function rowsOf(db: Engine, prefix: Deno.KvKey): Promise<Row[]> {
  return Array.fromAsync(db.rows(prefix));
}
