/** What is asked of a server, in which order, and what is made of its answers; whether SQL is right: `../engine_postgres_test.ts`. */
import { Buffer } from "node:buffer";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import postgres from "postgres";
import { parseStoreAddress } from "../../../../store/postgres/address.ts";
import {
  base64,
  CHANNEL,
  type DatabaseOptions,
  PostgresDatabase,
} from "../../../../store/postgres/database.ts";
import { type Answer, Link } from "../../../../store/postgres/link.ts";
import { encodeBatch } from "../../../../store/postgres/row_batch.ts";
import { encodeKey } from "../../../../store/postgres/row_key.ts";
import { encodeRow } from "../../../../store/row_codec.ts";
import { assertCode } from "../support.ts";

interface Asked {
  readonly sql: string;
  readonly parameters: readonly unknown[];
  readonly timeoutMs: number | undefined;
}

/** What a question that begins or is marked like that is answered with. */
type Answers = Map<string, readonly Answer[] | Error>;

const NOW_MS = 1_800_000_000_000;

function said(code: string): Error {
  return Object.assign(new postgres.PostgresError("said so"), { code, message: "said so" });
}

/** A database whose server answers as a test says: with nothing where it says nothing. */
async function stage({ timeoutMs = 20_000, serverMs = NOW_MS, answers = new Map() as Answers } = {}) {
  const asked: Asked[] = [];
  let destroyed = 0;
  let closed = 0;
  const given: Answers = new Map<string, readonly Answer[] | Error>([
    ["to_regnamespace", [{ there: true, made: true }]],
    ["SELECT version, oldest", [{ version: 3, oldest: 3 }]],
    ["pg_postmaster_start_time", [{ now_ms: serverMs, run: "run 1" }]],
  ]);
  const query = (text: string, parameters: readonly unknown[] = [], timeoutMs?: number) => {
    const sql = text.replace(/\s+/g, " ");
    asked.push({ sql, parameters, timeoutMs });
    for (const each of [answers, given]) {
      for (const [mark, answer] of each) {
        if (!sql.includes(mark)) continue;
        return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
      }
    }
    return Promise.resolve([]);
  };
  const link = {
    query,
    queryInParts: async (
      text: string,
      parameters: readonly unknown[],
      { take, timeoutMs }: { take: (rows: readonly Answer[]) => void; timeoutMs: number },
    ) => {
      for (const row of await query(text, parameters, timeoutMs)) take([row]);
    },
    destroy: () => void destroyed++,
    [Symbol.asyncDispose]: () => Promise.resolve(void closed++),
  };
  const options: DatabaseOptions = {
    address: parseStoreAddress("postgres://u@db.test:5432/d"),
    password: () => Promise.resolve(""),
    ...{ caPem: undefined, timeoutMs, name: "n", fleet: "mine", host: "host-1", now: () => NOW_MS },
  };
  const { open } = Link;
  Link.open = () => Promise.resolve(link as unknown as Link);
  try {
    const opened = PostgresDatabase.open(options);
    const db = await opened.catch((error: unknown) => error);
    return {
      ...{ asked, answers, ends: () => ({ destroyed, closed }) },
      error: db instanceof PostgresDatabase ? undefined : db,
      db: db as PostgresDatabase,
      /** The beginnings of what was asked since, each with its parameters behind the fleet. */
      verbs: () => asked.splice(0).map(({ sql }) => sql.trim().split(" ").slice(0, 3).join(" ")),
    };
  } finally {
    Link.open = open;
  }
}

const AT = [{ sequence: 7, last_change: "id-7" }];
const CLIENT = [{ key: ["client", "a"], value: { name: "a" } }];

