// deno-lint-ignore-file no-console
/**
 * Hosts of a fleet that come and go under a load of changes, on a server that is paused and killed now and then:
 * `deno run -A tests/soak/fleet.ts [--seconds 60]`. No host decides by a rule once the call that revoked it has said that it is gone
 * from all hosts: each decides all the time, and what it allowed is in its journal, whatever became of it. At the end all hosts have
 * the same policy. Hosts are processes without a data plane (`fleet_process.ts`).
 *
 * @module
 */
import { isDeepStrictEqual, parseArgs } from "node:util";
import { postgresMissing, PostgresServer } from "../support/postgres.ts";
import { HostProcess } from "./fleet_process.ts";

const HOSTS = 4;
/** Changes that are under way at a time. */
const CHANGERS = 2;
/** Between two things that go wrong. */
const TROUBLE_MS = 2_000;
/** The end: all have to be back within it. */
const SETTLE_MS = 60_000;

/** What was seen. */
export interface SoakResult {
  readonly revocations: number;
  /** Those of them that said that all hosts have them: after that, nobody may decide by them. */
  readonly everywhere: number;
  /** Decisions that allowed a request, on all hosts. */
  readonly allowed: number;
  /** How long before the end of such a call the last decision by its rule was, at the least. */
  readonly closestMs: number | undefined;
  readonly refused: number;
  readonly troubles: Readonly<Record<string, number>>;
}

interface Stage {
  readonly hosts: readonly HostProcess[];
  readonly server: PostgresServer;
  /** By the monotonic clock; 0 once something has failed. */
  endAt: number;
}

/** Runs it. @throws Error when a promise of a fleet was broken */
export async function soakFleet(seconds: number): Promise<SoakResult> {
  await using server = await PostgresServer.start();
  await using stack = new AsyncDisposableStack();
  const root = await Deno.makeTempDir({ prefix: "slicer-soak-fleet-" });
  stack.defer(() => Deno.remove(root, { recursive: true }));
  const hosts = Array.from({ length: HOSTS }, (_, i) => new HostProcess(`host-${i + 1}`, root, server));
  stack.defer(async () => void await Promise.all(hosts.map((host) => host.end("SIGKILL"))));
  for (const host of hosts) if (!await host.start()) throw new Error(`${host.name} does not start`);
  await hosts[0]?.ask("client");
  const stage: Stage = { hosts, server, endAt: performance.now() + seconds * 1_000 };
  const counts = { revocations: 0, refused: 0 };
  /** When calls returned that said that a rule is gone from all hosts. */
  const gone = new Map<string, number>();
  const troubles: Record<string, number> = {};
  const work = [
    ...Array.from({ length: CHANGERS }, (_, i) => change(stage, i, { counts, gone })),
    trouble(stage, troubles),
  ];
  const ends = await Promise.allSettled(work.map((each) =>
    each.catch((error) => {
      stage.endAt = 0; // nothing of it goes on when the hosts are ended
      throw error;
    })
  ));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
  await settle(hosts);
  await Promise.all(hosts.map((host) => host.end()));
  return { ...counts, everywhere: gone.size, ...await readJournals(hosts, gone), troubles };
}

/** Adds and revokes rules, on another host each time, until the end. */
async function change(
  stage: Stage,
  own: number,
  { counts, gone }: {
    readonly counts: { revocations: number; refused: number };
    readonly gone: Map<string, number>;
  },
): Promise<void> {
  for (let i = own; performance.now() < stage.endAt; i += CHANGERS) {
    const host = stage.hosts[i % HOSTS];
    const other = stage.hosts[(i * 7 + 3) % HOSTS];
    const name = `r${i}.test`;
    const added = await host?.ask("add", name);
    if (added && added.error === undefined) await pause(Math.random() * 20); // it is used
    const revoked = await other?.ask("revoke", name);
    if (!revoked?.spread || revoked.returnedAt === undefined) {
      counts.refused++;
      await pause(20);
      continue;
    }
    counts.revocations++;
    const { isUnknown, waitingFor } = revoked.spread;
    if (!isUnknown && waitingFor.length === 0) gone.set(name, revoked.returnedAt);
  }
}

/** Kills and stops until the end. */
async function trouble(stage: Stage, troubles: Record<string, number>): Promise<void> {
  const { server } = stage;
  const again = async (host: HostProcess) => {
    while (stage.endAt > 0 && !await host.start()) await pause(200);
  };
  const kinds: Readonly<Record<string, (host: HostProcess) => Promise<void>>> = {
    "host killed": async (host) => {
      await host.end("SIGKILL");
      await again(host);
    },
    "server killed": async () => {
      await server.crash();
      await server.begin();
    },
    "host stopped": async (host) => {
      await host.end();
      await again(host);
    },
    "host killed without its server": async (host) => {
      await server.crash();
      await host.end("SIGKILL");
      await host.start(); // from its copy, where it may
      await server.begin();
      if (!host.isUp) await again(host);
    },
    "server paused": async () => {
      const resume = await server.pause();
      await pause(2_000);
      resume();
    },
  };
  const names = Object.keys(kinds);
  for (let i = 0; performance.now() < stage.endAt; i++) {
    await pause(Math.min(TROUBLE_MS, Math.max(0, stage.endAt - performance.now())));
    const name = names[i % names.length] ?? "";
    const host = stage.hosts[i % HOSTS];
    if (!host || performance.now() >= stage.endAt) return;
    await kinds[name]?.(host);
    troubles[name] = (troubles[name] ?? 0) + 1;
  }
}

/** Waits until all have the same policy. */
async function settle(hosts: readonly HostProcess[]): Promise<void> {
  const endAt = performance.now() + SETTLE_MS;
  for (;;) {
    const policies = await Promise.all(hosts.map(async (host) => (await host.ask("policy"))?.policy));
    const [first] = policies;
    if (JSON.stringify(first)?.includes('"ci"') && policies.every((each) => isDeepStrictEqual(each, first))) {
      return;
    }
    if (performance.now() > endAt) {
      throw new Error(`the hosts do not agree:\n${policies.map((each) => JSON.stringify(each)).join("\n")}`);
    }
    await pause(200);
  }
}

/** @throws Error when a request was allowed after its rule had gone from all hosts */
async function readJournals(
  hosts: readonly HostProcess[],
  gone: ReadonlyMap<string, number>,
): Promise<Pick<SoakResult, "allowed" | "closestMs">> {
  let allowed = 0;
  let closestMs = Infinity;
  for (const { name, journal } of hosts) {
    for (const line of (await Deno.readTextFile(journal)).split("\n")) {
      const [rule = "", at] = line.split(" ");
      if (at === undefined) continue;
      allowed++;
      const beforeMs = (gone.get(rule) ?? Infinity) - Number(at);
      if (beforeMs < 0) {
        throw new Error(
          `${name} allowed a request to ${rule} ${-beforeMs} ms after it was revoked on all hosts`,
        );
      }
      closestMs = Math.min(closestMs, beforeMs);
    }
  }
  return { allowed, closestMs: closestMs === Infinity ? undefined : closestMs };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

if (import.meta.main) {
  const { values } = parseArgs({
    args: [...Deno.args],
    options: { seconds: { type: "string", default: "60" } },
  });
  const missing = await postgresMissing();
  if (missing !== undefined) throw new Error(missing);
  console.log(JSON.stringify(await soakFleet(Number(values.seconds)), null, 2));
}
