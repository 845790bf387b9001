import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { SlicerProxyError } from "../../../sdk/error.ts";
import { Stage } from "../../../sdk/stage.ts";
import type { AllowRule, NewAllowRule, RevokedRule } from "../../../sdk/types.ts";

/** Rules that are kept in a list, and calls that fail where a test says so. */
class FakeAllows {
  readonly calls: string[] = [];
  readonly fail = new Map<string, Error>();

  add(rule: NewAllowRule): Promise<AllowRule> {
    return this.#call(`add ${rule.host} ${rule.ttl_seconds}`, `add ${rule.host}`, { host: rule.host });
  }

  revoke(rule: RevokedRule): Promise<void> {
    assertEquals("ttl_seconds" in rule, false);
    return this.#call(
      `revoke ${rule.host} ${rule.methods ?? ""}`.trimEnd(),
      `revoke ${rule.host}`,
      undefined,
    );
  }

  #call<T>(words: string, key: string, value: T): Promise<T> {
    this.calls.push(words);
    const error = this.fail.get(key);
    return error ? Promise.reject(error) : Promise.resolve(value);
  }
}

const RULES = [{ host: "a.example", methods: ["GET"] }, { host: "b.example", ttl_seconds: 7 }, {
  host: "c.example",
}];

Deno.test("Stage adds its rules in order, and revokes exactly those, the last one first", async () => {
  const allows = new FakeAllows();
  {
    await using stage = await Stage.open(allows, { client: "ci", rules: RULES, ttl: "1h30m" });
    assertEquals(stage.rules.map(({ host }) => host), ["a.example", "b.example", "c.example"]);
    assertEquals(allows.calls.splice(0), ["add a.example 5400", "add b.example 7", "add c.example 5400"]);
  }
  assertEquals(allows.calls, ["revoke c.example", "revoke b.example", "revoke a.example GET"]);
});

Deno.test("Stage.end() counts a rule that is gone as done, tries all, and can be called again for the rest", async () => {
  const allows = new FakeAllows();
  const stage = await Stage.open(allows, { client: "ci", rules: RULES });
  assertEquals(allows.calls.splice(0)[0], "add a.example 3600");
  allows.fail.set("revoke c.example", new SlicerProxyError("Cannot revoke: gone", { status: 404 }));
  allows.fail.set("revoke b.example", new SlicerProxyError("Cannot reach"));
  await assertRejects(() => stage.end(), SlicerProxyError, "Cannot reach");
  assertEquals(allows.calls.splice(0), ["revoke c.example", "revoke b.example", "revoke a.example GET"]);
  allows.fail.clear();
  await stage.end();
  assertEquals(allows.calls.splice(0), ["revoke b.example"]);
  await stage.end();
  assertEquals(allows.calls, []);
});

Deno.test("Stage.open() leaves nothing behind when a rule cannot be added", async (t) => {
  const undone = ["revoke a.example GET"];
  const rows: readonly (readonly [string, Error, readonly string[]])[] = [
    ["refused, so not added", new SlicerProxyError("has it", { status: 409 }), undone],
    ["failed inside, perhaps added", new SlicerProxyError("inside", { status: 500 }), [
      "revoke b.example",
      ...undone,
    ]],
    ["no answer, perhaps added", new SlicerProxyError("late"), ["revoke b.example", ...undone]],
    ["aborted, perhaps added", new DOMException("stop", "AbortError"), ["revoke b.example", ...undone]],
  ];
  for (const [name, error, expected] of rows) {
    await t.step(name, async () => {
      const allows = new FakeAllows();
      allows.fail.set("add b.example", error);
      allows.fail.set("revoke b.example", new SlicerProxyError("gone", { status: 404 }));
      const opening = () => Stage.open(allows, { client: "ci", rules: RULES, ttl: "10m" });
      assertEquals(await assertRejects(opening), error);
      assertEquals(allows.calls, ["add a.example 600", "add b.example 7", ...expected]);
    });
  }
});

Deno.test("Stage.open() refuses a ttl that is no duration, before it adds anything", async (t) => {
  for (const ttl of ["", "0s", "10", "10m ", "-1m", "1.5h", "500ms", "1w"]) {
    await t.step(JSON.stringify(ttl), async () => {
      const allows = new FakeAllows();
      const opening = () => Stage.open(allows, { client: "ci", rules: RULES, ttl });
      assertMatch((await assertRejects(opening, SlicerProxyError)).message, /^Cannot read the ttl/);
      assertEquals(allows.calls, []);
    });
  }
});
