import { assertEquals, assertMatch } from "@std/assert";
import { isProof, logToken, proveWay } from "../../../store/fleet/log_proof.ts";
import { deriveKeys } from "../../../store/seal.ts";

const HOST = { fleet: "default", id: "id-1", instance: "instance-1", name: "host-1" };
const WAY = { origin: "https://a.test:1", caPem: "CA" };

function keysOf(byte: number) {
  return deriveKeys(new Uint8Array(32).fill(byte));
}

Deno.test("hosts of different versions show each other the same token and proof", async () => {
  const keys = await keysOf(1);
  assertEquals(logToken(keys, HOST), "spf_Qg6gUw8avqTO-XmeJMeERzxf1ekVe8m2wLUvmY8j3ro");
  assertEquals(proveWay(keys, HOST, WAY), "OEmvSYPb8of4Q-N6x3cdvMNNjW68JF0s16EW-_cuZbY");
});

Deno.test("logToken() differs by seal key, fleet and host", async () => {
  const [one, two] = [await keysOf(1), await keysOf(2)];
  const token = logToken(one, HOST);
  assertMatch(token, /^spf_[\w-]{43}$/);
  assertEquals(logToken(one, { ...HOST }), token);
  const others = [
    logToken(two, HOST),
    logToken(one, { ...HOST, fleet: "other" }),
    logToken(one, { ...HOST, id: "id-2" }),
    `spf_${proveWay(one, HOST, WAY)}`,
  ];
  assertEquals(new Set([token, ...others]).size, 1 + others.length);
});

Deno.test("isProof() takes what proveWay() made, and nothing that differs in any part", async (t) => {
  const keys = await keysOf(1);
  const proof = proveWay(keys, HOST, WAY);
  assertEquals(isProof(proof, keys, HOST, WAY), true);
  const rows: Record<string, () => boolean | Promise<boolean>> = {
    fleet: () => isProof(proof, keys, { ...HOST, fleet: "x" }, WAY),
    id: () => isProof(proof, keys, { ...HOST, id: "x" }, WAY),
    instance: () => isProof(proof, keys, { ...HOST, instance: "x" }, WAY),
    name: () => isProof(proof, keys, { ...HOST, name: "x" }, WAY),
    origin: () => isProof(proof, keys, HOST, { ...WAY, origin: "x" }),
    CA: () => isProof(proof, keys, HOST, { ...WAY, caPem: "x" }),
    "a place that takes of the CA": () =>
      isProof(proof, keys, HOST, { origin: `${WAY.origin}C`, caPem: "A" }),
    key: async () => isProof(proof, await keysOf(2), HOST, WAY),
    "a shorter one": () => isProof(proof.slice(1), keys, HOST, WAY),
    "an empty one": () => isProof("", keys, HOST, WAY),
  };
  for (const [name, holds] of Object.entries(rows)) {
    await t.step(name, async () => assertEquals(await holds(), false));
  }
});
