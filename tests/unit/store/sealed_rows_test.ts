import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { caBinding, readCa } from "../../../store/cas.ts";
import type { Row } from "../../../store/engine.ts";
import { checkSealedRow, resealRow, SEALED_PREFIXES, sealedRows } from "../../../store/sealed_rows.ts";
import { makeProof, openProof } from "../../../store/seal_proof.ts";
import { readSecret, secretBinding } from "../../../store/secrets.ts";
import { PolicyView } from "../../../store/view.ts";
import { keysOf } from "./memory_engine.ts";
import { assertCode } from "./support.ts";

const [keys, next] = [await keysOf(1), await keysOf(2)];
const SECRET = {
  record: { name: "key", host: "a.test", type: "bearer", version: "1", cleartext: false, createdAt: 0 },
  value: "v",
};
const CA = { record: { hostgroup: "g", version: "1", certPem: "c", importedAt: 0 }, keyPem: "k" };

/** What is sealed of a view with one of each. */
async function rows(): Promise<Row[]> {
  const view = new PolicyView();
  view.setSecret(SECRET);
  view.setCa(CA);
  return (await sealedRows(view, keys.sealing)).map(({ key, value }) => ({ key, value }));
}

Deno.test("sealedRows() are all that is sealed of a policy", async () => {
  assertEquals(SEALED_PREFIXES, [["secret"], ["ca"]]);
  const [secret, ca] = await rows();
  if (!secret || !ca) throw new Error("there is no row");
  assertEquals([await readSecret(keys.sealing, secret), await readCa(keys.sealing, ca)], [SECRET, CA]);
  assertEquals(secretBinding(secret), ["secret", "key", "a.test", "bearer"]); // older stores are sealed to just this
  assertEquals(caBinding(ca), ["ca", "g", "c"]);
});

Deno.test("resealRow() seals a row with another key, and keeps what a newer program has put there", async () => {
  const [secret, ca] = await rows();
  if (!secret || !ca) throw new Error("there is no row");
  const pair = { from: keys.sealing, to: next.sealing };
  const more = { ...secret, value: Object.assign({}, secret.value, { later: 7 }) };
  const resealed = await resealRow(more, pair);
  assertEquals([await readSecret(next.sealing, resealed), resealed.value.later], [SECRET, 7] as unknown[]);
  assertEquals(await readCa(next.sealing, await resealRow(ca, pair)), CA);
  await assertCode(resealRow(resealed, pair), "seal.row-damaged");
  await assertCode(resealRow({ ...ca, key: ["ca", "h"] }, pair), "seal.row-damaged");
});

Deno.test("checkSealedRow() opens what is sealed, and looks at no other row", async () => {
  for (const row of await rows()) {
    await checkSealedRow(row, keys.sealing);
    await assertCode(checkSealedRow(row, next.sealing), "seal.row-damaged");
  }
  await checkSealedRow({ key: ["client", "x"], value: {} }, keys.sealing);
});

Deno.test("makeProof() opens with its key alone, and carries the key of tokens when it has to", async () => {
  const token = new Uint8Array(32).fill(9);
  const own = { ...keys, token };
  const [plain, carrying] = [await makeProof(own), await makeProof(own, { carriesToken: true })];
  assertEquals((await openProof(keys, plain))?.token, keys.token);
  assertEquals((await openProof(keys, carrying))?.token, token);
  assertEquals([await openProof(next, plain), await openProof(next, carrying)], [undefined, undefined]);
});

Deno.test("openProof() opens the proofs of every version: a state outlives an update of the program", async () => {
  const proofOf = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));
  const plain = "010e2f384637cf3b60d922a07e46bc8d9e4bb6fe45bcd1d9b3179d8bae0696b3ecc66f65d603fad98d";
  const carrying =
    "0153f67ef875d0f578c013ca4910c43b0a6fae748a15c6663c62a5089711e32bf12bb86ea3c8aeac76dabda71a51b3ab4b" +
    "15592dc1d39d7e230c4b0a3c7ab0bfc1f6387a715e063913";
  assertEquals((await openProof(keys, proofOf(plain)))?.token, keys.token);
  assertEquals((await openProof(keys, proofOf(carrying)))?.token, next.token);
});