Deno.test("PostgresDatabase.open() bounds how long the server waits for it, and finds the fleet", async () => {
  const rows = [[20_000, 10_000], [1_001, 501], [1_000, 500], [999, 500], [100, 500]] as const;
  for (const [timeoutMs, idleMs] of rows) {
    const { asked, db } = await stage({ timeoutMs });
    assertEquals(asked.slice(0, 2).map(({ sql }) => sql), [
      `SET idle_in_transaction_session_timeout = ${idleMs}`,
      "SET statement_timeout = 60000",
    ]);
    assertEquals(asked.at(-1)?.parameters, ["mine"]);
    assertEquals([db.fleet, db.sealCheck, db.sealKeyId, db.serverRun], [
      "mine",
      undefined,
      undefined,
      "run 1",
    ]);
    assertEquals(db.commitBounds, { rows: Infinity, chars: Infinity });
  }
  const fleet = [{ seal_check: Buffer.from([1, 2]), seal_key_id: "key" }];
  const { db } = await stage({ answers: new Map([["seal_check", fleet]]) });
  assertEquals([db.sealCheck, db.sealKeyId], [Uint8Array.of(1, 2), "key"] as unknown[]);
});

Deno.test("PostgresDatabase.open() takes a difference of clocks of a second or more, in whole seconds", async () => {
  for (
    const [difference, aheadMs] of [
      ...[[0, 0], [499, 0], [-499, 0], [500, 1_000], [1_499, 1_000], [61_000, 61_000], [-2_600, -3_000]],
    ] as const
  ) {
    const { db } = await stage({ serverMs: NOW_MS + (difference ?? 0) });
    assert(Object.is(db.aheadMs, aheadMs), `${difference}: ${db.aheadMs}`);
  }
});

Deno.test("PostgresDatabase.open() leaves no connection when it fails, and says why", async () => {
  for (
    const [mark, answer, code] of [
      ["SET statement_timeout", new Error("it broke"), "store.away"],
      ["seal_check", said("42501"), "store.refused"],
      ["seal_check", [{ seal_check: "text", seal_key_id: "" }], "state.damaged"],
      ["to_regnamespace", [{ there: false, made: false }], "store.refused"],
    ] as const
  ) {
    const { error, ends } = await stage({ answers: new Map([[mark, answer]]) });
    await assertCode(Promise.reject(error), code);
    assertEquals(ends(), { destroyed: 1, closed: 0 });
  }
});

Deno.test("PostgresDatabase makes a fleet once: of two hosts the faster one's key is it, and rows go with it or not at all", async () => {
  const { db, answers, asked, verbs } = await stage();
  answers.set("SELECT seal_check", [{ seal_check: Uint8Array.of(9), seal_key_id: "theirs" }]);
  verbs();
  await db.initialise(Uint8Array.of(1), "ours");
  assertEquals(asked[0]?.parameters, ["mine", "AQ==", "ours"]);
  assertStringIncludes(asked[0]?.sql ?? "", "ON CONFLICT DO NOTHING");
  assertEquals([db.sealCheck, db.sealKeyId], [Uint8Array.of(9), "theirs"] as unknown[]);
  assertEquals(verbs().length, 2);
  await db.fill(Uint8Array.of(1), "ours", CLIENT);
  assertEquals(asked[0]?.parameters, ["mine", encodeBatch(CLIENT, 0), "AQ==", "ours"]);
  assertEquals(asked.length, 2);
  for (const [code, expected] of [["23505", "input.conflict"], ["42501", "store.refused"]] as const) {
    answers.set("INSERT INTO slicer_proxy.fleets", said(code));
    const error = await assertCode(db.fill(Uint8Array.of(1), "ours", CLIENT), expected);
    if (code === "23505") assertEquals(error.message, "Cannot make the fleet mine: there is one already");
  }
});

