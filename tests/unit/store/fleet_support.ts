/**
 * Hosts of a fleet as states in this process, on a server of their own.
 *
 * @module
 */
import { type Clock, systemClock } from "../../../core/clock.ts";
import { type FleetOptions } from "../../../store/fleet/open.ts";
import { parseStoreAddress } from "../../../store/postgres/address.ts";
import { State } from "../../../store/state.ts";
import { type Spread, type SpreadNote, withSpreadNote } from "../../../store/fleet/spread_note.ts";
import { postgresMissing, PostgresServer, type ServerOptions } from "../../support/postgres.ts";

/** A server and a folder for the hosts' state folders. */
export interface FleetStage extends AsyncDisposable {
  readonly server: PostgresServer;
  readonly dir: string;
  /** What the hosts have logged. */
  readonly lines: string[];
  /** Opens a host, its folder as it left it. */
  host(name: string, more?: HostOptions): Promise<State>;
}

/** What is not as usual. */
export interface HostOptions extends Partial<FleetOptions> {
  readonly clock?: Clock;
  readonly sealKeyFile?: string;
}

/** What a test's server is like, and why it cannot be had on this machine. */
export interface StageOptions extends ServerOptions {
  readonly missing?: () => Promise<string | undefined>;
}

/** Runs a test with a server, or says why there is none. */
export function fleetTest(
  name: string,
  run: (stage: FleetStage, t: Deno.TestContext) => Promise<void>,
  { missing: whyNot, ...options }: StageOptions = {},
): void {
  Deno.test(name, async (t) => {
    const missing = await postgresMissing() ?? await whyNot?.();
    if (missing !== undefined) {
      return void await t.step({ name: `skipped: ${missing}`, ignore: true, fn: () => {} });
    }
    await using stage = await startStage(options);
    try {
      await run(stage, t);
    } catch (error) {
      throw new Error(`the hosts said:\n${stage.lines.join("\n")}`, { cause: error });
    }
  });
}

async function startStage(options: ServerOptions): Promise<FleetStage> {
  const server = await PostgresServer.start(options);
  const dir = await Deno.makeTempDir({ prefix: "slicer-fleet-" });
  const caPem = await Deno.readTextFile(server.caFile);
  const lines: string[] = [];
  return {
    server,
    dir,
    lines,
    host: (name, { clock = systemClock(), sealKeyFile = `${dir}/mk`, ...more } = {}) => {
      const line = (level: string) => (text: string) => void lines.push(`${name} ${level}: ${text}`);
      return State.open({
        dir: `${dir}/${name}`,
        sealKeyFile,
        clock,
        fleet: {
          address: parseStoreAddress(server.url),
          password: () => Promise.resolve("change-me"),
          caPem,
          fleet: "default",
          hostName: name,
          graceMs: 20_000,
          version: "test",
          log: { info: line("info"), warn: line("warn"), error: line("error") },
          ...more,
        },
      });
    },
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      await Deno.remove(dir, { recursive: true });
    },
  };
}

/** Resolves when a condition holds. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  limitMs = 30_000,
): Promise<void> {
  const endAt = performance.now() + limitMs;
  while (!await holds()) {
    if (performance.now() > endAt) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** How far a call's change has spread when the call returns. */
export async function spreadOf(call: () => Promise<unknown>): Promise<Spread | undefined> {
  const note: SpreadNote = {};
  await withSpreadNote(note, async () => void await call());
  return note.spread;
}

/** All of a host's policy, as it is in force there. */
export function policyOf(state: State): unknown {
  return {
    clients: state.listClients().map(({ name, ...record }) => ({
      name,
      ...record,
      rules: state.listRules(name),
    })),
    secrets: state.listSecrets().map(({ name }) => state.secretValue(name)),
    suspensions: state.suspensions(),
  };
}
