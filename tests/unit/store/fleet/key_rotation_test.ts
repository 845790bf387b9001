import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { KeyRotation, readRotation } from "../../../../store/fleet/key_rotation.ts";
import { SealKeys } from "../../../../store/fleet/seal_keys.ts";
import type { PostgresDatabase, SealStanding } from "../../../../store/postgres/database.ts";
import type { Answer } from "../../../../store/postgres/link.ts";
import { makeProof } from "../../../../store/seal_proof.ts";
import { keysOf } from "../memory_engine.ts";
import { assertCode, tempFolder } from "../support.ts";
import { answeringStore, keptLog } from "./answers.ts";

const OWN = { id: "i", instance: "p", name: "me", version: "1", graceMs: 1_000 };
const [keys, next, other] = [await keysOf(1), await keysOf(2), await keysOf(3)];
const AT_REST: SealStanding = {
  keyId: keys.id,
  nextKeyId: undefined,
  formerKeyId: undefined,
  switchedAt: undefined,
};
const ANNOUNCED = { ...AT_REST, nextKeyId: next.id };
const PROOF: Answer = {
  next_seal_check: await makeProof(next, { carriesToken: true }),
  next_seal_key_id: next.id,
};

/** The text of a seal key file of which every byte is `fill`. */
function keyText(fill: number): string {
  return `${fill.toString(16).padStart(2, "0").repeat(32)}\n`;
}

async function writeKey(path: string, fill: number): Promise<void> {
  await Deno.writeTextFile(path, keyText(fill), { mode: 0o600 });
}

