import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import type { Answer, Link } from "../../../../store/postgres/link.ts";
import { checkLayout, LAYOUT, prepareSchema } from "../../../../store/postgres/schema.ts";
import { assertCode } from "../support.ts";

interface Tables {
  readonly hasSchema?: boolean;
  /** Of the tables; none are there when undefined. */
  readonly version?: number | undefined;
  readonly oldest?: number;
  /** What another program has made of them once the lock is had. */
  readonly onLock?: number;
  /** The statement that fails. */
  readonly failsAt?: RegExp;
}

/** A server with such tables, and what it was asked. */
function server({ hasSchema = true, version, oldest = 1, onLock, failsAt }: Tables) {
  const asked: string[] = [];
  let present = version;
  const query = (sql: string, parameters: readonly unknown[] = []): Promise<Answer[]> => {
    if (failsAt?.test(sql)) return Promise.reject(new Error(`no ${sql}`));
    asked.push([sql, ...parameters].join(" ").replace(/\s+/g, " "));
    if (sql.includes("pg_advisory_xact_lock")) present = onLock ?? present;
    if (sql.includes("AS made")) return Promise.resolve([{ there: hasSchema, made: present !== undefined }]);
    if (sql.startsWith("SELECT version")) return Promise.resolve([{ version: present, oldest }]);
    return Promise.resolve([]);
  };
  return { asked, link: { query } as unknown as Link };
}

/** What changes something, each by its beginning. */
function madeBy(asked: readonly string[]): string[] {
  return asked.filter((sql) => !sql.startsWith("SELECT")).map((sql) => sql.split(" (")[0] ?? "");
}

const FIRST = [
  "CREATE TABLE slicer_proxy.layout",
  "INSERT INTO slicer_proxy.layout",
  "CREATE TABLE slicer_proxy.fleets",
  "CREATE TABLE slicer_proxy.rows",
  "CREATE INDEX rows_expiry ON slicer_proxy.rows",
  "CREATE TABLE slicer_proxy.changes",
  "CREATE TABLE slicer_proxy.hosts",
];
const SECOND = ["CREATE TABLE slicer_proxy.log_ways", "UPDATE slicer_proxy.layout SET version = 2"];
const THIRD = [
  "ALTER TABLE slicer_proxy.fleets ADD COLUMN IF NOT EXISTS next_seal_check bytea, " +
  "ADD COLUMN IF NOT EXISTS next_seal_key_id text, ADD COLUMN IF NOT EXISTS former_seal_key_id text, " +
  "ADD COLUMN IF NOT EXISTS switched_at bigint",
  "ALTER TABLE slicer_proxy.hosts ADD COLUMN IF NOT EXISTS next_key text NOT NULL DEFAULT ''",
  "CREATE TABLE IF NOT EXISTS slicer_proxy.resealed",
  "UPDATE slicer_proxy.layout SET version = 3",
];

Deno.test("prepareSchema() makes what is missing, in one transaction, and once for all programs", async (t) => {
  const all = [...FIRST, ...SECOND, ...THIRD];
  const rows: readonly (readonly [string, Tables, readonly string[] | undefined])[] = [
    ["nothing is there", {}, all],
    ["the first layout", { version: 1 }, [...SECOND, ...THIRD]],
    ["the second", { version: 2 }, THIRD],
    ["another program was faster", { onLock: 3 }, []],
    ["another, older one was", { onLock: 2 }, THIRD],
    ["it is there", { version: 3 }, undefined],
    ["a newer one that this program may use", { version: 9, oldest: 3 }, undefined],
  ];
  for (const [name, tables, made] of rows) {
    await t.step(name, async () => {
      const { link, asked } = server(tables);
      await prepareSchema(link);
      assertEquals(madeBy(asked), made ? ["BEGIN", ...made, "COMMIT"] : []);
      const lock = asked.findIndex((sql) => sql === "SELECT pg_advisory_xact_lock($1::bigint) 7305431209");
      assertEquals(lock, made ? asked.indexOf("BEGIN") + 1 : -1);
    });
  }
});

Deno.test("prepareSchema() makes nothing where there is no schema, or where a newer program has been", async (t) => {
  await t.step("no schema", async () => {
    const { link, asked } = server({ hasSchema: false });
    const error = await assertCode(prepareSchema(link), "store.refused");
    assertStringIncludes(error.message, "its database has no schema slicer_proxy");
    assertStringIncludes(error.hint ?? "", "docs/FLEET.md");
    assertEquals(asked.length, 1);
  });
  for (const tables of [{ version: 4, oldest: 4 }, { onLock: 4, oldest: 4 }]) {
    await t.step(tables.version ? "a newer layout" : "a newer program was faster", async () => {
      const { link, asked } = server(tables);
      await assertCode(prepareSchema(link), "state.newer");
      assertEquals(madeBy(asked), tables.version ? [] : ["BEGIN", "ROLLBACK"]);
    });
  }
});

Deno.test("prepareSchema() takes back what it has begun, and tells what went wrong first", async () => {
  for (const failsAt of [/log_ways/, /COMMIT/, /advisory/, /log_ways|ROLLBACK/]) {
    const { link, asked } = server({ failsAt });
    const error = await assertRejects(() => prepareSchema(link), Error);
    assertEquals(error.message.includes("ROLLBACK"), false);
    assertEquals(asked.at(-1) === "ROLLBACK", !failsAt.test("ROLLBACK"));
  }
});

Deno.test("checkLayout() takes all layouts up to this program's", () => {
  assertEquals(LAYOUT, 3);
  for (const oldest of [0, 1, 3]) checkLayout(oldest);
  const error = assertThrows(() => checkLayout(4), ProxyError);
  assertEquals(error.code, "state.newer");
  assertStringIncludes(error.message, "it needs layout 4, this one knows 3");
});
