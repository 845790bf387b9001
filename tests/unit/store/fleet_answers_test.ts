/** What a server says that is there, and does not do what it is asked for. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { fleetTest, policyOf, until } from "./fleet_support.ts";
import { assertCode, rule } from "./support.ts";

fleetTest("a change that the server refuses is told as that, and the store is not away", async (stage) => {
  await using a = await stage.host("host-1");
  await using b = await stage.host("host-2");
  await a.createClient("ci-1");
  const before = policyOf(b);
  const refusals = [{
    break: "REVOKE INSERT ON slicer_proxy.changes FROM slicer_proxy",
    mend: "GRANT INSERT ON slicer_proxy.changes TO slicer_proxy",
    says: "permission denied for table changes",
    hint: "nothing was changed; docs/FLEET.md has the SQL that gives its role the rights",
  }, {
    break: "ALTER TABLE slicer_proxy.changes RENAME COLUMN mutations TO moved",
    mend: "ALTER TABLE slicer_proxy.changes RENAME COLUMN moved TO mutations",
    says: 'column "mutations" of relation "changes" does not exist',
    hint: "nothing was changed; the log of the server says more",
  }, {
    // Only when it is committed.
    break: `CREATE FUNCTION slicer_proxy.never() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no change today'; END $$;
      CREATE CONSTRAINT TRIGGER never AFTER INSERT ON slicer_proxy.changes DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION slicer_proxy.never()`,
    mend: "DROP FUNCTION slicer_proxy.never CASCADE",
    says: "no change today",
    hint: "nothing was changed; the log of the server says more",
  }];
  for (const { break: breaking, mend, says, hint } of refusals) {
    await stage.server.sql(breaking);
    const error = await assertCode(a.addRule("ci-1", rule("a.test")), "store.refused");
    assertStringIncludes(error.message, says);
    assertEquals(error.hint, hint);
    assertEquals([policyOf(a), policyOf(b)], [before, before]);
    assertEquals(a.fleet?.status.awaySince, undefined);
    await stage.server.sql(mend);
    await a.addRule("ci-1", rule("a.test")); // at once, on the connection that it has
    assertEquals(b.listRules("ci-1").map(({ host }) => host), ["a.test"]);
    await a.revokeHost("ci-1", "a.test");
  }
  assertEquals(stage.lines.filter((line) => line.includes("error")), []);
});

fleetTest(
  "a host whose signs of life the server refuses says why, and denies after the grace",
  async (stage) => {
    await using a = await stage.host("host-1", { graceMs: 2_000 });
    const client = await a.createClient("ci-1");
    const kept = await a.addRule("ci-1", rule("kept.test"));
    await stage.server.sql("REVOKE UPDATE ON slicer_proxy.hosts FROM slicer_proxy");
    await until("it is told", () => a.fleet?.status.awaySince !== undefined);
    const error = await assertCode(a.createClient("never"), "store.refused");
    assertStringIncludes(error.message, "permission denied for table hosts");
    assert(
      stage.lines.some((line) => /the store cannot be used, .*permission denied for table hosts/.test(line)),
    );
    await until("the grace is over", () => a.isLost());
    assertEquals(a.isLive({ client, rule: kept }), false);
    await stage.server.sql("GRANT UPDATE ON slicer_proxy.hosts TO slicer_proxy");
    await until("it is in force again", () => !a.isLost());
    assert(a.isLive({ client, rule: kept }));
    await a.createClient("after");
  },
);