/** A rotation on a host with a folder of its own, and a store that answers in turn. */
async function stage() {
  const folder = await tempFolder();
  const file = `${folder.path}/mk`;
  await writeKey(file, 1);
  const log = keptLog();
  const seal = new SealKeys(file, keys, log);
  const { db, answers, asked } = answeringStore();
  const state = {
    standing: AT_REST,
    waitingFor: [] as string[],
    woken: 0,
    renewed: 0,
    turns: [] as unknown[],
  };
  Object.assign(db, {
    position: () => Promise.resolve({ sequence: 1, changeId: "c", seal: state.standing }),
    inTurn: () => Promise.resolve(state.turns.shift()),
  });
  const watched: number[] = [];
  const rotation = new KeyRotation({
    own: OWN,
    seal,
    log,
    hosts: {
      waitingFor: (sequence) => {
        watched.push(sequence);
        return Promise.resolve({ live: 1, names: state.waitingFor });
      },
    },
    watch: () => db,
    changes: () => db,
    inTurn: (work) => work(),
    wake: () => void state.woken++,
    renewContact: () => void state.renewed++,
  });
  /** One step, whose questions to the store have these answers. @returns how many were asked */
  const step = async (standing: SealStanding, ...given: (readonly Answer[] | Error)[]) => {
    answers.splice(0, answers.length, ...given);
    const before = asked.length;
    await rotation.step(standing);
    return asked.length - before;
  };
  return {
    ...{ folder, file, log, seal, db, asked, answers, state, rotation, watched, step },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

/** The same, past its first step. */
async function settled() {
  const host = await stage();
  await host.step(AT_REST);
  Object.assign(host.state, { woken: 0, renewed: 0 });
  return host;
}

function isThere(path: string): Promise<boolean> {
  return Deno.stat(path).then(() => true, () => false);
}

Deno.test("KeyRotation: the key in force is put in its place once, and what hangs on it is made anew", async () => {
  await using host = await stage();
  const { step, state, seal, file } = host;
  assertEquals(await step({ ...AT_REST, keyId: other.id }), 0);
  assertEquals([state.woken, state.renewed], [0, 0], "the change to it is still to come");
  await step(AT_REST);
  assertEquals([state.woken, state.renewed], [1, 1]);
  await step(AT_REST);
  assertEquals([state.woken, state.renewed], [1, 1]);
  await writeKey(seal.nextFile, 2);
  seal.take({ ...next, token: keys.token });
  await step({ ...AT_REST, keyId: next.id });
  assertEquals([await Deno.readTextFile(file), state.woken, state.renewed], [keyText(2), 2, 2]);
});

Deno.test("KeyRotation: at rest the key from before goes, once", async () => {
  await using host = await settled();
  const former = `${host.file}.former`;
  await writeKey(former, 3);
  await host.step(AT_REST);
  assertEquals(await isThere(former), false);
  await writeKey(former, 3);
  await host.step(AT_REST);
  assertEquals(await isThere(former), true);
});

Deno.test("KeyRotation: the key from before stays while another is to come, or hosts lack the change", async () => {
  await using host = await settled();
  const former = `${host.file}.former`;
  await writeKey(former, 3);
  await host.step(ANNOUNCED, []);
  host.state.waitingFor = ["host-2"];
  await host.step({ ...AT_REST, switchedAt: 4 });
  assertEquals(await isThere(former), true);
});

Deno.test("KeyRotation: a host without the key says so once, with what to do", async () => {
  await using host = await settled();
  const { step, log, seal } = host;
  assertEquals(await step(ANNOUNCED, []), 1);
  assertEquals(await step(ANNOUNCED, [{ ...PROOF, next_seal_key_id: other.id }]), 1);
  assertEquals(log.lines, [], "given up meanwhile");
  for (let n = 0; n < 2; n++) {
    assertEquals(await step(ANNOUNCED, [PROOF]), 1, "the store knows that it has none");
  }
  const [line = "", ...more] = log.lines;
  assertEquals(more, []);
  assertStringIncludes(
    line,
    `warn this fleet waits for this host: copy seal key ${next.id} from another host to ${seal.nextFile}`,
  );
  assertEquals(line.includes("("), false);
  await Deno.writeTextFile(seal.nextFile, "half", { mode: 0o600 });
  await step(ANNOUNCED, [PROOF]);
  assertStringIncludes(log.lines[1] ?? "", "(Cannot use the seal key");
  await writeKey(seal.nextFile, 3); // of another fleet
  await step(ANNOUNCED, [PROOF]);
  assertEquals(log.lines.length, 3);
});

Deno.test("KeyRotation: a host with the key says so once, and seals when all have it", async () => {
  await using host = await settled();
  const { step, state, seal, asked, log, rotation } = host;
  await writeKey(seal.nextFile, 2);
  assertEquals(await step(ANNOUNCED, [PROOF], [], [{ name: "host-2" }]), 3);
  assertEquals(asked.at(-2)?.parameters, ["default", "i", "p", next.id]);
  assertEquals(await step(ANNOUNCED, [PROOF], [{ name: "host-2" }]), 2, "said already");
  state.turns = ["not-now"];
  await step(ANNOUNCED, [PROOF], []);
  assertEquals([state.turns.length, state.woken, log.lines], [0, 0, []] as unknown[]);
  state.turns = ["more"];
  await step(ANNOUNCED, [PROOF], []);
  assertEquals([state.woken, log.lines], [1, []] as unknown[]);
  state.turns = ["switched"];
  await step(ANNOUNCED, [PROOF], []);
  assertEquals(
    [state.woken, log.lines],
    [2, [`info everything is sealed with key ${next.id}, which is in force now`]] as unknown[],
  );
  rotation.forget();
  assertEquals(
    await step(ANNOUNCED, [PROOF], [], [{ name: "host-2" }]),
    3,
    "the store may not know any more",
  );
  await Deno.remove(seal.nextFile);
  assertEquals(await step(ANNOUNCED, [PROOF]), 2);
  assertEquals(asked.at(-1)?.parameters, ["default", "i", "p", ""]);
});

Deno.test("KeyRotation: what keeps it from the next step is said once, and a store that is away is no such thing", async () => {
  await using host = await settled();
  const { step, log } = host;
  const newer = new ProxyError("state.newer", "Cannot seal everything", { hint: "run that version" });
  for (let n = 0; n < 2; n++) await step(ANNOUNCED, newer);
  assertEquals(log.lines, [
    "error the seal key cannot be replaced: Cannot seal everything; run that version",
  ]);
  await step(ANNOUNCED, new ProxyError("state.damaged", "Cannot read it"));
  assertEquals(log.lines[1], "error the seal key cannot be replaced: Cannot read it");
  await assertRejects(() => step(ANNOUNCED, new ProxyError("store.away", "away")), ProxyError, "away");
  await assertRejects(() => step(ANNOUNCED, new TypeError("a fault")), TypeError, "a fault");
});

Deno.test("KeyRotation: it is over when every host has the change", async () => {
  await using host = await settled();
  const { step, state, log, asked, watched } = host;
  state.waitingFor = ["host-2"];
  assertEquals(await step({ ...AT_REST, switchedAt: 4 }), 0);
  state.waitingFor = [];
  assertEquals(await step({ ...AT_REST, switchedAt: 4 }), 2);
  assertEquals([watched, asked.at(-2)?.parameters], [[4, 4], ["default", "4"]] as unknown[]);
  assertEquals(log.lines, [`info every host has seal key ${keys.id} in force`]);
});

Deno.test("KeyRotation.begin() announces a key that is made or brought, and keeps the one in force", async () => {
  for (const isBrought of [false, true]) {
    await using host = await settled();
    const { rotation, answers, state, log, file, seal, asked } = host;
    const brought = `${host.folder.path}/brought`;
    await writeKey(brought, 2);
    answers.push([{ "?column?": 1 }]);
    await rotation.begin(isBrought ? brought : undefined);
    const announced = asked.find(({ sql }) => sql.includes("SET next_seal_check"))?.parameters;
    const nextId = await seal.idOf(seal.nextFile);
    assertEquals([announced?.[2], announced?.[3], state.woken], [nextId, keys.id, 1]);
    if (isBrought) assertEquals(nextId, next.id);
    assertEquals(await Deno.readTextFile(`${file}.${keys.id}`), keyText(1));
    assertEquals(log.lines.map((line) => line.split(",")[0]), [
      `info seal key ${nextId} is to follow ${keys.id}`,
    ]);
  }
});

Deno.test("KeyRotation.begin() goes on with a rotation that is under way, and takes no other key", async (t) => {
  const rows: readonly (readonly [string, SealStanding, fill: number | undefined, isFine: boolean])[] = [
    ["another key is in force", { ...AT_REST, keyId: other.id }, undefined, false],
    ["one is announced, none is brought", ANNOUNCED, undefined, true],
    ["that one is brought", ANNOUNCED, 2, true],
    ["another is brought", ANNOUNCED, 3, false],
    ["one has just come in force, none is brought", { ...AT_REST, switchedAt: 3 }, undefined, true],
    ["it is brought", { ...AT_REST, switchedAt: 3 }, 1, true],
    ["another is brought then", { ...AT_REST, switchedAt: 3 }, 2, false],
  ];
  for (const [name, standing, fill, isFine] of rows) {
    await t.step(name, async () => {
      await using host = await settled();
      const { rotation, state, asked, seal } = host;
      state.standing = standing;
      const brought = fill === undefined ? undefined : `${host.folder.path}/brought`;
      if (brought !== undefined) await writeKey(brought, fill ?? 0);
      if (isFine) await rotation.begin(brought);
      else await assertCode(rotation.begin(brought), "input.conflict");
      assertEquals([asked.length, state.woken, await isThere(seal.nextFile)], [0, 0, false] as unknown[]);
    });
  }
  await t.step("another host was faster", async () => {
    await using host = await settled();
    host.answers.push([]);
    await assertCode(host.rotation.begin(undefined), "input.conflict");
    assertEquals([host.state.woken, host.log.lines], [0, []] as unknown[]);
  });
});

Deno.test("KeyRotation.cancel() gives a key up, when there is one", async () => {
  await using host = await settled();
  host.state.turns = [true, false];
  await host.rotation.cancel();
  await assertCode(host.rotation.cancel(), "input.not-found");
});

Deno.test("readRotation() says how far it is", async () => {
  const read = async (seal: SealStanding, ...answers: (readonly Answer[])[]) => {
    const { db } = answeringStore([...answers]);
    Object.assign(db, { position: () => Promise.resolve({ sequence: 1, changeId: "c", seal }) });
    return await readRotation(db as PostgresDatabase);
  };
  const counts = [{ rows: 7, resealed: 3 }];
  const ids = { formerId: keys.id, nextId: next.id };
  assertEquals(await read(AT_REST), undefined);
  assertEquals(await read(ANNOUNCED, [{ name: "host-2" }], counts), {
    ...{ phase: "waiting", ...ids, waitingFor: ["host-2"], rows: 7, resealed: 3 },
  });
  assertEquals(await read(ANNOUNCED, [], counts), {
    ...{ phase: "sealing", ...ids, waitingFor: [], rows: 7, resealed: 3 },
  });
  const switched = { ...AT_REST, keyId: next.id, formerKeyId: keys.id, switchedAt: 4 };
  assertEquals(await read(switched, [{ name: "a\n" }], counts), {
    ...{ phase: "finishing", ...ids, waitingFor: ["?"], rows: 7, resealed: 7 },
  });
  assertEquals((await read({ ...switched, formerKeyId: undefined }, [], counts))?.formerId, "");
});
