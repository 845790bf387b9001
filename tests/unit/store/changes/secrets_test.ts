import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { deleteSecret, putSecret, updateSecret } from "../../../../store/changes/secrets.ts";
import type { SecretUpdate } from "../../../../store/records.ts";
import type { Writer } from "../../../../store/writer.ts";
import { makeWriter, MemoryEngine, SharedMemory } from "../memory_engine.ts";
import { assertCode, HandClock, secret } from "../support.ts";

/** Changes the secret `key` in its present version. */
function update(writer: Writer, change: Omit<SecretUpdate, "ifVersion">) {
  const ifVersion = writer.view.secret("key")?.record.version ?? "";
  return updateSecret(writer, "key", { ifVersion, ...change });
}

function recordOf(writer: Writer) {
  return writer.view.secret("key")?.record;
}

/** A writer of a fleet, with the secret `key`. */
async function fleetWriter(): Promise<{ readonly writer: Writer; readonly shared: SharedMemory }> {
  const shared = new SharedMemory();
  const writer = await makeWriter({ db: new MemoryEngine(shared) });
  await putSecret(writer, secret("key"), false);
  return { writer, shared };
}

Deno.test("putSecret() takes a thousand secrets, and replaces one of them", async () => {
  await using writer = await makeWriter();
  for (let i = 0; i < 1_000; i++) {
    writer.view.setSecret({
      record: { name: `s${i}`, host: "a.test", type: "bearer", version: "1", cleartext: false, createdAt: 0 },
      value: "v",
    });
    if (i === 998) {
      await putSecret(writer, secret("last"), false).then(() => writer.view.deleteSecret("last"));
    }
  }
  await assertCode(putSecret(writer, secret("more"), false), "limit.reached");
  await putSecret(writer, secret("s7"), true);
  assertEquals(writer.view.secretCount, 1_000);
});

Deno.test("putSecret() keeps what it was given, and nothing of what it was not", async () => {
  const clock = new HandClock();
  await using writer = await makeWriter({ clock });
  const bare = await putSecret(writer, secret("key"), false);
  assertEquals(Object.keys(bare).sort(), ["cleartext", "createdAt", "host", "name", "type", "version"]);
  clock.nowMs += 1;
  const full = await putSecret(
    writer,
    secret("key", { isAdopted: true, env: ["A_KEY"], sourceFile: "/f", sourceUid: 0 }),
    true,
  );
  const { version: _, ...rest } = full;
  assertEquals(rest, {
    name: "key",
    host: "api.example.com",
    type: "bearer",
    cleartext: false,
    createdAt: clock.nowMs - 1,
    updatedAt: clock.nowMs,
    adoptedAt: clock.nowMs,
    env: ["A_KEY"],
    sourceFile: "/f",
    sourceUid: 0,
  });
  const noFile = await putSecret(writer, secret("key", { sourceUid: 7, env: [] }), true);
  assertEquals([noFile.sourceFile, noFile.sourceUid, noFile.env, noFile.adoptedAt], Array(4).fill(undefined));
});

Deno.test("putSecret() refuses a rival of another secret, and not of the one that it replaces", async () => {
  await using writer = await makeWriter();
  await putSecret(writer, secret("old", { value: "planted" }), false);
  const isRival = ({ type, value }: { readonly type: string; readonly value: string }) =>
    type === "bearer" && value === "planted";
  const error = await assertCode(putSecret(writer, secret("key", { isRival }), false), "input.conflict");
  assert(!error.message.includes("planted") && error.message.includes("secret old"));
  await putSecret(writer, secret("old", { value: "planted", isRival }), true);
  await putSecret(writer, secret("key", { isRival: () => false }), false);
});

