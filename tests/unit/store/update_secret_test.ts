import { assertEquals } from "@std/assert";
import { MAX_SECRET_VALUE_BYTES } from "../../../store/limits.ts";
import { assertCode, HandClock, openState, rule, secret, tempFolder } from "./support.ts";

Deno.test("updateSecret() changes one version in place, across a restart", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  const input = secret("key", { sourceFile: "/f", sourceUid: 7, isAdopted: true });
  let expected;
  {
    await using state = await openState(folder.state, clock);
    const client = await state.createClient("ci-1");
    const old = await state.putSecret(input, { force: false });
    assertEquals([old.adoptedAt, old.sourceUid], [clock.nowMs, 7]);
    const added = await state.addRule("ci-1", rule("api.example.com", { secret: "key" }));
    const ifVersion = old.version;
    const marked = await state.updateSecret("key", { ifVersion, refreshingSince: 5, error: "a reason" });
    assertEquals(marked, { ...old, refreshingSince: 5, error: "a reason" });
    assertEquals(state.secretValue("key")?.value, "sk-planted");
    await state.updateSecret("key", { ifVersion, value: "sk-new", refreshedAt: 6, refreshingSince: null });
    expected = { record: { ...old, error: "a reason", refreshedAt: 6 }, value: "sk-new" };
    assertEquals(state.secretValue("key"), expected);
    assertEquals(
      state.isLive({ client, rule: added, credential: { secret: "key", version: ifVersion } }),
      true,
    );
  }
  await using again = await openState(folder.state, clock);
  assertEquals(again.secretValue("key"), expected);
  assertEquals(again.listSecrets()[0]?.error, "a reason");
});

Deno.test("updateSecret() leaves another version alone, and does not bring back a deleted secret", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const { version: ifVersion } = await state.putSecret(secret("key"), { force: false });
  await state.putSecret(secret("key", { value: "sk-forced" }), { force: true });
  const late = await state.updateSecret("key", { ifVersion, value: "sk-late" });
  assertEquals([late, state.secretValue("key")?.value], [undefined, "sk-forced"]);
  const forced = state.getSecret("key")?.version ?? "";
  // Asked for at once: the deletion comes first.
  const deletion = state.deleteSecret("key");
  const update = state.updateSecret("key", { ifVersion: forced, value: "sk-late" });
  await deletion;
  assertEquals([await update, state.listSecrets()], [undefined, []]);
});

Deno.test("updateSecret() refuses what cannot be stored, and nothing has changed then", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const { version: ifVersion } = await state.putSecret(secret("key"), { force: false });
  await state.updateSecret("key", { ifVersion, value: "x".repeat(MAX_SECRET_VALUE_BYTES) });
  const tooLong = "x".repeat(MAX_SECRET_VALUE_BYTES + 1);
  await assertCode(state.updateSecret("key", { ifVersion, value: tooLong }), "input.invalid");
  assertEquals(state.secretValue("key")?.value.length, MAX_SECRET_VALUE_BYTES);
});
