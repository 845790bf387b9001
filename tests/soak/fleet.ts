// deno-lint-ignore-file no-console
/**
 * Hosts of a fleet that come and go under a load of changes, on a server that is paused and killed now and then:
 * `deno task fleet:soak [--seconds 60]`. No host allows by a rule once the call that revoked it has said that it is gone from all
 * hosts; at the end all hosts have the same policy. Hosts are processes without a data plane (`fleet_host.ts`).
 *
 * @module
 */
import { parseArgs } from "node:util";
import { postgresMissing, PostgresServer } from "../support/postgres.ts";
import { linesOf } from "./lines.ts";

const HOSTS = 4;
/** Between two things that go wrong. */
const TROUBLE_MS = 3_000;
/** The end: all have to be back within it. */
const SETTLE_MS = 60_000;

/** What was seen. */
export interface SoakResult {
  readonly revocations: number;
  /** Those of them that said that all hosts have them, and were checked on each. */
  readonly checked: number;
  readonly refused: number;
  readonly troubles: Readonly<Record<string, number>>;
}

interface Answer {
  readonly error?: string;
  readonly spread?: { readonly waitingFor: readonly string[]; readonly isUnknown?: boolean };
  readonly allows?: boolean;
  readonly policy?: unknown;
}

/** A host, running or not. */
class Host {
  readonly name: string;
  readonly #args: readonly string[];
  #child: Deno.ChildProcess | undefined;
  #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>> | undefined;
  #lines: AsyncGenerator<string> | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(name: string, root: string, server: PostgresServer) {
    this.name = name;
    this.#args = [`${root}/${name}`, `${root}/mk`, server.url, server.passwordFile, server.caFile, name];
  }

  get isUp(): boolean {
    return this.#child !== undefined;
  }

  /** Resolves when it has its policy. @returns false when it refused to start, as while the store is away */
  async start(): Promise<boolean> {
    const script = new URL("fleet_host.ts", import.meta.url).pathname;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", script, ...this.#args],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const lines = linesOf(child.stdout);
    const { done } = await lines.next();
    this.#writer = child.stdin.getWriter();
    this.#lines = lines;
    this.#child = child;
    if (done) await this.end("SIGKILL");
    return !done;
  }

  /** One question after the other. Undefined when it was killed before it answered. */
  ask(op: string, host = ""): Promise<Answer | undefined> {
    const answer = this.#turn.then(async () => {
      try {
        await this.#writer?.write(new TextEncoder().encode(`${JSON.stringify({ op, host })}\n`));
        const next = await this.#lines?.next();
        return next?.done === false ? JSON.parse(next.value) as Answer : undefined;
      } catch {
        return undefined;
      }
    });
    this.#turn = answer;
    return answer;
  }

  /** In good order without a signal. */
  async end(signal?: "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (!child) return;
    this.#child = undefined;
    if (signal) child.kill(signal);
    await this.#writer?.close().catch(() => {});
    for (;;) if ((await this.#lines?.next())?.done !== false) break;
    await child.status;
  }
}

/** Runs it. @throws Error when a promise of a fleet was broken */
export async function soakFleet(seconds: number): Promise<SoakResult> {
  await using server = await PostgresServer.start();
  await using stack = new AsyncDisposableStack();
  const root = await Deno.makeTempDir({ prefix: "slicer-soak-fleet-" });
  stack.defer(() => Deno.remove(root, { recursive: true }));
  const hosts = Array.from({ length: HOSTS }, (_, i) => new Host(`host-${i + 1}`, root, server));
  stack.defer(async () => void await Promise.all(hosts.map((host) => host.end("SIGKILL"))));
  for (const host of hosts) if (!await host.start()) throw new Error(`${host.name} does not start`);
  await hosts[0]?.ask("client");
  const endAt = performance.now() + seconds * 1_000;
  const troubles: Record<string, number> = {};
  const [counts] = await Promise.all([change(hosts, endAt), trouble({ hosts, server, endAt, troubles })]);
  await settle(hosts);
  return { ...counts, troubles };
}

async function change(hosts: readonly Host[], endAt: number) {
  const counts = { revocations: 0, checked: 0, refused: 0 };
  for (let i = 0; performance.now() < endAt; i++) {
    const host = hosts[i % hosts.length];
    const other = hosts[(i * 7 + 3) % hosts.length];
    if (!host?.isUp || !other?.isUp) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      continue;
    }
    const name = `r${i}.test`;
    const added = await host.ask("add", name);
    if (added?.error !== undefined) counts.refused++;
    const revoked = await other.ask("revoke", name);
    if (!revoked?.spread) {
      counts.refused++;
      await new Promise((resolve) => setTimeout(resolve, 20));
      continue;
    }
    counts.revocations++;
    if (revoked.spread.isUnknown || revoked.spread.waitingFor.length > 0) continue;
    const asked = await Promise.all(
      hosts.filter(({ isUp }) => isUp).map(async (each) => ({
        name: each.name,
        answer: await each.ask("ask", name),
      })),
    );
    const late = asked.filter(({ answer }) => answer?.allows).map(({ name }) => name);
    if (late.length > 0) {
      throw new Error(`${name} was revoked on all hosts, and still allows on ${late.join(", ")}`);
    }
    counts.checked++;
  }
  return counts;
}

async function trouble({ hosts, server, endAt, troubles }: {
  readonly hosts: readonly Host[];
  readonly server: PostgresServer;
  readonly endAt: number;
  readonly troubles: Record<string, number>;
}): Promise<void> {
  const again = async (host: Host) => {
    while (!await host.start()) await new Promise((resolve) => setTimeout(resolve, 200));
  };
  const kinds: Readonly<Record<string, (host: Host) => Promise<void>>> = {
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
    "server paused": async () => {
      const resume = await server.pause();
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      resume();
    },
  };
  const names = Object.keys(kinds);
  for (let i = 0; performance.now() < endAt; i++) {
    await new Promise((resolve) =>
      setTimeout(resolve, Math.min(TROUBLE_MS, Math.max(0, endAt - performance.now())))
    );
    const name = names[i % names.length] ?? "";
    const host = hosts[i % hosts.length];
    if (!host || performance.now() >= endAt) return;
    await kinds[name]?.(host);
    troubles[name] = (troubles[name] ?? 0) + 1;
  }
}

/** Waits until all have the same policy. */
async function settle(hosts: readonly Host[]): Promise<void> {
  const endAt = performance.now() + SETTLE_MS;
  for (;;) {
    const policies = await Promise.all(
      hosts.map(async (host) => JSON.stringify((await host.ask("policy"))?.policy)),
    );
    const [first = ""] = policies;
    if (first.includes('"ci"') && policies.every((each) => each === first)) return;
    if (performance.now() > endAt) throw new Error(`the hosts do not agree:\n${policies.join("\n")}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
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
