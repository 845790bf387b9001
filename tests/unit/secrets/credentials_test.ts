import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { systemClock } from "../../../core/clock.ts";
import { ProxyError } from "../../../core/errors.ts";
import { Credentials } from "../../../secrets/credentials.ts";
import type { SecretInput } from "../../../store/records.ts";
import { State } from "../../../store/state.ts";

const INPUT: SecretInput = {
  name: "key",
  host: "*.example.com",
  type: "bearer",
  value: "sk-1",
  cleartext: true,
};

Deno.test("credential() prepares a secret once per version and follows every change", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await using state = await State.open({ dir, clock: systemClock() });
    const credentials = new Credentials(state);
    assertEquals(credentials.credential("key"), undefined);
    const { version } = await state.putSecret(INPUT, { force: false });
    const first = credentials.credential("key");
    assertEquals(first, {
      secret: "key",
      version,
      host: "*.example.com",
      cleartext: true,
      headers: [["Authorization", "Bearer sk-1"]],
    });
    assertStrictEquals(credentials.credential("key"), first);
    await state.putSecret({ ...INPUT, type: "header", value: "x-key: 2", cleartext: false }, { force: true });
    const second = credentials.credential("key");
    assertEquals(second?.headers, [["x-key", "2"]]);
    assertEquals(second?.cleartext, false);
    assertEquals(second?.version === version, false);
    await state.deleteSecret("key");
    assertEquals(credentials.credential("key"), undefined);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("credential() says which secret cannot be used, without its value", () => {
  const record = {
    name: "key",
    host: "a.test",
    type: "later-kind",
    version: "1",
    cleartext: false,
    createdAt: 0,
  };
  const credentials = new Credentials({ secretValue: () => ({ record, value: "sk-planted" }) });
  const error = assertThrows(() => credentials.credential("key"), ProxyError, "key");
  assertEquals(error.code, "credential.unavailable");
  assertEquals(error.message.includes("sk-planted"), false);
});