Deno.test("PostgresDatabase.inTurn() writes a change, announces it and commits, under the fleet's lock", async () => {
  const { db, answers, asked, verbs } = await stage();
  answers.set("FOR UPDATE", AT);
  verbs();
  const made = await db.inTurn(({ position, commit }) => {
    assertEquals(position, { sequence: 7, changeId: "id-7" });
    return commit(CLIENT);
  });
  assertEquals(made.sequence, 8);
  const [, , change, notice] = asked;
  assertEquals(change?.parameters, ["mine", encodeBatch(CLIENT, 0), "8", made.changeId, "host-1"]);
  assertStringIncludes(change?.sql ?? "", "sequence <= $3::bigint - 10000");
  assertEquals([notice?.parameters, CHANNEL], [["slicer_proxy", "mine"], "slicer_proxy"] as unknown[]);
  assertEquals(verbs(), [
    "BEGIN",
    "SELECT sequence::float8 AS",
    "WITH batch AS",
    "SELECT pg_notify($1, $2)",
    "COMMIT",
  ]);
  await db.commit(CLIENT);
  assertEquals(verbs().at(-1), "COMMIT");
  await db.inTurn(({ end }) => end());
  assertEquals(verbs(), ["BEGIN", "SELECT sequence::float8 AS", "COMMIT"]);
});

Deno.test("PostgresDatabase.inTurn() takes back what was not committed, and commits once", async (t) => {
  await t.step("nothing was", async () => {
    const { db, answers, asked, verbs } = await stage();
    answers.set("FOR UPDATE", AT);
    verbs();
    assertEquals(await db.inTurn(() => Promise.resolve(5)), 5);
    const locked = asked.filter(({ sql }) => sql.includes("FOR UPDATE"));
    assertEquals(locked.map(({ parameters }) => parameters), [["mine"]], "its own fleet and no other");
    assertEquals(verbs().at(-1), "ROLLBACK");
    await assertRejects(() => db.inTurn(() => Promise.reject(new Error("no"))), Error, "no");
    assertEquals(verbs().at(-1), "ROLLBACK");
  });
  await t.step("the fleet is gone", async () => {
    const { db, verbs } = await stage();
    const error = await assertCode(db.inTurn(() => Promise.resolve()), "store.refused");
    assertStringIncludes(error.message, "the fleet is gone from it");
    assertStringIncludes(error.hint ?? "", "restore the database from a backup");
    assertEquals(verbs().at(-1), "ROLLBACK");
  });
  await t.step("twice", async () => {
    for (
      const [first, second] of [["commit", "commit"], ["commit", "end"], ["end", "commit"], [
        "end",
        "end",
      ]] as const
    ) {
      const { db, answers, verbs } = await stage();
      answers.set("FOR UPDATE", AT);
      const twice = db.inTurn(async (turn) => {
        for (const each of [first, second]) await (each === "commit" ? turn.commit(CLIENT) : turn.end());
      });
      await assertRejects(() => twice, TypeError, "twice");
      assertEquals(verbs().filter((verb) => verb === "COMMIT" || verb === "ROLLBACK"), ["COMMIT"]);
    }
  });
  await t.step("what cannot be taken back costs the connection", async () => {
    const { db, answers, ends } = await stage();
    answers.set("FOR UPDATE", AT);
    answers.set("ROLLBACK", new Error("cut"));
    await db.inTurn(() => Promise.resolve());
    assertEquals(ends().destroyed, 1);
  });
  await t.step("a change that is refused was not made", async () => {
    const { db, answers, verbs } = await stage();
    answers.set("FOR UPDATE", AT);
    answers.set("WITH batch AS", said("53100"));
    const error = await assertCode(db.commit(CLIENT), "store.refused");
    assertStringIncludes(error.hint ?? "", "nothing was changed; make room");
    assertEquals(verbs().at(-1), "ROLLBACK");
  });
});

Deno.test("PostgresDatabase.inTurn() says of a commit whether it is known what became of it", async () => {
  const { db, answers, ends } = await stage();
  answers.set("FOR UPDATE", AT);
  answers.set("COMMIT", said("23514"));
  const refused = await assertCode(db.commit(CLIENT), "store.refused");
  assertStringIncludes(refused.hint ?? "", "nothing was changed");
  assertEquals(ends().destroyed, 0);
  answers.set("COMMIT", new Error("cut"));
  const away = await assertCode(db.commit(CLIENT), "store.away");
  assertEquals([away.message, away.hint], [
    "Cannot say whether the change was made: the store stopped answering",
    "look whether it is there before you make it again",
  ]);
  assertEquals(ends().destroyed, 1);
});