Deno.test("updateSecret() is for one version and one value", async () => {
  await using writer = await makeWriter();
  await putSecret(writer, secret("key"), false);
  assertEquals(await updateSecret(writer, "key", { ifVersion: "other", value: "x" }), undefined);
  assertEquals(await updateSecret(writer, "none", { ifVersion: "other", value: "x" }), undefined);
  const error = await assertCode(update(writer, { ifValue: "other", value: "x" }), "input.conflict");
  assertEquals(error.reason, "renewed");
  assertEquals(writer.view.secret("key")?.value, "sk-planted");
  await update(writer, { ifValue: "sk-planted", value: "x" });
  assertEquals(writer.view.secret("key")?.value, "x");
});

Deno.test("updateSecret() gives another version to a replacement only", async () => {
  const clock = new HandClock();
  await using writer = await makeWriter({ clock });
  const { version } = await putSecret(writer, secret("key"), false);
  await update(writer, { value: "two" });
  assertEquals([recordOf(writer)?.version, recordOf(writer)?.updatedAt], [version, undefined]);
  clock.nowMs += 1;
  await update(writer, { isReplacement: true, value: "three", error: "e", refreshingSince: 1 });
  assertNotEquals(recordOf(writer)?.version, version);
  assertEquals(recordOf(writer)?.updatedAt, clock.nowMs);
  const after = await update(writer, { error: null });
  assertEquals([after && "error" in after, after?.refreshingSince], [false, 1]);
  await assertCode(update(writer, { value: "x".repeat(49_153) }), "input.invalid");
});

Deno.test("updateSecret() knows no lease where this host is alone", async () => {
  await using writer = await makeWriter();
  await putSecret(writer, secret("key"), false);
  const after = await update(writer, { lease: { id: "a", forMs: 1_000 }, refreshedAt: 1 });
  assertEquals([after?.lease, after?.leaseUntil, after?.refreshedAt], [undefined, undefined, 1]);
});

Deno.test("updateSecret() lets nobody else renew while a lease runs, by the store's clock", async () => {
  const { writer, shared } = await fleetWriter();
  await using _ = writer;
  const begun = await update(writer, { lease: { id: "a", forMs: 1_500 } });
  assertEquals([begun?.lease, begun?.leaseUntil], ["a", shared.nowMs + 1_500]);
  const others: Omit<SecretUpdate, "ifVersion">[] = [
    { lease: { id: "b", forMs: 9 } },
    { lease: { id: "b" } },
    {
      error: "x",
    },
  ];
  for (const [aheadMs, seconds] of [[0, 2], [500, 1], [1_499, 1]] as const) {
    shared.nowMs += aheadMs;
    for (const other of others) {
      const error = await assertCode(update(writer, other), "input.conflict");
      assertEquals([error.reason, error.retryAfterSeconds], ["leased", seconds]);
    }
    shared.nowMs -= aheadMs;
  }
  shared.nowMs += 1_000;
  const longer = await update(writer, { lease: { id: "a", forMs: 1_500 } }); // its own
  assertEquals(longer?.leaseUntil, shared.nowMs + 1_500);
  shared.nowMs += 1_500;
  assertEquals((await update(writer, { lease: { id: "b", forMs: 1 } }))?.lease, "b");
});

Deno.test("updateSecret() ends a lease with any change that holds none", async () => {
  const { writer } = await fleetWriter();
  await using _ = writer;
  for (const forMs of [0, 1_000]) {
    const begun = await update(writer, { lease: { id: "a", forMs } });
    assertEquals(begun?.lease, "a");
    const ended = await update(writer, { lease: { id: "a" }, value: "new" });
    assertEquals([ended && "lease" in ended, ended && "leaseUntil" in ended], [false, false]);
  }
});

Deno.test("deleteSecret() removes the row, and knows no other", async () => {
  const db = new MemoryEngine();
  await using writer = await makeWriter({ db });
  await putSecret(writer, secret("key"), false);
  await assertCode(deleteSecret(writer, "none"), "input.not-found");
  assertEquals(db.keys, ["secret key"]);
  await deleteSecret(writer, "key");
  assertEquals([db.keys, writer.view.secretCount], [[], 0] as [string[], number]);
});
