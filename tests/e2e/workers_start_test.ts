/** Threads that come and go: a change is lost in none of them, a start that fails leaves nothing, a stop is short. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { isProxyError } from "../../core/errors.ts";
import { parseRule } from "../../policy/rule.ts";
import { startWorkersStage } from "../support/start_workers.ts";
import { soon, waitUntil } from "../support/sockets.ts";
import {
  allow,
  closeAll,
  connect,
  get,
  living,
  MANY,
  openTunnels,
  openTunnelsAtLast,
  startUpstream,
} from "../support/worker_peers.ts";
import type { RawPeer } from "../support/raw_peer.ts";

Deno.test("workers: a change that is made while they start is lost in none of them", async () => {
  await using upstream = await startUpstream();
  const change: Promise<unknown>[] = [];
  await using stage = await startWorkersStage({
    // The first of them has its policy by then, and the others are still loading.
    onSnapshot: (state) => {
      if (change.length > 0) return;
      change.push(state.addRule("one", parseRule({ host: "localhost", ports: [upstream.port] })));
    },
  });
  await Promise.all(change);
  const answers = await Promise.all(Array.from({ length: MANY }, () => connect(stage, upstream)));
  assertEquals(new Set(answers), new Set([200]));
});

Deno.test("workers: changes are in force in one that is being replaced, from its first request on", async () => {
  await using upstream = await startUpstream();
  await using stage = await startWorkersStage();
  let served = 0;
  for (let round = 0; round < 60; round++) {
    if (round % 10 === 0) stage.tell(round % 3 + 1, "throw"); // it comes back some rounds later
    const isAllowed = round % 2 === 0;
    if (isAllowed) await allow(stage, upstream);
    else await stage.state.revokeHost("one", "localhost");
    const answers = await Promise.all(
      Array.from({ length: MANY }, () => connect(stage, upstream).catch(() => 0)),
    );
    const answered = answers.filter((status) => status > 0); // 0: it was dealt to one that died just then
    served += answered.length;
    assertEquals(answered.filter((status) => status !== (isAllowed ? 200 : 403)), [], `round ${round}`);
  }
  assert(stage.workers.replaced >= 3, `${stage.workers.replaced} were replaced`);
  assert(served > 30 * MANY, `${served} were answered`);
});

Deno.test("workers: what one had to log when it died is in the log", async () => {
  await using upstream = await startUpstream();
  await using stage = await startWorkersStage();
  await allow(stage, upstream);
  const tunnels = await openTunnels(stage, upstream);
  for (const plane of [1, 2, 3]) stage.tell(plane, "hold");
  assertEquals((await living(tunnels, upstream)).length, MANY);
  assertEquals(stage.records.filter(({ status }) => status === 200), []);
  for (const plane of [1, 2, 3]) stage.tell(plane, plane === 2 ? "reject" : "throw");
  await waitUntil("all of it is logged", () => stage.records.filter((r) => r.status === 200).length === MANY);
  closeAll(tunnels);
});

Deno.test("workers: one that hangs for good keeps no new connection waiting", async () => {
  await using upstream = await startUpstream();
  await using stage = await startWorkersStage({ applyLimitMs: 1_500 });
  using _hanging = await stage.hang(1);
  await allow(stage, upstream); // and it is given up
  await waitUntil("it is replaced", () => stage.workers.replaced === 1);
  // What had been dealt to it by then is reset.
  const first = Array.from({ length: MANY }, () => connect(stage, upstream).catch(() => 0));
  assert((await soon("answers or resets", Promise.all(first), 30_000)).includes(200));
  const tunnels: RawPeer[] = await openTunnelsAtLast(stage, upstream);
  for (let round = 0; round < 3; round++) {
    tunnels.push(...await soon("tunnels", openTunnels(stage, upstream), 30_000));
  }
  assertEquals((await living(tunnels, upstream)).length, 4 * MANY);
  assertEquals(stage.errors.length, 1, stage.errors.join("\n"));
  closeAll(tunnels);
});

Deno.test("workers: a start that fails says why, and leaves nothing running", async () => {
  const drainTimeoutMs = 60_000;
  const startedAt = performance.now();
  const error = await startWorkersStage({ module: "worker_stage_failing.ts", limits: { drainTimeoutMs } })
    .then(
      () => undefined,
      (error) => error,
    );
  assert(isProxyError(error, "internal"), String(error));
  assertMatch(error.message, /^Cannot go on with a worker: it died: .*told to$/);
  // Nobody is waited for who is not there yet: that is two drain time-outs at least.
  assert(performance.now() - startedAt < drainTimeoutMs, `it took ${performance.now() - startedAt} ms`);
});

Deno.test("workers: those that are slow to load are not taken for lost", async () => {
  await using stage = await startWorkersStage({ module: "worker_stage_slow.ts", silenceLimitMs: 1_500 });
  assert(stage.port > 0);
});

Deno.test("workers: they know at once that the audit log cannot be written", async () => {
  await using upstream = await startUpstream();
  let isDiskFull = false;
  await using stage = await startWorkersStage({ isDiskFull: () => isDiskFull });
  await allow(stage, upstream);
  const tunnels = await openTunnels(stage, upstream);
  assertEquals((await living(tunnels, upstream)).length, MANY);
  await waitUntil("all is logged", () => stage.records.length === MANY);
  isDiskFull = true;
  assertEquals(await get(tunnels[0] as RawPeer, upstream), 200);
  await waitUntil("the log notices", () => !stage.isAuditWritable());
  const refused = await Promise.all(tunnels.map((tunnel) => get(tunnel, upstream)));
  assertEquals(new Set(refused), new Set([503]));
  isDiskFull = false;
  await waitUntil("the log recovers", () => stage.isAuditWritable());
  const again = await openTunnels(stage, upstream);
  assertEquals((await living(again, upstream)).length, MANY);
  closeAll([...tunnels, ...again]);
});
