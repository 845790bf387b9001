import { assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { deriveKeys, seal, unseal } from "../../../store/seal.ts";

const PLAIN = new TextEncoder().encode("sk-planted");

function sealKey(fill: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(32).fill(fill);
}

Deno.test("deriveKeys() derives the same two unlike keys each time and wipes the seal key", async () => {
  const master = sealKey(7);
  const a = await deriveKeys(master);
  const b = await deriveKeys(sealKey(7));
  const other = await deriveKeys(sealKey(8));
  assertEquals(master, sealKey(0));
  assertEquals(a.token, b.token);
  assertNotEquals(a.token, other.token);
  assertEquals(a.sealing.extractable, false);
  // Were the two keys one, an envelope sealed with the token key would open.
  const tokenAsSealing = await crypto.subtle.importKey("raw", a.token, "AES-GCM", false, ["encrypt"]);
  assertEquals(await unseal(a.sealing, [], await seal(tokenAsSealing, [], PLAIN)), undefined);
  assertEquals(await unseal(b.sealing, [], await seal(a.sealing, [], PLAIN)), PLAIN);
});

Deno.test("unseal() opens only what is whole, under its own key and binding", async (t) => {
  const { sealing } = await deriveKeys(sealKey(1));
  const { sealing: otherKey } = await deriveKeys(sealKey(2));
  const envelope = await seal(sealing, ["secret", "a", "b"], PLAIN);
  assertEquals(await unseal(sealing, ["secret", "a", "b"], envelope), PLAIN);
  assertEquals(await unseal(otherKey, ["secret", "a", "b"], envelope), undefined);
  for (
    const binding of [["secret", "a", "c"], ["secret", "ab", ""], ["secret", "a"], ["secret", "a,b"], []]
  ) {
    await t.step(`bound to ${JSON.stringify(binding)}`, async () => {
      assertEquals(await unseal(sealing, binding, envelope), undefined);
    });
  }
  await t.step("any byte changed", async () => {
    for (let at = 0; at < envelope.length; at++) {
      const changed = envelope.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      assertEquals(await unseal(sealing, ["secret", "a", "b"], changed), undefined, `byte ${at}`);
    }
  });
  await t.step("any length cut", async () => {
    for (let length = 0; length < envelope.length; length++) {
      assertEquals(
        await unseal(sealing, ["secret", "a", "b"], envelope.slice(0, length)),
        undefined,
        `${length}`,
      );
    }
  });
});

Deno.test("seal() never seals the same text alike", async () => {
  const { sealing } = await deriveKeys(sealKey(1));
  const all = new Set<string>();
  for (let i = 0; i < 100; i++) all.add((await seal(sealing, [], PLAIN)).slice(1, 13).join());
  assertEquals(all.size, 100);
});

Deno.test("unseal() opens what was sealed of nothing", async () => {
  const { sealing } = await deriveKeys(new Uint8Array(32).fill(1));
  const envelope = await seal(sealing, ["a"], new Uint8Array());
  assertEquals(
    [envelope.length, await unseal(sealing, ["a"], envelope)],
    [29, new Uint8Array()] as unknown[],
  );
  assertEquals(await unseal(sealing, ["a"], envelope.slice(0, -1)), undefined);
});

Deno.test("keys and envelopes are those of every version: a state outlives an update of the program", async () => {
  const keys = await deriveKeys(sealKey(7));
  assertEquals(
    [keys.id, Buffer.from(keys.token).toString("hex"), Buffer.from(keys.peers).toString("hex")],
    [
      "f55b0235041e27cc",
      "2e315022a01fef2f4e377e53a6e1f88ed8e766876d7bc2c7ff8f5a44b79487df",
      "a6067eaf947d72a02a767e4424b5fbf4a396efc5d774385e1022957a5758bcc3",
    ],
  );
  const sealed = "0140b6c292e8d99c2ad95b955b0d87cf08a522284342fe5f8983f7bb1517ead8833dabb3839644";
  const envelope = Uint8Array.from(Buffer.from(sealed, "hex"));
  assertEquals(await unseal(keys.sealing, ["secret", "a"], envelope), PLAIN);
  assertEquals(
    await unseal(keys.sealing, ["secret", "a"], Uint8Array.of(2, ...envelope.slice(1))),
    undefined,
  );
  assertEquals((await seal(keys.sealing, [], PLAIN))[0], 1);
});

Deno.test("unseal() takes no failure of the machine for damage", async () => {
  const { sealing } = await deriveKeys(sealKey(1));
  const envelope = await seal(sealing, [], PLAIN);
  const cannotOpen = await crypto.subtle.importKey("raw", sealKey(1), "AES-GCM", false, ["encrypt"]);
  const error = await assertRejects(() => unseal(cannotOpen, [], envelope), DOMException);
  assertEquals(error.name, "InvalidAccessError");
});
