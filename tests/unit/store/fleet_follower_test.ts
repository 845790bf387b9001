import { assert, assertEquals, assertRejects } from "@std/assert";
import { systemClock } from "../../../core/clock.ts";
import { Follower } from "../../../store/fleet/follower.ts";
import { SealKeys } from "../../../store/fleet/seal_keys.ts";
import { deriveKeys } from "../../../store/seal.ts";
import type { State } from "../../../store/state.ts";
import type { Writer } from "../../../store/writer.ts";
import { fleetTest, policyOf, until } from "./fleet_support.ts";
import { rule } from "./support.ts";

/** The next change fails here, after the store has it. */
function failOnce(state: State): void {
  const stop = state.onChange(() => {
    stop();
    throw new Error("planted");
  });
}

/** Waits until the store knows every host to have the last change in force. */
async function untilAllHaveIt(state: State): Promise<void> {
  await until("all say that they have it", async () => {
    const list = await state.fleet?.list().catch(() => []) ?? [];
    return list.length > 0 && list.every(({ applied }) => applied === state.fleet?.status.sequence);
  });
}

fleetTest("a change that fails in memory is made again, and only then told to be in force", async (stage) => {
  await using a = await stage.host("host-1");
  await using b = await stage.host("host-2");
  const client = await a.createClient("ci-1");
  const [gone] = await a.addRules("ci-1", [rule("gone.test"), rule("kept.test")]);
  assert(gone);
  await untilAllHaveIt(a);
  failOnce(b);
  await a.revokeHost("ci-1", "gone.test");
  await untilAllHaveIt(a);
  assert(stage.lines.some((line) => line.startsWith("host-2 error") && line.includes("planted")));
  assertEquals(b.isLive({ client, rule: gone }), false);
  assertEquals(policyOf(b), policyOf(a));
});

fleetTest("a change of this host's own that fails in memory is made from the store", async (stage) => {
  await using a = await stage.host("host-1");
  failOnce(a);
  await assertRejects(() => a.createClient("ci-1"), Error, "planted");
  await until("it is made", () => a.fleet?.status.sequence === 1);
  await untilAllHaveIt(a);
  await using b = await stage.host("host-2");
  assertEquals(policyOf(a), policyOf(b));
});

Deno.test("Follower.makeOwn() stands where it stood when a committed change is not made in memory", async () => {
  const log = { info: () => {}, warn: () => {}, error: () => {} };
  const seal = new SealKeys("mk", await deriveKeys(new Uint8Array(32)), log);
  const follower = new Follower(seal, systemClock());
  follower.begin({} as Writer, { sequence: 4, changeId: "a" });
  const change = () => {
    follower.moveTo({ sequence: 5, changeId: "b" });
    return Promise.reject(new Error("planted"));
  };
  await assertRejects(() => follower.makeOwn(change), Error, "planted");
  // A local copy that is taken now must not say that it has the change.
  assertEquals([follower.position.sequence, follower.inForce.sequence], [4, 4]);
});
