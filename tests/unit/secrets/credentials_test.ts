import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { systemClock } from "../../../core/clock.ts";
import { ProxyError } from "../../../core/errors.ts";
import { Credentials, type SecretSource } from "../../../secrets/credentials.ts";
import type { SecretInput } from "../../../store/records.ts";
import { State } from "../../../store/state.ts";

const INPUT: SecretInput = {
  name: "key",
  host: "*.example.com",
  type: "bearer",
  value: "sk-1",
  cleartext: true,
};

function over(source: SecretSource): Credentials {
  return new Credentials({
    source,
    call: () => Promise.reject(new Error("no call was expected")),
    clock: systemClock(),
    log: { warn: () => {}, error: () => {} },
    reportBug: (error) => {
      throw error;
    },
  });
}

Deno.test("credential() prepares a secret once per version and follows every change", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await using state = await State.open({ dir, clock: systemClock() });
    await using credentials = over(state);
    assertEquals(credentials.credential("key"), undefined);
    assertEquals(credentials.secretInfo("key"), undefined);
    const { version } = await state.putSecret(INPUT, { force: false });
    const first = credentials.credential("key");
    assertEquals(first, {
      secret: "key",
      version,
      host: "*.example.com",
      cleartext: true,
      headers: [["Authorization", "Bearer sk-1"]],
      material: ["sk-1"],
    });
    assertStrictEquals(credentials.credential("key"), first);
    const info = credentials.secretInfo("key");
    assertEquals([info?.host, info?.type, info?.version, info?.cleartext], [
      "*.example.com",
      "bearer",
      version,
      true,
    ]);
    await state.putSecret({ ...INPUT, type: "header", value: "x-key: 2", cleartext: false }, { force: true });
    const second = credentials.credential("key");
    if (!second || second instanceof Promise) throw new Error("not at hand");
    assertEquals(second.headers, [["x-key", "2"]]);
    assertEquals(second.cleartext, false);
    assertEquals(second.version === version, false);
    assertEquals(await credentials.rejected(second, { status: 401 }), undefined);
    await state.deleteSecret("key");
    assertEquals(credentials.credential("key"), undefined);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("credential() says which secret cannot be used, without its value", async (t) => {
  for (const type of ["later-kind", "oauth-claude"]) {
    await t.step(type, () => {
      const record = { name: "key", host: "a.test", type, version: "1", cleartext: false, createdAt: 0 };
      const credentials = over({
        secretValue: () => ({ record, value: "sk-planted" }),
        listSecrets: () => [record],
        updateSecret: () => Promise.resolve(undefined),
        onChange: () => () => {},
      });
      const error = assertThrows(() => credentials.credential("key"), ProxyError, "key");
      assertEquals(error.code, "credential.unavailable");
      assertEquals(error.message.includes("sk-planted"), false);
      assertEquals(credentials.isTokenEndpoint({ host: "a.test", path: "/" }), false);
    });
  }
});
