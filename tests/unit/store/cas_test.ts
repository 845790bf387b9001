import { assertEquals, assertNotEquals } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { type CaRecord, readCa, writeCa } from "../../../store/cas.ts";
import type { CaInput } from "../../../store/changes/cas.ts";
import { MAX_CA_CERT_CHARS, MAX_CAS } from "../../../store/limits.ts";
import { deriveKeys } from "../../../store/seal.ts";
import { PolicyView, type ViewChange } from "../../../store/view.ts";
import { assertCode, HandClock, openState, tempFolder } from "./support.ts";

const KEY_PEM = "-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----\n";

/** What the store does not read: to it both are text. */
function ca(hostgroup: string, more: Partial<CaInput> = {}): CaInput {
  const certPem = `-----BEGIN CERTIFICATE-----\n${hostgroup}\n-----END CERTIFICATE-----\n`;
  return { hostgroup, certPem, keyPem: KEY_PEM, check: () => Promise.resolve(), ...more };
}

async function keysOf(fill: number) {
  return (await deriveKeys(new Uint8Array(32).fill(fill))).sealing;
}

Deno.test("State.putCa() keeps a CA over a restart and another seal key, and its key nowhere in clear", async () => {
  await using folder = await tempFolder();
  const clock = new HandClock();
  {
    await using state = await openState(folder.state, clock);
    const record = await state.putCa(ca("sbox"));
    assertEquals(record.importedAt, clock.nowMs);
    clock.nowMs += 1_000;
    assertEquals(await state.putCa(ca("sbox")), record); // the same once more is no change
    assertEquals(JSON.stringify(state.listCas()).includes("planted"), false);
  }
  for (let n = 0; n < 2; n++) {
    await using state = await openState(folder.state, clock);
    assertEquals(state.listCas().map(({ hostgroup }) => hostgroup), ["sbox"]);
    assertEquals(state.storedCa("sbox")?.keyPem, KEY_PEM);
    assertEquals(state.storedCa("lab"), undefined);
    assertEquals((await state.rotateSealKey()).secrets, 0);
    assertEquals(state.storedCa("sbox")?.keyPem, KEY_PEM);
  }
  for await (const { name, isFile } of Deno.readDir(folder.state)) {
    const bytes = isFile ? await Deno.readFile(`${folder.state}/${name}`) : new Uint8Array();
    assertEquals(new TextDecoder("latin1").decode(bytes).includes("planted"), false, name);
  }
});

Deno.test("State.putCa() has the caller look at what is there, when nobody changes it any more", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const seen: (string | undefined)[] = [];
  const check = (present: string | undefined) => Promise.resolve(void seen.push(present));
  const [first] = await Promise.all([
    state.putCa(ca("sbox", { check })),
    state.putCa(ca("sbox", { certPem: "two", check })),
  ]);
  assertEquals(seen, [undefined, first.certPem]);
  const refused = state.putCa(ca("sbox", {
    certPem: "three",
    check: () => Promise.reject(new ProxyError("input.conflict", "no")),
  }));
  await assertCode(refused, "input.conflict");
  assertEquals(state.storedCa("sbox")?.record.certPem, "two");
});

Deno.test("State.putCa() refuses what a row does not hold, and more CAs than there may be", async (t) => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  for (
    const [name, input, code] of [
      ["a name that is none", ca("../sbox"), "input.invalid"],
      [
        "a certificate that is too long",
        ca("a", { certPem: "x".repeat(MAX_CA_CERT_CHARS + 1) }),
        "input.invalid",
      ],
      ["what is no PEM", ca("a", { keyPem: "ä" }), "input.invalid"],
      ["no key", ca("a", { keyPem: "" }), "input.invalid"],
    ] as const
  ) {
    await t.step(name, async () => void await assertCode(state.putCa(input), code));
  }
  await state.putCa(ca("longest", { certPem: "x".repeat(MAX_CA_CERT_CHARS) }));
  for (let n = 1; n < MAX_CAS; n++) await state.putCa(ca(`g${n}`));
  await assertCode(state.putCa(ca("one-more")), "limit.reached");
  await state.putCa(ca("g1", { certPem: "another" })); // it has a place already
});

Deno.test("State.renewCa() changes the version that it is for, and no other", async () => {
  await using folder = await tempFolder();
  await using state = await openState(folder.state);
  const first = await state.putCa(ca("sbox"));
  await state.renewCa("sbox", { ifVersion: first.version, make: () => Promise.resolve("renewed") });
  const renewed = state.storedCa("sbox");
  assertEquals([renewed?.record.certPem, renewed?.keyPem], ["renewed", KEY_PEM]);
  assertNotEquals(renewed?.record.version, first.version);
  await state.renewCa("sbox", { ifVersion: first.version, make: () => Promise.resolve("late") });
  await state.renewCa("lab", { ifVersion: first.version, make: () => Promise.resolve("late") });
  assertEquals(state.storedCa("sbox")?.record.certPem, "renewed");
  assertEquals(state.listCas().length, 1);
});

Deno.test("readCa() opens a row only in its place, with its certificate and its seal key", async (t) => {
  const record: CaRecord = { hostgroup: "sbox", version: "1", certPem: "cert", importedAt: 1, renewedAt: 2 };
  const sealing = await keysOf(1);
  const { key, value = {} } = await writeCa(sealing, { record, keyPem: KEY_PEM });
  assertEquals(await readCa(sealing, { key, value }), { record, keyPem: KEY_PEM });
  for (
    const [name, row, opener] of [
      ["another host group's", { key: ["ca", "lab"], value }, sealing],
      ["another certificate", { key, value: { ...value, certificate: "other" } }, sealing],
      ["another seal key", { key, value }, await keysOf(2)],
    ] as const
  ) {
    await t.step(name, async () => void await assertCode(readCa(opener, row), "seal.row-damaged"));
  }
});

Deno.test("PolicyView: no step and no snapshot holds the key of a CA, and copies know its version", () => {
  const view = new PolicyView();
  const steps: ViewChange[] = [];
  view.onStep = (change) => steps.push(change);
  const record: CaRecord = { hostgroup: "sbox", version: "1", certPem: "cert", importedAt: 1 };
  view.setCa({ record, keyPem: KEY_PEM });
  assertEquals(JSON.stringify([steps, view.snapshot(0)]).includes("planted"), false);
  const copy = new PolicyView();
  for (const step of view.snapshot(0)) copy.apply(step);
  assertEquals(copy.cas(), [record]);
  view.deleteCa("sbox");
  for (const step of steps) copy.apply(step);
  assertEquals(copy.cas(), []);
});