Deno.test("PostgresDatabase counts the bytes of kept changes at every 64th, and at each of a mebibyte", async () => {
  const { db, answers, asked } = await stage();
  const countedAt = async (sequence: number) => {
    answers.set("FOR UPDATE", [{ sequence: sequence - 1, last_change: null }]);
    asked.splice(0);
    await db.commit(CLIENT);
    const count = asked.find(({ sql }) => sql.startsWith("DELETE FROM slicer_proxy.changes"));
    if (count) assertStringIncludes(count.sql, "bytes > 67108864");
    return count?.parameters;
  };
  assertEquals([await countedAt(63), await countedAt(64), await countedAt(65), await countedAt(128)], [
    ...[undefined, ["mine", "64"], undefined, ["mine", "128"]],
  ]);
  // In base64 three characters are four: what is left is made up by the digits of an end.
  const batchOf = (chars: number) => {
    for (const expireInMs of [1, 10, 100, 1_000]) {
      const of = (length: number) => [{ key: ["x"], value: { text: "x".repeat(length) }, expireInMs }];
      let length = Math.floor((chars - encodeBatch(of(0), 0).length) / 4) * 3;
      while (encodeBatch(of(length), 0).length < chars) length++;
      if (encodeBatch(of(length), 0).length === chars) return of(length);
    }
    throw new TypeError("no batch has that length");
  };
  for (const [chars, counted] of [[1_048_575, false], [1_048_576, true]] as const) {
    answers.set("FOR UPDATE", [{ sequence: 0, last_change: null }]);
    asked.splice(0);
    await db.commit(batchOf(chars));
    assertEquals(asked.some(({ sql }) => sql.startsWith("DELETE FROM slicer_proxy.changes")), counted);
  }
});

