// deno-lint-ignore-file no-console
/**
 * `kill -9` of the host that renews a login, at each point of the renewal and at random ones: never two renewals of one token,
 * never a lost one. `SLICER_LOGIN_KILLS` says how often; several hosts are killed side by side, each over a login of its own, and
 * one survivor follows them all. What a host had done when it was killed is read from the store and from the provider.
 */
import { assert, assertEquals } from "@std/assert";
import { parseStoreAddress } from "../../store/postgres/address.ts";
import { PostgresDatabase } from "../../store/postgres/database.ts";
import type { State } from "../../store/state.ts";
import { LoginChild, LoginHost, putLogin } from "../support/fleet_login.ts";
import { RotatingProvider } from "../support/rotating_provider.ts";
import { type FleetStage, fleetTest, until } from "../unit/store/fleet_support.ts";

/** Where a host is killed: what it has then committed (the mark, the new login), and whether it has asked the provider. */
const POINTS: readonly (readonly [point: string, commits: number, asked: number])[] = [
  ["before mark", 0, 0],
  ["after mark", 1, 0],
  ["before asking", 1, 0],
  ["answered", 1, 1],
  ["before commit", 1, 1],
  ["after commit", 2, 1],
];
const KILLS = Number(Deno.env.get("SLICER_LOGIN_KILLS") ?? POINTS.length);
/** Hosts that are killed side by side. */
const LANES = 8;
/** Of which a host that starts may take two seconds. A lease is half as long again, and waited for by whoever follows. */
const LIMIT_MS = 4_000;
const LEASE_MS = 1.5 * LIMIT_MS;
/** How long the provider thinks at most, so that some kills fall within. */
const LONGEST_ANSWER_MS = 60;

interface Scene {
  readonly stage: FleetStage;
  /** The survivor. */
  readonly state: State;
  /** Looks into the store beside it. */
  readonly db: PostgresDatabase;
}

/** How long a renewal takes here and now, as the last one that was not cut short: kills at random fall within, or a little later. */
let renewalMs = 200;

/** What is known of one kill when all is over. */
interface Kill {
  readonly commits: number;
  readonly asked: number;
}

fleetTest("a host that is killed while it renews is followed by another, wherever it was", async (stage) => {
  await using state = await stage.host("survivor");
  await using db = await PostgresDatabase.open({
    address: parseStoreAddress(stage.server.url),
    password: () => Promise.resolve("change-me"),
    caPem: await Deno.readTextFile(stage.server.caFile),
    ...{ fleet: "default", timeoutMs: 20_000, name: "test", host: "test", now: () => Date.now() },
  });
  const scene = { stage, state, db };
  const counts = new Map<string, number>();
  let next = 0;
  let isFailed = false;
  const lane = async (name: string) => {
    let child = new LoginChild(stage, name, LIMIT_MS);
    try {
      for (let i = next++; i < KILLS && !isFailed; i = next++) {
        const point = POINTS[i % (2 * POINTS.length)]; // the other half at random
        const killed = child;
        const { commits, asked } = await killOnce(scene, { login: `login-${i}`, name, child, point }, () => {
          child = new LoginChild(stage, name, LIMIT_MS);
        });
        await killed[Symbol.asyncDispose]();
        if (point) assertEquals([commits, asked], point.slice(1), `killed ${point[0]}`);
        const where = `${point ? "at a point" : "at random"}: ${commits} commits, ${asked} asked`;
        counts.set(where, (counts.get(where) ?? 0) + 1);
      }
    } catch (error) {
      isFailed = true;
      throw error;
    } finally {
      await child[Symbol.asyncDispose]();
    }
  };
  const lanes = Array.from({ length: Math.min(LANES, KILLS) }, (_, i) => lane(`victim-${i + 1}`));
  const ends = await Promise.allSettled(lanes);
  for (const end of ends) if (end.status === "rejected") throw end.reason;
  assertEquals([...counts.values()].reduce((sum, count) => sum + count, 0), KILLS);
  if (KILLS > POINTS.length) {
    console.log([...counts].map(([where, count]) => `${count} × ${where}`).sort().join("\n"));
  }
});

/** Kills the child, lets the survivor follow it, and checks the promises. `onKilled` is called in between. */
async function killOnce(
  { stage, state, db }: Scene,
  { login, name, child, point }: {
    readonly login: string;
    readonly name: string;
    readonly child: LoginChild;
    readonly point: (typeof POINTS)[number] | undefined;
  },
  onKilled: () => void,
): Promise<Kill> {
  await using provider = new RotatingProvider(`${login}-`);
  provider.onRequest = () => pause(Math.random() * LONGEST_ANSWER_MS);
  await putLogin(state, provider, login);
  const { sequence } = await db.position();
  await child.begin({ login, provider: provider.url, stopAt: point?.[0] ?? "" });
  const beganAt = performance.now();
  if (point) await child.has(`at ${point[0]}`);
  else await pause(Math.random() * 1.3 * renewalMs);
  if (point?.[0] === "after commit") renewalMs = performance.now() - beganAt;
  await child.kill();
  // It is certainly dead: nobody has to wait until that is seen by its silence.
  await db.link.query("UPDATE slicer_proxy.hosts SET is_dead = true WHERE name = $1", [name]);
  onKilled();
  await using host = new LoginHost({ state, provider, log: stage.lines }, {
    limitMs: LIMIT_MS,
    login,
    keepsState: true,
  });
  host.credentials.start();
  await host.untilRenewed(provider);
  // The login goes on: what is stored is what the provider takes next.
  await until("the next token", async () => {
    await host.rejected(); // again where it came in the middle of a renewal that failed in passing
    return await host.token().catch(() => "") === `${login}-access-token-number-2`;
  }, 60_000);
  const made = await db.link.query(
    `SELECT extract(epoch FROM at)::float8 * 1000 AS at_ms FROM slicer_proxy.changes
     WHERE fleet = 'default' AND sequence > $1 AND host = $2 ORDER BY sequence`,
    [String(sequence), name],
  );
  const own = provider.usesOf(0).filter(({ by }) => by === name);
  const followed = provider.usesOf(0).filter(({ by }) => by === "survivor");
  const commits = made.length;
  assert(commits >= own.length, "it asks only with the mark in the store");
  assert(own.length <= 1 && commits <= 2);
  assertEquals(provider.clashes, []);
  assertEquals(provider.uses.every(({ isTaken }) => isTaken), true);
  if (commits === 2) assertEquals(followed, [], "what the dead host had committed is not renewed again");
  else assert(followed.length > 0);
  const [first] = followed;
  const markedAt = Number(made[0]?.at_ms);
  if (commits === 1 && first) {
    const waitedMs = performance.timeOrigin + first.atMs - markedAt;
    assert(waitedMs > LEASE_MS - 50, `the lease of the dead was waited for, and not ${waitedMs} ms`);
  }
  await state.deleteSecret(login);
  return { commits, asked: own.length };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
