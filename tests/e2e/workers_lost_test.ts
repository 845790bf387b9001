/** Workers that are lost: what was open in them has one line in the audit log, and nothing has two. */
import { assert, assertEquals } from "@std/assert";
import { parseRule } from "../../policy/rule.ts";
import { readRequest, startRawUpstream } from "../support/echo_upstream.ts";
import { basic, dialRaw, type RawPeer } from "../support/raw_peer.ts";
import { startWorkersStage, type WorkersStage } from "../support/start_workers.ts";
import { waitUntil } from "../support/sockets.ts";
import { closeAll, MANY, openTunnels } from "../support/worker_peers.ts";

const WORKERS = 3;

/** An upstream that reads heads and never answers, and how many it has read. */
async function startSilent() {
  let heads = 0;
  const upstream = await startRawUpstream(async (peer) => {
    try {
      await peer.readHead();
      heads++;
      await peer.readAll();
    } catch {
      // It ends with the worker.
    }
  }, { names: ["localhost"] });
  return { upstream, heads: () => heads };
}

/** An upload that has begun and does not end. */
async function upload(tunnel: RawPeer, port: number): Promise<void> {
  await tunnel.send(
    `POST /private/path HTTP/1.1\r\nHost: localhost:${port}\r\nContent-Length: 100\r\n\r\nsome`,
  );
}

/** What it says of the requests that were lost, once there are `count` of them and every worker is replaced. */
async function lost(stage: WorkersStage, count: number) {
  await waitUntil("all workers are replaced", () => stage.workers.replaced === WORKERS);
  await waitUntil("each has a line", () => stage.records.length >= count);
  await stage.workers.flush();
  await stage.audit.written();
  return stage.records;
}

for (const act of ["throw", "leave"] as const) {
  Deno.test(`workers: uploads under way in workers that are lost (${act}) have one line each`, async () => {
    const { upstream, heads } = await startSilent();
    await using _ = upstream;
    await using stage = await startWorkersStage({ count: WORKERS, silenceLimitMs: 5_000 });
    await stage.state.addRule("one", parseRule({ host: "localhost", ports: [upstream.port] }));
    const tunnels = await openTunnels(stage, upstream);
    await Promise.all(tunnels.map((tunnel) => upload(tunnel, upstream.port)));
    await waitUntil("all are under way", () => heads() === MANY);
    for (let plane = 1; plane <= WORKERS; plane++) stage.tell(plane, act);
    const records = await lost(stage, MANY);
    const said = records.map(({ origin, timeMs: _, ...record }) => {
      assert(origin?.src.startsWith("127.0.0.1:"));
      return record;
    });
    const line = {
      ...{ verdict: "allow", client: "one", method: "POST", scheme: "https", host: "localhost" },
      ...{ port: upstream.port, reason: "worker-lost", repeated: 1 },
    };
    assertEquals(said.map(defined), Array.from({ length: MANY }, () => line));
    assertEquals(new Set(records.map(({ origin }) => origin?.src)).size, MANY);
    closeAll(tunnels);
  });
}

Deno.test("workers: a request whose end was logged has no second line when its worker is lost", async () => {
  await using upstream = await startRawUpstream(async (peer) => {
    while (await readRequest(peer)) {
      await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
  }, { names: ["localhost"] });
  await using stage = await startWorkersStage({ count: WORKERS });
  await stage.state.addRule("one", parseRule({ host: "localhost", ports: [upstream.port] }));
  const tunnels = await openTunnels(stage, upstream);
  for (const tunnel of tunnels) {
    await tunnel.send(`GET / HTTP/1.1\r\nHost: localhost:${upstream.port}\r\n\r\n`);
    await tunnel.readResponse();
  }
  for (let plane = 1; plane <= WORKERS; plane++) stage.tell(plane, "throw");
  const records = await lost(stage, MANY);
  assertEquals(records.map(({ status, reason }) => [status, reason]), Array(MANY).fill([200, undefined]));
  closeAll(tunnels);
});

Deno.test("workers: passthrough tunnels of a worker that is lost have one line each", async () => {
  const { upstream } = await startSilent();
  await using _ = upstream;
  await using stage = await startWorkersStage({ count: WORKERS });
  await stage.state.addRule(
    "one",
    parseRule({ host: "localhost", ports: [upstream.port], passthrough: true }),
  );
  const target = `localhost:${upstream.port}`;
  const peers: RawPeer[] = [];
  for (let i = 0; i < MANY; i++) {
    const peer = await dialRaw(stage.port);
    await peer.send(
      `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(stage.token)}\r\n\r\n`,
    );
    assertEquals((await peer.readHead()).slice(9, 12), "200");
    peers.push(peer);
  }
  for (let plane = 1; plane <= WORKERS; plane++) stage.tell(plane, "throw");
  const records = await lost(stage, MANY);
  assertEquals(
    records.map(({ verdict, client, host, reason }) => [verdict, client, host, reason]),
    Array(MANY).fill(["passthrough", "one", "localhost", "worker-lost"]),
  );
  closeAll(peers);
});

function defined(record: object): object {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}
