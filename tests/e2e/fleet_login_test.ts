/** Logins of a fleet are renewed once: by one host at a time, over `kill -9` and SIGSTOP of it at each point. */
import { assert, assertEquals } from "@std/assert";
import { systemClock } from "../../core/clock.ts";
import { adoptValue } from "../../secrets/adopt.ts";
import type { Credential } from "../../secrets/credential.ts";
import { Credentials } from "../../secrets/credentials.ts";
import type { State } from "../../store/state.ts";
import { callAs, firstLogin, RotatingProvider } from "../support/rotating_provider.ts";
import { soon } from "../support/sockets.ts";
import { type FleetStage, fleetTest, until } from "../unit/store/fleet_support.ts";

/** How long a renewal may take, of which a host that is gone takes two seconds; a lease is half as long again. */
const LIMIT_MS = 5_000;
const REQUEST = { host: "api.example.com", method: "GET", path: "/" };

/** A host of the fleet in this process, with its credentials. */
class Host implements AsyncDisposable {
  readonly name: string;
  readonly state: State;
  readonly credentials: Credentials;
  readonly log: string[];

  constructor(name: string, state: State, provider: RotatingProvider, limitMs: number, log: string[]) {
    this.log = log;
    this.name = name;
    this.state = state;
    this.credentials = new Credentials({
      source: state,
      call: callAs(name, provider.url),
      clock: systemClock(),
      limitMs,
      random: () => 0,
      log: { warn: (line) => this.log.push(line), error: (line) => this.log.push(line) },
      reportBug: (error) => this.log.push(`bug ${error}`),
    });
  }

  async credential(): Promise<Credential> {
    const credential = await this.credentials.credential("login", REQUEST);
    assert(credential);
    return credential;
  }

  async token(): Promise<string> {
    return (await this.credential()).headers[0]?.[1].replace("Bearer ", "") ?? "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.credentials[Symbol.asyncDispose]();
    await this.state[Symbol.asyncDispose]();
    assertEquals(this.log.filter((line) => line.startsWith("bug ")), []);
  }
}

async function startHost(stage: FleetStage, name: string, provider: RotatingProvider, limitMs = LIMIT_MS) {
  return new Host(name, await stage.host(name), provider, limitMs, stage.lines);
}

async function putLogin({ state }: Host, provider: RotatingProvider): Promise<void> {
  const adopted = await adoptValue({ type: "oauth-refresh", value: firstLogin(provider) }, Date.now());
  await state.putSecret({ name: "login", host: REQUEST.host, cleartext: false, ...adopted }, {
    force: false,
  });
}

fleetTest("three hosts renew a login once, and all have what it got", async (stage) => {
  await using provider = new RotatingProvider();
  await using a = await startHost(stage, "a", provider, 20_000);
  await using b = await startHost(stage, "b", provider, 20_000);
  await using c = await startHost(stage, "c", provider, 20_000);
  const hosts = [a, b, c];
  await putLogin(a, provider);
  for (const { state } of hosts) await until("the login", () => state.getSecret("login") !== undefined);
  for (const { credentials } of hosts) credentials.start();
  for (let round = 0; round < 4; round++) {
    const tokens = await Promise.all(hosts.map((host) => host.token()));
    assertEquals(tokens, Array(3).fill(`access-token-number-${round + 1}`));
    assertEquals(provider.usesOf(round).length, 1, `round ${round}`);
    if (round === 3) break;
    // The upstream refuses the token on all hosts at once. Each login forces one renewal a minute: another host each time.
    const host = hosts[round] ?? a;
    const renewed = await host.credentials.rejected(await host.credential(), { status: 401 });
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
  await putLogin(a, provider);
  await until("the login", () => b.state.getSecret("login") !== undefined);
  for (const host of hosts) await host.token();
  const renewed = await Promise.all(
    hosts.map(async (host) => {
      const credential = await host.credential();
      return await host.credentials.rejected(credential, { status: 401 });
    }),
  );
  assertEquals(
    renewed.map((credential) => credential?.headers[0]?.[1]),
    Array(2).fill("Bearer access-token-number-2"),
  );
  assertEquals(provider.usesOf(1).length, 1);
});

/** The child, with what it has said. */
class Child implements AsyncDisposable {
  readonly process: Deno.ChildProcess;
  text = "";
  readonly #read: Promise<void>;

  constructor(stage: FleetStage, provider: RotatingProvider, stopAt: string) {
    const parts = {
      dir: `${stage.dir}/child`,
      sealKeyFile: `${stage.dir}/mk`,
      url: stage.server.url,
      caFile: stage.server.caFile,
      provider: provider.url,
      limitMs: LIMIT_MS,
      stopAt,
    };
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--config", new URL("../../deno.json", import.meta.url).pathname],
        ...[new URL("./fleet_login_child.ts", import.meta.url).pathname, JSON.stringify(parts)],
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.process = child;
    this.#read = (async () => {
      for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) this.text += chunk;
    })();
  }

  async has(words: string): Promise<void> {
    await until(`the child says ${words}`, () => this.text.includes(words), 60_000).catch((error) => {
      throw new Error(`the child has said:\n${this.text}`, { cause: error });
    });
  }

  async goOn(): Promise<void> {
    const writer = this.process.stdin.getWriter();
    await writer.write(new Uint8Array([10]));
    writer.releaseLock();
  }

  async kill(): Promise<void> {
    try {
      this.process.kill("SIGKILL");
    } catch {
      // It is gone.
    }
    await this.process.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.#read;
    await this.process.stdin.close().catch(() => {});
  }
}

