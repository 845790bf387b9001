import { assert, assertEquals, assertNotEquals, assertStringIncludes } from "@std/assert";
import {
  createAuthority,
  describeAuthority,
  openAuthority,
  RENEW_BEFORE_MS,
} from "../../../../ca/authority.ts";
import { describeCertificate } from "../../../../ca/description.ts";
import type { Leaf } from "../../../../ca/leaf.ts";
import { AUTHORITY_LIFE_MS, BACKDATE_MS } from "../../../../ca/signer.ts";
import { ProxyCaDesk } from "../../../../cli/up/ca_desk.ts";
import { ProxyCertificates } from "../../../../cli/up/certificates.ts";
import type { State } from "../../../../store/state.ts";
import { DAY_MS, handshake, SetClock } from "../../ca/support.ts";
import { until } from "../../store/fleet_support.ts";
import { assertCode, openState, tempFolder } from "../../store/support.ts";

/** A proxy's CA over a real state and real files. */
async function startStage(clock = new SetClock()) {
  const folder = await tempFolder();
  const state = await openState(folder.state, clock);
  const lines: string[] = [];
  const say = (line: string) => void lines.push(line);
  const options = {
    hostgroup: "sbox",
    caDir: `${folder.path}/sbox`,
    names: ["127.0.0.1"],
    clock,
    state,
    log: { info: say, warn: say, error: say },
  };
  const open = () => ProxyCertificates.open(options);
  const deskOf = (certificates: ProxyCertificates) => new ProxyCaDesk({ ...options, certificates });
  return {
    ...{ folder, state, lines, options, clock, open, deskOf },
    async [Symbol.asyncDispose]() {
      await state[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** A CA in a folder of its own, as `ca import` reads it. */
async function makeFiles(dir: string, clock: SetClock) {
  await createAuthority({ dir, clock });
  const [certPem, keyPem] = await Promise.all(
    ["crt", "key"].map((end) => Deno.readTextFile(`${dir}/ca.${end}`)),
  );
  return { hostgroup: undefined, replace: false, certPem: certPem ?? "", keyPem: keyPem ?? "" };
}

async function isFor(leaf: Leaf, caPem: string): Promise<boolean> {
  return await handshake(leaf, "a.test", caPem).then(() => true, () => false);
}

Deno.test("ProxyCertificates: a CA that comes into the store signs whatever is asked for after it", async () => {
  await using stage = await startStage();
  using certificates = await stage.open();
  const former = certificates.authority.certPem;
  const api = await certificates.forApi(["127.0.0.1"]);
  assert(await isFor(await certificates.forHost("a.test"), former));
  assert(api.renewAt > stage.clock.now());
  const told: string[] = [];
  const asked: Promise<Leaf>[] = [];
  certificates.onSwitch = () => {
    told.push("switch");
    asked.push(certificates.forHost("a.test")); // by whoever closes its listeners now
  };
  const brought = await makeFiles(`${stage.folder.path}/new`, stage.clock);
  const { ca, replaced } = await stage.deskOf(certificates).import({ ...brought, replace: true });
  assertEquals([told, ca.from, replaced], [
    ["switch"],
    "store",
    (await describeAuthority(stage.options.caDir)).fingerprint,
  ]);
  const [leaf] = await Promise.all(asked);
  assert(leaf && await isFor(leaf, brought.certPem));
  assertEquals(await isFor(leaf, former), false);
  assertEquals([await certificates.forTrust(), api.renewAt], [brought.certPem, 0]);
  assert((await certificates.forApi(["127.0.0.1"])).renewAt > stage.clock.now());
  await stage.state.createClient("one"); // any other change
  assertEquals(told, ["switch"]);
});

Deno.test("ProxyCertificates renews the CA in the store, in time and at a start, for the same key", async () => {
  await using stage = await startStage();
  {
    using certificates = await stage.open();
    const brought = await makeFiles(`${stage.folder.path}/new`, stage.clock);
    await stage.deskOf(certificates).import({ ...brought, replace: true });
  }
  const keyOf = async () => (await describeCertificate(certOf(stage.state), "test")).keyId;
  const key = await keyOf();
  for (const isRunning of [false, true]) {
    const before = certOf(stage.state);
    using early = isRunning ? await stage.open() : undefined;
    stage.clock.nowMs += AUTHORITY_LIFE_MS - RENEW_BEFORE_MS;
    using certificates = await stage.open(); // finds it due, which the other is told of
    assertNotEquals(certOf(stage.state), before);
    for (const each of early ? [early, certificates] : [certificates]) {
      await each.settled();
      assertEquals(each.authority.certPem, certOf(stage.state));
    }
    assertEquals(await keyOf(), key);
  }
  assertEquals(stage.state.listCas()[0]?.renewedAt, stage.clock.nowMs);
});

Deno.test("ProxyCertificates: a host whose clock is ahead of the store's gives nobody a CA that has not begun", async () => {
  await using stage = await startStage();
  const { state, clock, options } = stage;
  const brought = await makeFiles(`${stage.folder.path}/new`, clock);
  await state.putCa({ ...brought, hostgroup: "sbox", check: () => Promise.resolve() });
  const storeMs = clock.nowMs;
  const renewCa: State["renewCa"] = (hostgroup, { ifVersion, make }) =>
    state.renewCa(hostgroup, { ifVersion, make: () => make(storeMs) });
  const { storedCa, listCas, onChange } = state;
  const ofFleet = {
    renewCa,
    fleet: undefined,
    storedCa: storedCa.bind(state),
    listCas: listCas.bind(state),
    onChange: onChange.bind(state),
  };
  const ahead = { ...options, state: ofFleet, clock: new SetClock(storeMs + AUTHORITY_LIFE_MS - 1_000) };
  using certificates = await ProxyCertificates.open(ahead);
  assertEquals([certificates.authority.certPem, certOf(state)], [brought.certPem, brought.certPem]);
  assertEquals(stage.lines.some((line) => line.includes("was renewed")), false);
});

Deno.test("ProxyCertificates: a CA that begins in a moment, by this host's clock, signs then", async () => {
  await using stage = await startStage();
  using certificates = await stage.open();
  const former = certificates.authority.certPem;
  const brought = await makeFiles(`${stage.folder.path}/new`, stage.clock);
  stage.clock.nowMs -= BACKDATE_MS + 1_000; // this host's clock is behind that of the host which took it
  const told: string[] = [];
  certificates.onSwitch = () => void told.push("switch");
  await stage.state.putCa({ ...brought, hostgroup: "sbox", check: () => Promise.resolve() });
  await certificates.settled();
  assertEquals([await certificates.forTrust(), told.length], [former, 1]);
  stage.clock.nowMs += 1_000;
  await until("it signs", () => certificates.authority.certPem === brought.certPem);
  assertEquals([told.length, certificates.isStored], [2, true]); // what was made meanwhile is given up, too
  assertEquals(stage.lines.filter((line) => line.includes("is not used")).length, 1);
});

function certOf(state: State): string {
  return state.storedCa("sbox")?.record.certPem ?? "";
}

Deno.test("ProxyCertificates renews the CA in the store by itself, while it runs", async () => {
  const clock = new SetClock();
  await using stage = await startStage(clock);
  const brought = await makeFiles(`${stage.folder.path}/new`, clock);
  const { notAfter } = await describeCertificate(brought.certPem, "test");
  clock.nowMs = Date.parse(notAfter) - RENEW_BEFORE_MS - 200; // by this clock, which stands still; its timers do not
  await stage.state.putCa({ ...brought, hostgroup: "sbox", check: () => Promise.resolve() });
  using certificates = await stage.open();
  assertEquals(certificates.authority.certPem, brought.certPem);
  clock.nowMs += 200;
  await until("it is renewed", () => certificates.authority.certPem !== brought.certPem);
  assertEquals(certificates.authority.certPem, certOf(stage.state));
});

Deno.test("ProxyCertificates.open() makes no CA beside those of other host groups, and says which files are not used", async () => {
  await using stage = await startStage();
  const { folder, state, clock, options } = stage;
  const brought = await makeFiles(`${folder.path}/new`, clock);
  await state.putCa({ ...brought, hostgroup: "lab", check: () => Promise.resolve() });
  const refused = await assertCode(stage.open(), "input.not-found");
  assertStringIncludes(refused.hint ?? "", "--hostgroup lab");
  const own = await makeFiles(options.caDir, clock);
  {
    using certificates = await stage.open(); // it has files of its own
    const desk = stage.deskOf(certificates);
    assertEquals([certificates.authority.certPem, certificates.isStored], [own.certPem, false]);
    assertEquals((await desk.show(undefined)).path, `${options.caDir}/ca.crt`);
    assertEquals((await desk.show("lab")).certPem, brought.certPem);
    await assertCode(desk.show("none"), "input.not-found");
    await assertCode(desk.show("../lab"), "input.invalid");
  }
  await state.putCa({ ...brought, hostgroup: "sbox", check: () => Promise.resolve() });
  using certificates = await stage.open();
  assertEquals(certificates.authority.certPem, brought.certPem);
  assert(
    stage.lines.some((line) => line.includes(") is not used: the store has another for host group sbox")),
  );
});

Deno.test("ProxyCaDesk.import() takes a CA that can sign, and replaces another only when told to", async (t) => {
  await using stage = await startStage();
  using certificates = await stage.open();
  const desk = stage.deskOf(certificates);
  const one = await makeFiles(`${stage.folder.path}/one`, stage.clock);
  const two = await makeFiles(`${stage.folder.path}/two`, stage.clock);
  const bad = [
    ["the key of another", { ...one, keyPem: two.keyPem }],
    ["no certificate", { ...one, certPem: one.keyPem }],
    ["no key", { ...one, keyPem: one.certPem }],
    ["a leaf", { ...one, ...await certificates.forHost("a.test") }],
    ["a name that is none", { ...one, hostgroup: "../x" }],
  ] as const;
  for (const [name, input] of bad) {
    await t.step(name, async () => {
      const error = await assertCode(desk.import({ ...input, replace: true }), "input.invalid");
      assertEquals(`${error.message} ${error.hint}`.includes("PRIVATE"), false);
    });
  }
  await assertCode(desk.import(one), "input.conflict"); // this host uses another
  const around = { ...one, keyPem: `planted comment\n${one.keyPem}`, replace: true };
  assertEquals((await desk.import(around)).ca.certPem, one.certPem);
  assertEquals(stage.state.storedCa("sbox")?.keyPem, one.keyPem);
  await assertCode(desk.import(two), "input.conflict"); // the store has another
  assertEquals((await desk.import(one)).replaced, undefined); // the same
  assertEquals((await desk.import({ ...two, hostgroup: "lab" })).ca.hostgroup, "lab"); // there was none
  assertEquals((await desk.import({ ...two, replace: true })).ca.certPem, two.certPem);
  stage.clock.nowMs = 0;
  await assertCode(desk.import({ ...one, replace: true }), "input.invalid"); // it is not valid yet
});

Deno.test("ProxyCaDesk.import() takes an older certificate of the same key only when told to, and none that has ended", async () => {
  await using stage = await startStage();
  using certificates = await stage.open();
  const desk = stage.deskOf(certificates);
  const older = await makeFiles(`${stage.folder.path}/one`, stage.clock);
  const authority = await openAuthority(older, "test", stage.clock);
  const newer = { ...older, certPem: await authority.renewedCertPem(stage.clock.nowMs + DAY_MS) };
  await desk.import({ ...newer, replace: true });
  const { message, hint = "" } = await assertCode(desk.import(older), "input.conflict");
  for (const { certPem } of [older, newer]) {
    assertStringIncludes(message, (await describeCertificate(certPem, "test")).notAfter);
  }
  assertStringIncludes(hint, "--replace");
  assertEquals(certOf(stage.state), newer.certPem);
  assertEquals((await desk.import({ ...older, replace: true })).ca.certPem, older.certPem);
  assertEquals((await desk.import(newer)).ca.certPem, newer.certPem); // the newer one needs no word
  stage.clock.nowMs += AUTHORITY_LIFE_MS;
  const ended = await assertCode(desk.import({ ...older, replace: true }), "input.invalid");
  assertStringIncludes(ended.message, "it ended at");
  assertEquals(certOf(stage.state), newer.certPem);
});
