/** The seal key is replaced while everything goes on: over `kill -9` before each step nothing is lost, and one key opens all. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { systemClock } from "../../core/clock.ts";
import { ProxyError } from "../../core/errors.ts";
import { Database } from "../../store/kv.ts";
import { deriveKeys, unseal } from "../../store/seal.ts";
import { State } from "../../store/state.ts";

const SECRETS = 30;
/** Large values: the rows take several commits. */
const VALUE_CHARS = 40_000;

/** A state with secrets and a client, and the seal key that it was made with. */
interface Made {
  readonly token: string;
  readonly key: string;
  readonly secrets: ReadonlyMap<string, string>;
}

async function makeState(dir: string): Promise<Made> {
  await using state = await State.open({ dir, clock: systemClock() });
  const { token } = await state.createClient("one");
  const secrets = new Map<string, string>();
  for (let n = 0; n < SECRETS; n++) {
    const value = `value-${n}-`.padEnd(VALUE_CHARS, String(n));
    secrets.set(`key-${n}`, value);
    const input = { name: `key-${n}`, host: "api.example.com", type: "bearer", value, cleartext: false };
    await state.putSecret(input, { force: false });
  }
  return { token, secrets, key: await Deno.readTextFile(`${dir}/mk`) };
}

function keyOf(hex: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(hex.trim().match(/../g)?.map((pair) => parseInt(pair, 16)) ?? []);
}

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { mode: 0o700 });
  for await (const { name, isFile } of Deno.readDir(from)) {
    if (isFile) await Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
  }
}

async function child(dir: string, killAt: number, brought?: string): Promise<string> {
  const { stdout, stderr, signal } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--unstable-kv", "-A", "--config", new URL("../../deno.json", import.meta.url).pathname],
      ...[new URL("./reseal_child.ts", import.meta.url).pathname, dir, String(killAt)],
      ...(brought === undefined ? [] : [brought]),
    ],
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert(signal === "SIGKILL" || text !== "", new TextDecoder().decode(stderr));
  return text;
}

/** Everything is there, and nothing of it is opened by `formerKey`, when it is not the one in force. */
async function checkState(dir: string, made: Made, formerKeys: readonly string[], sealKeyFile?: string) {
  {
    await using state = await State.open({ dir, clock: systemClock(), sealKeyFile });
    assertEquals(state.clientByToken(made.token)?.name, "one");
    assertEquals(
      new Map(state.listSecrets().map(({ name }) => [name, state.secretValue(name)?.value])),
      new Map<string, string | undefined>(made.secrets),
    );
  }
  using db = await Database.open(dir);
  assertEquals(await Array.fromAsync(db.rows(["resealed"])), [], "nothing is left in between");
  for (const former of formerKeys) {
    const { sealing } = await deriveKeys(keyOf(former));
    assertEquals(await unseal(sealing, ["check"], db.sealCheck ?? new Uint8Array()), undefined);
    for await (const { value } of db.rows(["secret"])) {
      const { sealed, host, type } = value as { sealed: Uint8Array<ArrayBuffer>; host: string; type: string };
      for (const name of made.secrets.keys()) {
        assertEquals(await unseal(sealing, ["secret", name, host, type], sealed), undefined);
      }
    }
  }
}

Deno.test("seal-key rotate loses nothing when it is killed before any step, and goes on afterwards", async (t) => {
  const root = await Deno.makeTempDir({ prefix: "slicer-reseal-" });
  try {
    const made = await makeState(`${root}/state`);
    await copyFolder(`${root}/state`, `${root}/whole`);
    const steps = Number(/steps=(\d+)/.exec(await child(`${root}/whole`, 0))?.[1]);
    assert(steps > 8, `${steps} steps`);
    await checkState(`${root}/whole`, made, [made.key]);
    assertEquals(await Deno.readTextFile(`${root}/whole/mk.previous`), made.key);
    for (let killAt = 1; killAt <= steps; killAt++) {
      await t.step(`before step ${killAt} of ${steps}`, async () => {
        const dir = `${root}/killed-${killAt}`;
        await copyFolder(`${root}/state`, dir);
        await child(dir, killAt);
        await checkState(dir, made, []);
        const between = await Deno.readTextFile(`${dir}/mk`);
        {
          await using state = await State.open({ dir, clock: systemClock() });
          await state.rotateSealKey();
        }
        await checkState(dir, made, [made.key, between]);
        await Deno.remove(dir, { recursive: true });
      });
    }
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("seal-key rotate takes a key that is brought, of which nothing is moved", async (t) => {
  const root = await Deno.makeTempDir({ prefix: "slicer-reseal-" });
  try {
    const made = await makeState(`${root}/state`);
    const brought = `${root}/brought`;
    await Deno.writeTextFile(brought, `${"5a".repeat(32)}\n`, { mode: 0o600 });
    await copyFolder(`${root}/state`, `${root}/whole`);
    const steps = Number(/steps=(\d+)/.exec(await child(`${root}/whole`, 0, brought))?.[1]);
    await checkState(`${root}/whole`, made, [made.key], brought);
    assertEquals(await Deno.readTextFile(`${root}/whole/mk`), made.key);
    const wrong = await assertRejects(
      () => State.open({ dir: `${root}/whole`, clock: systemClock() }),
      ProxyError,
    );
    assertEquals(wrong.code, "seal.key-wrong");
    assertMatch(wrong.message, /\(its key is [0-9a-f]{16}, and this one [0-9a-f]{16}\)$/);
    for (let killAt = 1; killAt <= steps; killAt++) {
      await t.step(`killed before step ${killAt} of ${steps}`, async () => {
        const dir = `${root}/killed-${killAt}`;
        await copyFolder(`${root}/state`, dir);
        await child(dir, killAt, brought);
        const isNew = await checkState(dir, made, [made.key], brought).then(() => true, () => false);
        await checkState(dir, made, [], isNew ? brought : undefined);
        await Deno.remove(dir, { recursive: true });
      });
    }
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
