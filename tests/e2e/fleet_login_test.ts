/** Logins of a fleet are renewed once: by one host at a time, over `kill -9` and SIGSTOP of it at each point. */
import { assert, assertEquals } from "@std/assert";
import { parseStoreAddress } from "../../store/postgres/address.ts";
import { PostgresDatabase } from "../../store/postgres/database.ts";
import { LoginChild, LoginHost, putLogin } from "../support/fleet_login.ts";
import { RotatingProvider } from "../support/rotating_provider.ts";
import { soon } from "../support/sockets.ts";
import { type FleetStage, fleetTest, until } from "../unit/store/fleet_support.ts";

async function startHost(stage: FleetStage, name: string, provider: RotatingProvider, limitMs?: number) {
  const state = await stage.host(name);
  return new LoginHost({ state, provider, log: stage.lines }, limitMs === undefined ? {} : { limitMs });
}

fleetTest("three hosts renew a login once, and all have what it got", async (stage) => {
  await using provider = new RotatingProvider();
  await using a = await startHost(stage, "a", provider, 20_000);
  await using b = await startHost(stage, "b", provider, 20_000);
  await using c = await startHost(stage, "c", provider, 20_000);
  const hosts = [a, b, c];
  await putLogin(a.state, provider);
  for (const { state } of hosts) await until("the login", () => state.getSecret("login") !== undefined);
  for (const { credentials } of hosts) credentials.start();
  for (let round = 0; round < 4; round++) {
    const tokens = await Promise.all(hosts.map((host) => host.token()));
    assertEquals(tokens, Array(3).fill(`access-token-number-${round + 1}`));
    assertEquals(provider.usesOf(round).length, 1, `round ${round}`);
    if (round === 3) break;
    // The upstream refuses the token on all hosts at once. Each login forces one renewal a minute: another host each time.
    const host = hosts[round] ?? a;
    const renewed = await host.rejected();
    assertEquals(renewed?.headers[0]?.[1], `Bearer access-token-number-${round + 2}`);
    for (const other of hosts) {
      await until("they have it", async () => await other.token() === `access-token-number-${round + 2}`);
    }
  }
  assertEquals(provider.uses.length, 4);
  assertEquals(provider.clashes, []);
});

fleetTest("hosts that are refused a token at the same moment renew it once", async (stage) => {
  await using provider = new RotatingProvider();
  await using a = await startHost(stage, "a", provider, 20_000);
  await using b = await startHost(stage, "b", provider, 20_000);
  const hosts = [a, b];
  await putLogin(a.state, provider);
  await until("the login", () => b.state.getSecret("login") !== undefined);
  for (const host of hosts) await host.token();
  const renewed = await Promise.all(
    hosts.map((host) => host.rejected()),
  );
  assertEquals(
    renewed.map((credential) => credential?.headers[0]?.[1]),
    Array(2).fill("Bearer access-token-number-2"),
  );
  assertEquals(provider.usesOf(1).length, 1);
});

fleetTest(
  "a host that is stopped within its renewal, and wakes up late, asks nobody and changes nothing",
  async (stage) => {
    await using provider = new RotatingProvider();
    await using host = await startHost(stage, "host", provider);
    await putLogin(host.state, provider);
    await using child = new LoginChild(stage, "child");
    await child.begin({ provider: provider.url, stopAt: "before asking" });
    await child.has("at before asking");
    child.process.kill("SIGSTOP");
    host.credentials.start();
    await host.untilRenewed(provider);
    child.process.kill("SIGCONT");
    await child.goOn();
    await child.has("too late");
    assertEquals(
      provider.uses.map(({ by }) => by),
      ["host"],
    );
    assertEquals(await host.token(), "access-token-number-1");
  },
);

fleetTest(
  "what a host got before it was stopped is not lost when the provider refuses the next",
  async (stage) => {
    await using provider = new RotatingProvider();
    provider.isGraceful = false;
    await using host = await startHost(stage, "host", provider);
    await putLogin(host.state, provider);
    await using child = new LoginChild(stage, "child");
    await child.begin({ provider: provider.url, stopAt: "before commit" });
    await child.has("at before commit");
    child.process.kill("SIGSTOP");
    // A question that was under way when it was stopped costs the connection when it wakes up, as here.
    await stage.server.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'slicer-proxy child'",
    );
    host.credentials.start();
    await until("it is refused", async () => {
      await host.token().catch(() => {});
      return provider.usesOf(0).some(({ isTaken }) => !isTaken);
    }, 60_000);
    await until("it is said", () => host.state.getSecret("login")?.error !== undefined);
    child.process.kill("SIGCONT");
    await child.goOn();
    await until(
      "what the first got is in force",
      async () => await host.token().catch(() => "") === "access-token-number-1",
      60_000,
    );
    assertEquals(host.state.getSecret("login")?.error, undefined);
    const next = await soon(
      "the next",
      host.rejected(),
    );
    assertEquals(next?.headers[0]?.[1], "Bearer access-token-number-2");
  },
);

fleetTest(
  "a lease whose commit was not answered is known by its holder, who waits for nobody",
  async (stage) => {
    await using provider = new RotatingProvider();
    // Its questions end after a second, so that the late answer is none.
    const state = await stage.host("host", { graceMs: 4_000 });
    await using host = new LoginHost({ state, provider, log: stage.lines }, { limitMs: 60_000 });
    await putLogin(host.state, provider);
    await stage.server.sql(`
      CREATE TABLE slicer_proxy.late_once ();
      CREATE FUNCTION slicer_proxy.late() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
        IF to_regclass('slicer_proxy.late_once') IS NOT NULL THEN
          DROP TABLE slicer_proxy.late_once;
          PERFORM pg_sleep(2);
        END IF;
        RETURN NULL;
      END $$;
      CREATE CONSTRAINT TRIGGER late AFTER INSERT ON slicer_proxy.changes
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slicer_proxy.late();`);
    host.credentials.start();
    await host.untilRenewed(provider); // long before the end of that lease, which is one of 90 s
    assertEquals(provider.uses.length, 1);
    assert(stage.lines.some((line) => line.includes("Cannot say whether the change was made")));
  },
);

fleetTest(
  "a host that finds a login renewed when its turn comes takes that, and asks nobody",
  async (stage) => {
    await using provider = new RotatingProvider();
    await using a = await startHost(stage, "a", provider, 20_000);
    await using b = await startHost(stage, "b", provider, 20_000);
    await putLogin(a.state, provider);
    await until("the login", () => b.state.getSecret("login") !== undefined);
    await using db = await PostgresDatabase.open({
      address: parseStoreAddress(stage.server.url),
      password: () => Promise.resolve("change-me"),
      caPem: await Deno.readTextFile(stage.server.caFile),
      ...{ fleet: "default", timeoutMs: 20_000, name: "test", host: "test", now: () => Date.now() },
    });
    const waiting = (count: number) =>
      until(`${count} wait for the fleet's lock`, async () => {
        const sql = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted";
        return Number(await stage.server.query(sql)) >= count;
      });
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    provider.onRequest = () => {
      asked.resolve();
      return answer.promise;
    };
    const first = a.token();
    await asked.promise;
    let second: Promise<string> | undefined;
    await db.inTurn(async () => {
      answer.resolve();
      await waiting(1); // what a got
      second = b.token();
      await waiting(2); // behind it
    });
    assertEquals(await Promise.all([first, second]), Array(2).fill("access-token-number-1"));
    await b.credentials[Symbol.asyncDispose](); // a renewal that is under way ends first
    assertEquals(provider.uses.map(({ by }) => by), ["a"]);
  },
);
