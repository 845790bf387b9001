// deno-lint-ignore-file no-console
/**
 * A fleet on a real PostgreSQL: `deno run -A --v8-flags=--max-old-space-size=8192 bench/fleet.ts [--hosts 20] [--clients 1000] [--rules 99] [--changes 200]`. How long a
 * change takes until it is in force on every host, what it costs the database, and what a host takes to start and to keep.
 *
 * The hosts are states in this one process, with all that a host has but its data plane: what 20 processes would do at once on
 * their cores is done here one after the other, so times are above those of a real fleet. Bounded: changes end after a minute.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { systemClock } from "../core/clock.ts";
import { parseRule } from "../policy/rule.ts";
import { type SpreadNote, withSpreadNote } from "../store/fleet/spread_note.ts";
import { parseStoreAddress } from "../store/postgres/address.ts";
import { State } from "../store/state.ts";
import { postgresMissing, PostgresServer } from "../tests/support/postgres.ts";

const MAX_CHANGES_MS = 60_000;
/** For as long the fleet is left alone, to know what it costs at rest. */
const REST_MS = 10_000;
/** The server counts what it does once a second. */
const COUNTED_MS = 2_000;

const { values } = parseArgs({
  args: [...Deno.args],
  options: {
    hosts: { type: "string", default: "20" },
    clients: { type: "string", default: "1000" },
    rules: { type: "string", default: "99" },
    changes: { type: "string", default: "200" },
  },
});
const [hosts, clients, rules, changes] = [values.hosts, values.clients, values.rules, values.changes].map(
  Number,
);

if (!hosts || !clients || !rules || !changes) throw new Error("every option is a number above 0");
const missing = await postgresMissing();
if (missing !== undefined) throw new Error(missing);
await measure({ hosts, clients, rules, changes });

interface Size {
  readonly hosts: number;
  readonly clients: number;
  readonly rules: number;
  readonly changes: number;
}

async function measure(size: Size): Promise<void> {
  await using server = await PostgresServer.start();
  const dir = await Deno.makeTempDir({ prefix: "slicer-bench-fleet-" });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  const caPem = await Deno.readTextFile(server.caFile);
  const open = async (name: string) =>
    stack.use(
      await State.open({
        dir: `${dir}/${name}`,
        sealKeyFile: `${dir}/mk`,
        clock: systemClock(),
        fleet: {
          address: parseStoreAddress(server.url),
          password: () => Promise.resolve("change-me"),
          caPem,
          fleet: "default",
          hostName: name,
          graceMs: 300_000,
          version: "bench",
          log: { info: () => {}, warn: console.error, error: console.error },
        },
      }),
    );
  const before = Deno.loadavg()[0] ?? 0;
  console.log(`load of the machine: ${before.toFixed(1)} on ${navigator.hardwareConcurrency} cores`);
  const all = [await open("host-1")];
  await fill(all[0] ?? await open("host-1"), size);
  const ruleCount = size.clients * size.rules;
  const memoryBefore = Deno.memoryUsage().rss;
  const starts: number[] = [];
  while (all.length < size.hosts) {
    const startedAt = performance.now();
    all.push(await open(`host-${all.length + 1}`));
    starts.push(performance.now() - startedAt);
  }
  const grown = Deno.memoryUsage().rss - memoryBefore;
  row("start from cold", `p50 ${ms(at(starts, 0.5))}, longest ${ms(at(starts, 1))}`);
  row("memory per 100,000 rules", mb(grown / starts.length / ruleCount * 100_000));
  const atRest = await load(server);
  await new Promise((resolve) => setTimeout(resolve, REST_MS));
  const rest = difference(await load(server), atRest);
  const perSecond = rest.transactions / ((REST_MS + COUNTED_MS) / 1_000);
  row("at rest", `${perSecond.toFixed(1)} transactions/s for ${all.length} hosts`);
  await change(all, server, { ...size, perSecond });
}

async function fill(host: State, { clients, rules }: Size): Promise<void> {
  for (let c = 0; c < clients; c++) {
    await host.createClient(`client-${c}`);
    const specs = Array.from(
      { length: rules },
      (_, r) => parseRule({ host: `h${r}.c${c}.example.com`, methods: ["GET"] }),
    );
    await host.addRules(`client-${c}`, specs);
  }
}

/** Adds and revokes rules, each time on another host. */
async function change(
  all: readonly State[],
  server: PostgresServer,
  { clients, changes, perSecond }: Size & { readonly perSecond: number },
): Promise<void> {
  const times: number[] = [];
  let late = 0;
  const before = await load(server);
  const startedAt = performance.now();
  for (let i = 0; i < changes && performance.now() - startedAt < MAX_CHANGES_MS; i++) {
    const host = all[i % all.length];
    const client = `client-${Math.floor(i / 2) % clients}`;
    const spec = parseRule({ host: `new${Math.floor(i / 2)}.example.org` });
    const note: SpreadNote = {};
    const sentAt = performance.now();
    await withSpreadNote(note, async () => {
      if (i % 2 === 0) await host?.addRule(client, spec);
      else await host?.revokeRule(client, spec);
    });
    if (note.spread?.waitingFor.length === 0) times.push(performance.now() - sentAt);
    else late++;
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  const { transactions, walBytes } = difference(await load(server), before);
  const count = times.length + late;
  row(
    "change to in force on all",
    `p50 ${ms(at(times, 0.5))}, p99 ${ms(at(times, 0.99))}, ${late} of ${count} not within 2 s`,
  );
  const each = (transactions - perSecond * (seconds + COUNTED_MS / 1_000)) / count;
  row(
    "database per change",
    `${each.toFixed(1)} transactions, ${(walBytes / count / 1_000).toFixed(1)} kB of WAL (rest included)`,
  );
  row("changes one after the other", `${(count / seconds).toFixed(1)}/s`);
}

interface Load {
  readonly transactions: number;
  readonly walBytes: number;
}

async function load(server: PostgresServer): Promise<Load> {
  await new Promise((resolve) => setTimeout(resolve, COUNTED_MS));
  const [transactions = 0, walBytes = 0] = (await server.sql(
    "SELECT (SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'slicer_proxy'), (SELECT wal_bytes FROM pg_stat_wal)",
  )).split("|").map(Number);
  return { transactions, walBytes };
}

function difference(after: Load, before: Load): Load {
  return {
    transactions: after.transactions - before.transactions,
    walBytes: after.walBytes - before.walBytes,
  };
}

function at(numbers: readonly number[], share: number): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

function ms(time: number): string {
  return `${time.toFixed(time < 100 ? 1 : 0)} ms`;
}

function mb(bytes: number): string {
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

function row(name: string, value: string): void {
  console.log(`${name.padEnd(28)} ${value}`);
}
