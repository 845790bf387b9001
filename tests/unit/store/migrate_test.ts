import { assertEquals } from "@std/assert";
import { writeCa } from "../../../store/cas.ts";
import { writeClient } from "../../../store/clients.ts";
import type { Mutation } from "../../../store/engine.ts";
import { migrate } from "../../../store/migrate.ts";
import { writeRule } from "../../../store/rules.ts";
import { makeProof } from "../../../store/seal_proof.ts";
import { writeSecret } from "../../../store/secrets.ts";
import { writeSuspension } from "../../../store/suspensions.ts";
import { keysOf, MemoryEngine } from "./memory_engine.ts";
import { assertCode, rule, tempFolder } from "./support.ts";

const NOW = 1_000;
const keys = await keysOf(1);
const PROOF = await makeProof(keys);

/** A database that has a proof of its key, or none while it is new. */
class SealedMemory extends MemoryEngine {
  sealCheck: Uint8Array<ArrayBuffer> | undefined;
  sealKeyId: string | undefined;
  constructor(sealCheck?: Uint8Array<ArrayBuffer>) {
    super();
    this.sealCheck = sealCheck;
  }
  initialise(sealCheck: Uint8Array, sealKeyId?: string): Promise<void> {
    this.sealCheck = new Uint8Array(sealCheck);
    this.sealKeyId = sealKeyId;
    return Promise.resolve();
  }
}

function client(name: string): Mutation {
  return writeClient({ record: { name, version: "1", createdAt: 0 }, id: name, digest: name });
}

function ruleOf(sequence: number, expiresAt?: number): Mutation {
  const end = expiresAt === undefined ? {} : { expiresAt };
  const own = { ...rule("a.test"), id: `r${sequence}`, client: "one", ...end };
  return writeRule({ rule: own, clientId: "one", sequence }, 0);
}

async function secret(fill = 1): Promise<Mutation> {
  const record = {
    name: "key",
    host: "a.test",
    type: "bearer",
    version: "1",
    cleartext: false,
    createdAt: 0,
  };
  return await writeSecret((await keysOf(fill)).sealing, { record, value: "v" });
}

async function ca(hostgroup: string): Promise<Mutation> {
  const record = { hostgroup, version: "1", certPem: "cert", importedAt: 0 };
  return await writeCa(keys.sealing, { record, keyPem: "key" });
}

/** A seal key file of the first key. */
async function withKey(work: (file: string) => Promise<void>): Promise<void> {
  await using folder = await tempFolder();
  const file = `${folder.path}/mk`;
  await Deno.writeTextFile(file, "01".repeat(32), { mode: 0o600 });
  await work(file);
}

Deno.test("migrate() copies every kind of row, and has the target complete when all are there", async () => {
  await withKey(async (file) => {
    const [from, to] = [new SealedMemory(PROOF), new SealedMemory()];
    const rules = [ruleOf(0), ruleOf(1, NOW - 5), ruleOf(2, NOW + 7)];
    await from.commit([client("one"), client("two"), ...rules, await secret(), writeSuspension(3)]);
    await from.commit([await ca("g"), await ca("h"), await ca("i"), await ca("j")]);
    await from.commit([{ key: ["used", "a"], value: { period: 1 } }]); // each host's own
    assertEquals(await migrate({ from, to }, file, NOW), { clients: 2, rules: 3, secrets: 1, cas: 4 });
    assertEquals(to.keys, from.keys.filter((key) => !key.startsWith("used")));
    assertEquals([to.sealCheck, to.sealKeyId], [PROOF, keys.id] as unknown[]);
    const ends = to.commits.flat().filter(({ key }) => key[0] === "rule").map(({ expireInMs }) => expireInMs);
    assertEquals(ends, [undefined, 1, 7]);
  });
});

Deno.test("migrate() fills a database at once that can be filled, and another in commits that it takes", async () => {
  await withKey(async (file) => {
    const from = new SealedMemory(PROOF);
    await from.commit(Array.from({ length: 1_001 }, (_, i) => client(`c${i}`)));
    const plain = new SealedMemory();
    await migrate({ from, to: plain }, file, NOW);
    assertEquals(plain.commits.map(({ length }) => length), [1_000, 1]);
    const filled: unknown[] = [];
    const to = Object.assign(new SealedMemory(), {
      fill: (...given: unknown[]) => Promise.resolve(void filled.push(...given)),
    });
    await migrate({ from, to }, file, NOW);
    assertEquals([filled[0], filled[1], (filled[2] as unknown[]).length, to.commits], [
      PROOF,
      keys.id,
      1_001,
      [],
    ]);
  });
});

Deno.test("migrate() refuses what has no policy, what has one, and what does not open", async () => {
  await withKey(async (file) => {
    const [full, empty] = [new SealedMemory(PROOF), new SealedMemory()];
    await assertCode(migrate({ from: empty, to: new SealedMemory() }, file, NOW), "input.not-found");
    await assertCode(migrate({ from: full, to: new SealedMemory(PROOF) }, file, NOW), "input.conflict");
    const other = new SealedMemory(await makeProof(await keysOf(2)));
    await assertCode(migrate({ from: other, to: empty }, file, NOW), "seal.key-wrong");
    const damaged = new SealedMemory(PROOF);
    await damaged.commit([await secret(2)]);
    await assertCode(migrate({ from: damaged, to: empty }, file, NOW), "seal.row-damaged");
    for (const value of [null, "text"]) {
      const from = new SealedMemory(PROOF);
      from.rows = async function* (prefix) {
        await Promise.resolve();
        if (prefix[0] === "client") yield { key: ["client", "x"], value };
      };
      await assertCode(migrate({ from, to: empty }, file, NOW), "state.damaged");
    }
    assertEquals([empty.sealCheck, empty.commits], [undefined, []] as unknown[]);
  });
});