/** Where the host that renews is killed, and how often its refresh token is used in all. */
const POINTS: readonly (readonly [point: string, uses: number])[] = [
  ["before mark", 1],
  ["before asking", 1],
  ["answered", 2], // nobody but the provider has the answer; it takes the token once more
  ["after commit", 1],
  // Between the same outward steps as those above: `deno task test:long` has them, since each waits for a lease to end.
  ...(Deno.env.get("SLICER_KILLS") === undefined ? [] : [["after mark", 1], ["before commit", 2]] as const),
];

fleetTest(
  "a host that is killed while it renews is followed by another, when its lease is over",
  async (stage, t) => {
    for (const [point, uses] of POINTS) {
      await t.step(`killed ${point}`, async () => {
        await using provider = new RotatingProvider();
        await using host = await startHost(stage, "host", provider);
        await putLogin(host, provider);
        const renewed: string[] = [];
        {
          await using child = new Child(stage, provider, point);
          await child.has(`at ${point}`);
          host.credentials.start();
          await child.kill();
        }
        await until("a token", async () => {
          const token = await host.token().catch(() => "");
          renewed.push(token);
          return token === provider.accessToken;
        });
        assertEquals(provider.usesOf(0).length, uses);
        assertEquals(provider.usesOf(0).every(({ isTaken }) => isTaken), true);
        assertEquals(provider.clashes, []);
        const [first, second] = provider.usesOf(0);
        if (first && second) {
          assertEquals([first.by, second.by], ["child", "host"]);
          assert(second.atMs - first.atMs > LIMIT_MS / 3, "the lease of the dead is waited for");
        }
        // The login goes on: what is stored is what the provider takes next.
        const next = await host.credentials.rejected(await host.credential(), { status: 401 });
        assertEquals(next?.headers[0]?.[1], "Bearer access-token-number-2");
        await host.state.deleteSecret("login");
      });
    }
  },
);

fleetTest(
  "a host that is stopped within its renewal, and wakes up late, asks nobody and changes nothing",
  async (stage) => {
    await using provider = new RotatingProvider();
    await using host = await startHost(stage, "host", provider);
    await putLogin(host, provider);
    await using child = new Child(stage, provider, "before asking");
    await child.has("at before asking");
    child.process.kill("SIGSTOP");
    host.credentials.start();
    await until(
      "the other has renewed",
      async () => await host.token().catch(() => "") === provider.accessToken,
    );
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
    await putLogin(host, provider);
    await using child = new Child(stage, provider, "before commit");
    await child.has("at before commit");
    child.process.kill("SIGSTOP");
    host.credentials.start();
    await until("it is refused", async () => {
      await host.token().catch(() => {});
      return provider.usesOf(0).some(({ isTaken }) => !isTaken);
    });
    await until("it is said", () => host.state.getSecret("login")?.error !== undefined);
    child.process.kill("SIGCONT");
    await child.goOn();
    await until(
      "what the first got is in force",
      async () => await host.token().catch(() => "") === "access-token-number-1",
    );
    assertEquals(host.state.getSecret("login")?.error, undefined);
    const next = await soon(
      "the next",
      host.credentials.rejected(await host.credential(), { status: 401 }),
    );
    assertEquals(next?.headers[0]?.[1], "Bearer access-token-number-2");
  },
);
