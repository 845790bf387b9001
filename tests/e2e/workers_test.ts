/** Several threads that behave as one: one policy, one set of limits, one log, and no crash that others notice. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { parseRule } from "../../policy/rule.ts";
import { isProxyError } from "../../core/errors.ts";
import { readRequest, startRawUpstream } from "../support/echo_upstream.ts";
import { basic, dialRaw, type RawPeer } from "../support/raw_peer.ts";
import { startWorkersStage } from "../support/start_workers.ts";
import { settled, soon, waitUntil } from "../support/sockets.ts";
import {
  allow,
  ask,
  closeAll,
  connect,
  get,
  living,
  MANY,
  openTunnels,
  openTunnelsAtLast,
  startUpstream,
} from "../support/worker_peers.ts";

Deno.test("workers: every request is served and logged once, in one order", async () => {
  await using upstream = await startUpstream();
  await using stage = await startWorkersStage();
  await allow(stage, upstream);
  const tunnels = await openTunnels(stage, upstream);
  const rounds = 5;
  for (let round = 0; round < rounds; round++) {
    const statuses = await Promise.all(tunnels.map((tunnel) => get(tunnel, upstream)));
    assertEquals(new Set(statuses), new Set([200]));
  }
  await waitUntil("all is logged", () => stage.records.length === MANY * rounds);
  const times = stage.records.map(({ timeMs }) => timeMs);
  assertEquals(times, times.toSorted((a, b) => a - b));
  assertEquals(stage.workers.counters().openTunnels, MANY);
  closeAll(tunnels);
  await waitUntil("they are over", () => stage.workers.counters().connections === 0);
  assertEquals(stage.errors, []);
});

Deno.test("workers: after a flush the log has what was decided in any of them", async () => {
  await using upstream = await startUpstream();
  await using stage = await startWorkersStage();
  await allow(stage, upstream);
  const tunnels = await openTunnels(stage, upstream);
  for (let round = 1; round <= 20; round++) {
    await Promise.all(tunnels.map((tunnel) => get(tunnel, upstream)));
    await stage.workers.flush();
    await stage.audit.written();
    assertEquals(stage.records.length, round * MANY);
  }
  closeAll(tunnels);
});

Deno.test("workers: a change is in force in all of them before the call that made it returns", async () => {
  await using upstream = await startUpstream();
  await using stage = await startWorkersStage();
  for (let round = 0; round < 10; round++) {
    await allow(stage, upstream);
    const allowed = await Promise.all(Array.from({ length: MANY }, () => connect(stage, upstream)));
    assertEquals(new Set(allowed), new Set([200]));
    await stage.state.revokeHost("one", "localhost");
    const denied = await Promise.all(Array.from({ length: MANY }, () => connect(stage, upstream)));
    assertEquals(new Set(denied), new Set([403]));
  }
  await stage.state.rotateClient("one");
  const unknown = await Promise.all(Array.from({ length: MANY }, () => connect(stage, upstream)));
  const known = unknown.filter((status) => status !== 407 && status !== 429); // guesses are throttled
  assertEquals(known, []);
});

Deno.test("workers: a revocation ends what the rule had opened in any of them", async () => {
  await using upstream = await startUpstream();
  await using stage = await startWorkersStage();
  await allow(stage, upstream);
  const tunnels = await openTunnels(stage, upstream);
  assertEquals((await living(tunnels, upstream)).length, MANY);
  await stage.state.revokeHost("one", "localhost");
  await waitUntil("every grant is gone", () => stage.workers.counters().connections === 0);
  assertEquals((await living(tunnels, upstream)).length, 0);
  closeAll(tunnels);
});

Deno.test("workers: limits count across all of them", async () => {
  await using upstream = await startUpstream();
  const most = 7;
  await using stage = await startWorkersStage({ limits: { maxConnectionsPerClient: most } });
  await allow(stage, upstream);
  const open: RawPeer[] = [];
  for (let i = 0; i < most; i++) open.push(...await openTunnels(stage, upstream, 1));
  for (let i = 0; i < 6; i++) assertEquals(await connect(stage, upstream), 429);
  open.pop()?.[Symbol.dispose]();
  await waitUntil("a place is free", () => stage.workers.counters().connections === most - 1);
  assertEquals(await connect(stage, upstream), 200);
  closeAll(open);
});

Deno.test("workers: a new host counts once in all of them, and not where the main thread has its certificate", async () => {
  await using stage = await startWorkersStage({
    limits: { maxMintsPerClientPerMinute: 2 },
    isWarm: (host) => host.endsWith(".warm.test"),
  });
  await stage.state.addRule("one", parseRule({ host: "*.test" }));
  const minute = () => Math.floor(Date.now() / 60_000);
  const statuses = async (host: string) => {
    const asked = Array.from({ length: MANY }, () => ask(stage, `${host}:443`));
    return [...new Set(await Promise.all(asked))];
  };
  for (let began = -1; began !== minute();) { // again, when a minute has ended meanwhile
    began = minute();
    const hosts = [`a${began}.test`, `b${began}.test`, "x.warm.test", "y.warm.test", `c${began}.test`];
    const answers = [];
    for (const host of hosts) answers.push(await statuses(host));
    if (began === minute()) assertEquals(answers, [[200], [200], [200], [200], [429]]);
  }
});

for (const act of ["throw", "reject"] as const) {
  Deno.test(`workers: one that dies (${act}) is replaced, and the others' connections go on`, async () => {
    await using upstream = await startUpstream();
    await using stage = await startWorkersStage();
    await allow(stage, upstream);
    const tunnels = await openTunnels(stage, upstream);
    await living(tunnels, upstream);
    stage.tell(2, act);
    await waitUntil("it is replaced", () => stage.workers.replaced === 1);
    const left = await living(tunnels, upstream);
    assert(left.length > 0 && left.length < MANY, `${left.length} of ${MANY} are left`);
    assertEquals(stage.workers.counters().connections, left.length); // the dead one's count for nothing
    assertMatch(
      stage.errors.join("\n"),
      /^worker 2 is replaced, and its connections have ended: .*it died: .*told to/,
    );
    // The policy that the new one has is the present one.
    await stage.state.revokeHost("one", "localhost");
    await allow(stage, upstream);
    await waitUntil("what was open ends", () => stage.workers.counters().connections === 0);
    const again = await openTunnels(stage, upstream);
    assertEquals((await living(again, upstream)).length, MANY);
    await waitUntil(
      "all is logged",
      () => stage.records.filter(({ status }) => status === 200).length >= 2 * MANY + left.length,
    );
    closeAll([...tunnels, ...again]);
  });
}

Deno.test("workers: one that leaves without a word is noticed and replaced", async () => {
  await using upstream = await startUpstream();
  await using stage = await startWorkersStage({ silenceLimitMs: 2_000 });
  await allow(stage, upstream);
  stage.tell(1, "leave");
  await waitUntil("it is replaced", () => stage.workers.replaced >= 1);
  assertMatch(stage.errors.join("\n"), /it gives no sign of life/);
  const tunnels = await openTunnelsAtLast(stage, upstream);
  assertEquals((await living(tunnels, upstream)).length, MANY);
  closeAll(tunnels);
});

Deno.test("workers: one that hangs holds up no change for long, and admits nothing afterwards", async () => {
  await using upstream = await startUpstream();
  await using stage = await startWorkersStage({ count: 2, applyLimitMs: 1_500 });
  await allow(stage, upstream);
  const tunnels = await openTunnels(stage, upstream);
  await living(tunnels, upstream);
  const before = upstream.seen.length;
  using hanging = await stage.hang(1);
  // Requests that wait in the one that hangs when the rule goes:
  const asked = tunnels.map((tunnel) => get(tunnel, upstream).catch(() => 0));
  await Promise.race(asked); // the other worker serves
  await settled(() => upstream.seen.length);
  const seenByThen = upstream.seen.length;
  await stage.state.revokeHost("one", "localhost"); // returns although it hangs still
  hanging[Symbol.dispose]();
  const answers = await soon("the answers", Promise.all(asked));
  assert(answers.some((status) => status === 200), "nobody was served by the other worker");
  assert(answers.some((status) => status !== 200), "nobody waited in the one that hung");
  assert(seenByThen > before);
  assertEquals(upstream.seen.length, seenByThen); // what came after the change went nowhere
  assertMatch(stage.errors.join("\n"), /does not do what it is told/);
  closeAll(tunnels);
});

Deno.test("workers: none of them takes a request while the audit log cannot be written", async () => {
  await using upstream = await startUpstream();
  let isDiskFull = false;
  await using stage = await startWorkersStage({ isDiskFull: () => isDiskFull });
  await allow(stage, upstream);
  const tunnels = await openTunnels(stage, upstream);
  const probes = await openTunnels(stage, upstream);
  assertEquals((await living(tunnels, upstream)).length, MANY);
  isDiskFull = true;
  // The first ones notice. Each of these is closed by its refusal, and then its worker knows.
  await soon(
    "all of them know",
    Promise.all(probes.map(async (probe) => {
      while (await get(probe, upstream) !== 503);
    })),
  );
  closeAll(probes);
  const seen = upstream.seen.length;
  const refused = await Promise.all(tunnels.map((tunnel) => get(tunnel, upstream)));
  assertEquals(new Set(refused), new Set([503]));
  assertEquals(upstream.seen.length, seen);
  isDiskFull = false;
  await waitUntil(
    "the log recovers",
    () => stage.records.some(({ reason }) => reason === "audit-write-failed"),
  );
  closeAll(tunnels);
});

Deno.test("workers: no thread dials a port on which another ends TLS, or the API", async () => {
  await using stage = await startWorkersStage();
  const api = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  stage.workers.addOwnPort(api.addr.port);
  await stage.state.addRule(
    "one",
    parseRule({ host: "127.0.0.1", ports: [api.addr.port, stage.port], passthrough: true }),
  );
  for (const port of [api.addr.port, stage.port]) {
    for (let i = 0; i < 9; i++) {
      using peer = await dialRaw(stage.port);
      const target = `127.0.0.1:${port}`;
      await peer.send(
        `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(stage.token)}\r\n\r\n`,
      );
      assertMatch(
        (await peer.readResponse()).head,
        /^HTTP\/1\.1 403 [^]*x-slicer-proxy-reason: own-address\r\n/i,
      );
    }
  }
  api.close();
});

Deno.test("workers: a port that somebody has is not shared with them", async () => {
  await using stage = await startWorkersStage({ count: 2 });
  const where = { hostname: "127.0.0.1", port: stage.port };
  const error = await startWorkersStage({ count: 2, listen: [where] }).then(
    async (second) => {
      await second[Symbol.asyncDispose]();
      return undefined;
    },
    (error) => error,
  );
  assert(isProxyError(error, "listen.failed"), String(error));
});

Deno.test("workers: a stop lets requests under way finish, and leaves nothing", async () => {
  const arrived = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  await using upstream = await startRawUpstream(async (peer) => {
    await readRequest(peer);
    arrived.resolve();
    await go.promise;
    await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  }, { names: ["localhost"] });
  const stage = await startWorkersStage({ count: 2, limits: { drainTimeoutMs: 5_000 } });
  await allow(stage, upstream);
  const [busy] = await openTunnels(stage, upstream, 1);
  assert(busy);
  const status = get(busy, upstream);
  await arrived.promise;
  const stopped = Promise.resolve(stage[Symbol.asyncDispose]());
  await waitUntil("the port is closed", async () => {
    try {
      using peer = await dialRaw(stage.port);
      return await peer.isClosed();
    } catch {
      return true;
    }
  });
  go.resolve();
  assertEquals(await status, 200);
  await soon("the stop", stopped);
  assertEquals(stage.records.map(({ verdict, status }) => [verdict, status]), [["allow", 200]]);
  busy[Symbol.dispose]();
});

Deno.test("workers: each of them hands out the CA", async () => {
  await using stage = await startWorkersStage();
  const answers = await Promise.all(Array.from({ length: MANY }, async () => {
    using peer = await dialRaw(stage.port);
    await peer.send("GET /ca.crt HTTP/1.1\r\nHost: proxy\r\n\r\n".repeat(3));
    for (let i = 0; i < 2; i++) await peer.readResponse();
    return (await peer.readResponse()).body;
  }));
  assertEquals(new Set(answers), new Set([stage.caPem]));
});