Deno.test("PostgresDatabase reads rows, changes and where a fleet stands", async (t) => {
  const { db, answers, asked } = await stage({ serverMs: NOW_MS + 5_000 });
  const ask = async <T>(mark: string, answer: readonly Answer[], read: () => Promise<T>) => {
    asked.splice(0);
    answers.clear();
    answers.set(mark, answer);
    const got = await read();
    for (const { sql, parameters } of asked) if (sql.includes("$1")) assertEquals(parameters[0], "mine");
    return got;
  };
  const row = {
    key: base64(encodeKey(["client", "a"])),
    value: base64(encodeRow({ name: "a", expiresAt: 6_000 })),
  };
  const read = { key: ["client", "a"], value: { name: "a", expiresAt: 1_000 } }; // by this host's clock
  await t.step("rows", async () => {
    assertEquals(await ask("ORDER BY r.key", [row], () => Array.fromAsync(db.rows(["client"]))), [read]);
    assertEquals(asked[0]?.parameters, ["mine", "AmNsaWVudAA=", "AmNsaWVudAD/"]);
  });
  await t.step("how many", async () => {
    assertEquals(await ask("count(*)", [{ rows: 3 }], () => db.count(["client"])), 3);
    assertEquals(asked[0]?.parameters, ["mine", "AmNsaWVudAA=", "AmNsaWVudAD/"]);
  });
  await t.step("all, in parts", async () => {
    const first = { sequence: 7, last_change: "id-7", seal_check: Uint8Array.of(1), seal_key_id: "key" };
    const all = await ask(
      "LEFT JOIN",
      [{ ...first, ...row }, { ...first, sequence: 9, ...row }],
      () => db.readAll(),
    );
    assertEquals(all, {
      rows: [read, read],
      position: { sequence: 7, changeId: "id-7" },
      seal: { sealCheck: Uint8Array.of(1), sealKeyId: "key" },
    });
    assertEquals(asked[0]?.timeoutMs, 60_000);
    const none = await ask("LEFT JOIN", [{ ...first, key: null, value: null }], () => db.readAll());
    assertEquals(none.rows, []);
    await assertCode(ask("LEFT JOIN", [], () => db.readAll()), "store.refused");
    answers.set("LEFT JOIN", new Error("cut"));
    await assertCode(db.readAll(), "store.away");
  });
  await t.step("its position and keys", async () => {
    const found = {
      ...{ sequence: 7, last_change: null, oldest: 3, seal_key_id: "key" },
      ...{ next_seal_key_id: null, former_seal_key_id: null, switched_at: null },
    };
    const seal = { keyId: "key", nextKeyId: undefined, formerKeyId: undefined, switchedAt: undefined };
    const position = (more: Answer) => ask("next_seal_key_id", [{ ...found, ...more }], () => db.position());
    assertEquals(await position({}), { sequence: 7, changeId: undefined, seal });
    assertEquals((await position({ next_seal_key_id: "n", former_seal_key_id: "f", switched_at: 0 })).seal, {
      ...{ keyId: "key", nextKeyId: "n", formerKeyId: "f", switchedAt: 0 },
    });
    await assertCode(position({ oldest: 4 }), "state.newer");
    await assertCode(ask("next_seal_key_id", [], () => db.position()), "store.refused");
  });
  await t.step("the proof of its key", async () => {
    const found = [{ seal_check: Uint8Array.of(2), seal_key_id: "key" }];
    assertEquals(await ask("seal_check", found, () => db.seal()), {
      sealCheck: Uint8Array.of(2),
      sealKeyId: "key",
    });
    const { hint } = await assertCode(ask("seal_check", [], () => db.seal()), "state.damaged");
    assertEquals(hint, "restore the database from a backup");
  });
  await t.step("the id of a change", async () => {
    assertEquals(await ask("SELECT id", [{ id: "id-4" }], () => db.changeIdAt(4)), "id-4");
    assertEquals(asked[0]?.parameters, ["mine", "4"]);
    assertEquals(await ask("SELECT id", [], () => db.changeIdAt(4)), undefined);
  });
  await t.step("changes", async () => {
    const mutations = encodeBatch(CLIENT, 0);
    const found = [{ sequence: 5, last_change: "id-5", mutations }];
    assertEquals(await ask("bytes_before", found, () => db.changesAfter(4)), [
      { sequence: 5, changeId: "id-5", mutations: CLIENT },
    ]);
    assertEquals(asked[0]?.parameters, ["mine", "4"]);
    assertStringIncludes(asked[0]?.sql ?? "", "LIMIT 200) AS next");
    assertStringIncludes(asked[0]?.sql ?? "", "bytes_before < 8388608 ");
  });
  await t.step("its time, in whole milliseconds, and its size", async () => {
    assertEquals(await ask("clock_timestamp", [{ now_ms: 1_234.9 }], () => db.time()), 1_234);
    assertEquals(await ask("pg_total_relation_size", [{ bytes: 8_192 }], () => db.sizeBytes()), 8_192);
  });
});

Deno.test("PostgresDatabase asks what it is given, says what did not happen, and ends with its connection", async () => {
  const { db, answers, asked, ends } = await stage();
  asked.splice(0);
  await db.query("SELECT 1", ["a", 2, null], 5);
  await db.query("SELECT 2");
  await db.commitQuietly(CLIENT);
  await db.sweep();
  assertEquals(asked.map(({ parameters, timeoutMs }) => [parameters, timeoutMs]), [
    [["a", 2, null], 5],
    [[], undefined],
    [["mine", encodeBatch(CLIENT, 0)], undefined],
    [["mine"], undefined],
  ]);
  answers.set("SELECT 1", new Error("cut"));
  const error = await assertCode(db.query("SELECT 1"), "store.away");
  assertEquals(error.hint, "nothing was changed; do it again when the store answers");
  await db[Symbol.asyncDispose]();
  assertEquals(ends(), { destroyed: 0, closed: 1 });
});
