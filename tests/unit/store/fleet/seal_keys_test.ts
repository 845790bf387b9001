import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { copyKeys, provenByFiles, SealKeys } from "../../../../store/fleet/seal_keys.ts";
import { makeProof } from "../../../../store/seal_proof.ts";
import { keysOf } from "../memory_engine.ts";
import { assertCode, tempFolder } from "../support.ts";
import { keptLog } from "./answers.ts";

const [keys, next, other] = [await keysOf(1), await keysOf(2), await keysOf(3)];

function keyText(fill: number): string {
  return `${fill.toString(16).padStart(2, "0").repeat(32)}\n`;
}

async function writeKey(path: string, fill: number): Promise<void> {
  await Deno.writeTextFile(path, keyText(fill), { mode: 0o600 });
}

function isThere(path: string): Promise<boolean> {
  return Deno.stat(path).then(() => true, () => false);
}

async function sealOf(fill: number) {
  const found = await keysOf(fill);
  return { sealCheck: await makeProof(found), sealKeyId: found.id };
}

/** The keys of a host whose key in force is the first. */
async function stage() {
  const folder = await tempFolder();
  const file = `${folder.path}/mk`;
  await writeKey(file, 1);
  const log = keptLog();
  return {
    ...{ folder, file, log, seal: new SealKeys(file, keys, log) },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

/** Counts what is synced while `work` runs. */
async function syncsOf(work: () => Promise<unknown>): Promise<number> {
  const { sync } = Deno.FsFile.prototype;
  let synced = 0;
  Deno.FsFile.prototype.sync = function () {
    synced++;
    return sync.call(this);
  };
  try {
    await work();
  } finally {
    Deno.FsFile.prototype.sync = sync;
  }
  return synced;
}

Deno.test("SealKeys.proven() are the keys in force, those of the file, or those of the one beside it", async () => {
  await using host = await stage();
  const { seal, file } = host;
  await Deno.remove(file); // the keys in force are in memory
  assertEquals((await seal.proven(await sealOf(1))).id, keys.id);
  await writeKey(file, 3);
  assertEquals((await seal.proven(await sealOf(3))).id, other.id);
  await writeKey(seal.nextFile, 2);
  assertEquals((await seal.proven(await sealOf(2))).id, next.id);
  const error = await assertCode(seal.proven(await sealOf(4)), "seal.key-wrong");
  assertStringIncludes(
    error.message,
    `(its key is ${(await sealOf(4)).sealKeyId}, and this one ${other.id})`,
  );
  await assertCode(provenByFiles(file, { sealCheck: undefined, sealKeyId: undefined }), "seal.key-wrong");
  await Deno.remove(file);
  await assertCode(provenByFiles(file, await sealOf(2)), "seal.key-missing");
});

Deno.test("SealKeys: half a file beside it keeps no host with the right key from starting", async () => {
  await using host = await stage();
  const { file, seal } = host;
  await Deno.writeTextFile(seal.nextFile, "ab", { mode: 0o600 });
  assertEquals((await provenByFiles(file, await sealOf(1))).id, keys.id);
  await assertCode(provenByFiles(file, await sealOf(2)), "seal.key-wrong");
  await writeKey(`${file}.former`, 3);
  assertEquals((await copyKeys(file)).map(({ id }) => id), [keys.id, other.id]);
  await writeKey(seal.nextFile, 2);
  assertEquals((await copyKeys(file)).map(({ id }) => id), [keys.id, next.id, other.id]);
  const { stat } = Deno;
  Deno.stat = () => Promise.reject(new TypeError("a fault"));
  try {
    await assertRejects(() => copyKeys(file));
  } finally {
    Deno.stat = stat;
  }
});

Deno.test("SealKeys.readNext() is the key of a proof, when it is there and on the disk", async () => {
  await using host = await stage();
  const { seal } = host;
  assertEquals(await seal.readNext(await sealOf(2)), undefined);
  await writeKey(seal.nextFile, 3);
  assertEquals(await syncsOf(async () => assertEquals(await seal.readNext(await sealOf(2)), undefined)), 0);
  await writeKey(seal.nextFile, 2);
  const synced = await syncsOf(async () => assertEquals((await seal.readNext(await sealOf(2)))?.id, next.id));
  assertEquals(synced > 0, true, "it is said to be on the disk");
});

Deno.test("SealKeys.makeNext() makes or takes another key, keeps the one in force, and the key of tokens", async () => {
  await using host = await stage();
  const { seal, file, folder } = host;
  const token = new Uint8Array(32).fill(9);
  seal.take({ ...keys, token });
  const made = await seal.makeNext(undefined);
  assertEquals([await seal.idOf(seal.nextFile), made.token], [made.id, token] as unknown[]);
  assertEquals(await Deno.readTextFile(`${file}.${keys.id}`), keyText(1));
  const brought = `${folder.path}/brought`;
  await writeKey(brought, 2);
  assertEquals((await seal.makeNext(brought)).id, next.id);
  assertEquals(await Deno.readTextFile(seal.nextFile), keyText(2));
  await writeKey(brought, 1);
  await assertCode(seal.makeNext(brought), "input.conflict");
  await assertCode(seal.makeNext(`${folder.path}/none`), "seal.key-missing");
  seal.take(other);
  await assertCode(seal.makeNext(undefined), "seal.key-wrong");
  assertEquals(await Deno.readTextFile(seal.nextFile), keyText(2), "what failed changed nothing");
});

Deno.test("SealKeys.settle() puts the key in force in its place, and the one before beside it", async () => {
  await using host = await stage();
  const { seal, file } = host;
  await seal.settle();
  assertEquals([await Deno.readTextFile(file), await isThere(`${file}.former`)], [keyText(1), false]);
  await writeKey(seal.nextFile, 2);
  seal.take(next);
  await seal.settle();
  assertEquals([await Deno.readTextFile(file), await Deno.readTextFile(`${file}.former`)], [
    keyText(2),
    keyText(1),
  ]);
  assertEquals(await isThere(seal.nextFile), false);
  await Deno.remove(file); // it looks once
  await seal.settle();
  seal.take(keys);
  await assertCode(seal.settle(), "seal.key-missing");
});

Deno.test("SealKeys.settle() takes no other key for the one in force", async () => {
  await using host = await stage();
  const { seal, file, log } = host;
  seal.take(next);
  await assertCode(seal.settle(), "seal.key-missing");
  await writeKey(seal.nextFile, 3);
  await assertCode(seal.settle(), "seal.key-missing");
  assertEquals(await Deno.readTextFile(file), keyText(1));
  await seal.trySettle();
  await seal.trySettle();
  assertEquals(log.lines.length, 1, "it is said once");
  assertStringIncludes(log.lines[0] ?? "", "warn the seal key in force cannot be put in its place");
});

Deno.test("SealKeys.trySettle() settles", async () => {
  await using host = await stage();
  const { seal, file, log } = host;
  await writeKey(seal.nextFile, 2);
  seal.take(next);
  await seal.trySettle();
  assertEquals([await Deno.readTextFile(file), log.lines], [keyText(2), []] as unknown[]);
});

Deno.test("SealKeys.forgetFormer() removes the key from before, when the one in force is in its place", async () => {
  await using host = await stage();
  const { seal, file, log } = host;
  const former = `${file}.former`;
  await seal.forgetFormer(); // none is there
  await writeKey(former, 3);
  seal.take(next);
  await seal.forgetFormer();
  assertEquals(await isThere(former), true);
  seal.take(keys);
  await seal.forgetFormer();
  assertEquals([await isThere(former), log.lines], [false, []] as unknown[]);
  await Deno.mkdir(`${former}/in`, { recursive: true });
  await seal.forgetFormer();
  assertStringIncludes(log.lines[0] ?? "", `warn the seal key from before cannot be removed from ${former}`);
});

Deno.test("SealKeys.idOf() is that of a file, and no name of it", async () => {
  await using host = await stage();
  const { seal, file } = host;
  assertEquals([await seal.idOf(file), seal.nextFile, seal.file], [keys.id, `${file}.next`, file]);
  await assertRejects(() => seal.idOf(`${file}x`), ProxyError);
});
