import { assertEquals, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { ProxyError } from "../../../../core/errors.ts";
import { decodeBatch, decodeStored, encodeBatch } from "../../../../store/postgres/row_batch.ts";
import { encodeKey } from "../../../../store/postgres/row_key.ts";
import { encodeRow } from "../../../../store/row_codec.ts";

const KEY = ["rules", "r1"];

Deno.test("decodeBatch() gives back what encodeBatch() was given, by this host's clock", () => {
  const mutations = [{ key: KEY, value: { host: "a.test", expiresAt: 5_000 } }, { key: ["rules", "r2"] }];
  for (const aheadMs of [0, 1, 700, -700]) {
    assertEquals(decodeBatch(encodeBatch(mutations, aheadMs), aheadMs), mutations);
  }
});

Deno.test("encodeBatch() says ends by the database's clock, and changes a row once", () => {
  const [one, ...more] = decodeBatch(
    encodeBatch([{ key: KEY }, { key: KEY, value: { expiresAt: 5_000, lastMs: 1 } }], 700),
    0,
  );
  assertEquals([one, more], [{ key: KEY, value: { expiresAt: 5_700, lastMs: 1 } }, []]);
  const [text] = JSON.parse(encodeBatch([{ key: KEY, value: {}, expireInMs: 9 }], 0));
  assertEquals(text.e, 9);
  assertEquals(decodeBatch(encodeBatch([{ key: KEY, value: { expiresAt: "never" } }], 700), 0), [
    { key: KEY, value: { expiresAt: "never" } },
  ]);
});

Deno.test("decodeBatch() and decodeStored() refuse what no host has written", async (t) => {
  const k = Buffer.from(encodeKey(KEY)).toString("base64");
  const rows = [{}, [null], [1], [{}], [{ k: 1, v: null }], [{ k, v: 1 }], [{ k, v: "" }]];
  for (const row of rows) {
    await t.step(JSON.stringify(row).slice(0, 20), () => {
      const error = assertThrows(() => decodeBatch(JSON.stringify(row), 0), ProxyError);
      assertEquals(error.code, "state.damaged");
    });
  }
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64"); // as the driver is asked for them
  const [key, value] = [base64(encodeKey(KEY)), base64(encodeRow({ expiresAt: 5_700 }))];
  assertEquals(decodeStored(key, value, 700), { key: KEY, value: { expiresAt: 5_000 } });
  for (const [a, b] of [[encodeKey(KEY), value], [key, encodeRow({})], ["AA==", value]] as const) {
    assertEquals(assertThrows(() => decodeStored(a, b, 0), ProxyError).code, "state.damaged");
  }
  assertEquals(decodeStored(key, base64(new Uint8Array([1])), 0).value, undefined);
});
