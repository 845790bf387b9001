import { assertEquals, assertNotEquals } from "@std/assert";
import { type CaInput, putCa, renewCa } from "../../../../store/changes/cas.ts";
import { makeWriter, MemoryEngine, SharedMemory } from "../memory_engine.ts";
import { assertCode, HandClock } from "../support.ts";

function ca(more: Partial<CaInput> = {}): CaInput {
  return { hostgroup: "g", certPem: "cert", keyPem: "key", check: () => Promise.resolve(), ...more };
}

Deno.test("putCa() takes certificates and keys that are so long, and of ASCII alone", async () => {
  await using writer = await makeWriter();
  const most = { certPem: "c".repeat(32_768), keyPem: "k".repeat(16_384) };
  for (
    const bad of [
      { certPem: `${most.certPem}c` },
      { keyPem: `${most.keyPem}k` },
      { certPem: "" },
      { keyPem: "" },
      { certPem: "\x80" },
      { keyPem: "k\u{100}" },
    ]
  ) await assertCode(putCa(writer, ca({ ...most, ...bad })), "input.invalid");
  assertEquals((await putCa(writer, ca(most))).certPem, most.certPem);
  await putCa(writer, ca({ certPem: "\x7f\x00", keyPem: "\x7f" }));
});

Deno.test("renewCa() makes a certificate at the store's time, for the version that is there", async () => {
  const shared = new SharedMemory();
  const [db, clock] = [new MemoryEngine(shared), new HandClock()];
  await using writer = await makeWriter({ db, clock });
  const { version: ifVersion } = await putCa(writer, ca());
  const asked: number[] = [];
  const make = (certPem: string | undefined) => (nowMs: number) => {
    asked.push(nowMs);
    return Promise.resolve(certPem);
  };
  await renewCa(writer, "g", { ifVersion: "other", make: make("new") });
  assertEquals(asked, []);
  await renewCa(writer, "g", { ifVersion, make: make(undefined) });
  assertEquals([asked, db.commits.length], [[shared.nowMs], 1]);
  await assertCode(renewCa(writer, "g", { ifVersion, make: make("") }), "input.invalid");
  clock.nowMs += 1;
  await renewCa(writer, "g", { ifVersion, make: make("new") });
  const { record, keyPem } = writer.view.ca("g") ?? {};
  assertEquals([record?.certPem, record?.renewedAt, record?.importedAt, keyPem], [
    "new",
    clock.nowMs,
    clock.nowMs - 1,
    "key",
  ]);
  assertNotEquals(record?.version, ifVersion);
});

Deno.test("putCa() takes the CAs of a hundred host groups, and another in the place of one of them", async () => {
  await using writer = await makeWriter();
  for (let n = 0; n < 100; n++) await putCa(writer, ca({ hostgroup: `g${n}` }));
  await assertCode(putCa(writer, ca({ hostgroup: "more" })), "limit.reached");
  await putCa(writer, ca({ hostgroup: "g7", certPem: "other" }));
  assertEquals([writer.view.cas().length, writer.view.ca("g7")?.record.certPem], [100, "other"]);
});
