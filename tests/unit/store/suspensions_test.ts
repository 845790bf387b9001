import { assertEquals } from "@std/assert";
import { assertCode, HandClock, openState, rule, tempFolder } from "./support.ts";

Deno.test("suspend() ends what is live at once, outlives a restart, and resume() gives it back", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  const told: unknown[] = [];
  {
    await using state = await openState(folder.state, clock);
    const one = await state.createClient("one");
    const two = await state.createClient("two");
    const added = await state.addRule("one", rule("a.test"));
    state.onSuspension = (made) => told.push(made);
    assertEquals(state.isLive({ client: one, rule: added }), true);
    await state.suspend("one");
    await state.suspend("one"); // once more changes nothing
    assertEquals([state.isSuspended("one"), state.isSuspended("two")], [true, false]);
    assertEquals(state.isLive({ client: one, rule: added }), false);
    assertEquals(state.rulesFor(one, "a.test"), []);
    assertEquals(state.isLive({ client: two }), true);
    assertEquals(state.listRules("one").length, 1); // nothing is lost
    await assertCode(state.suspend("nobody"), "input.not-found");
    await assertCode(state.resume("nobody"), "input.not-found");
  }
  await using state = await openState(folder.state, clock);
  assertEquals(state.suspensions(), [{ client: "one", since: clock.nowMs }]);
  await state.suspend(undefined);
  assertEquals(state.isSuspended("two"), true);
  await state.createClient("three");
  assertEquals(state.isSuspended("three"), true);
  await state.resume(undefined);
  assertEquals([state.isSuspended("one"), state.isSuspended("two")], [true, false]);
  await state.resume("one");
  assertEquals(state.suspensions(), []);
  assertEquals(told, [{ client: "one", isSuspended: true }]);
});

Deno.test("a client that is made anew under an old name is not suspended", async () => {
  await using folder = await tempFolder();
  {
    await using state = await openState(folder.state);
    await state.createClient("one");
    await state.suspend("one");
    await state.deleteClient("one");
    await state.createClient("one");
    assertEquals(state.isSuspended("one"), false);
  }
  await using state = await openState(folder.state);
  assertEquals(state.suspensions(), []);
});

Deno.test("moveRule() puts a rule at another place, for ever, and keeps it live", async () => {
  await using folder = await tempFolder();
  const order = (state: Awaited<ReturnType<typeof openState>>) =>
    state.listRules("one").map(({ host }) => host.slice(0, 1)).join("");
  {
    await using state = await openState(folder.state);
    const one = await state.createClient("one");
    for (const letter of ["a", "b", "c", "d"]) await state.addRule("one", rule(`${letter}.test`));
    const moved = await state.moveRule("one", { from: 4, before: 2 });
    assertEquals(order(state), "adbc");
    assertEquals(state.isLive({ client: one, rule: moved }), true);
    await state.moveRule("one", { from: 1, before: 4 });
    assertEquals(order(state), "dbac");
    await state.moveRule("one", { from: 2 });
    assertEquals(order(state), "dacb");
    await state.moveRule("one", { from: 3, before: 1 });
    assertEquals(order(state), "cdab");
    await state.moveRule("one", { from: 2, before: 2 });
    await state.moveRule("one", { from: 2, before: 3 });
    assertEquals(order(state), "cdab");
    await assertCode(state.moveRule("one", { from: 5, before: 1 }), "input.not-found");
    await assertCode(state.moveRule("nobody", { from: 1, before: 1 }), "input.not-found");
  }
  await using state = await openState(folder.state);
  assertEquals(order(state), "cdab");
});
