/** A host of a fleet that renews a login, and stops at a point of that. A process for `fleet_login_test.ts`. */
import { systemClock } from "../../core/clock.ts";
import { ProxyError } from "../../core/errors.ts";
import { Credentials } from "../../secrets/credentials.ts";
import { parseStoreAddress } from "../../store/postgres/address.ts";
import { State } from "../../store/state.ts";
import { callAs } from "../support/rotating_provider.ts";

const { dir, sealKeyFile, url, caFile, provider, limitMs, stopAt } = JSON.parse(Deno.args[0] ?? "");
const clock = systemClock();
const say = (line: string) => Deno.stdout.write(new TextEncoder().encode(`${line}\n`));

/** Says that the point is reached, and goes on when it is told to. */
async function pass(point: string): Promise<void> {
  if (point !== stopAt) return;
  await say(`at ${point}`);
  await Deno.stdin.read(new Uint8Array(1));
}

const state = await State.open({
  dir,
  sealKeyFile,
  clock,
  fleet: {
    address: parseStoreAddress(url),
    password: () => Promise.resolve("change-me"),
    caPem: await Deno.readTextFile(caFile),
    fleet: "default",
    hostName: "child",
    graceMs: 20_000,
    version: "test",
    log: { info: () => {}, warn: () => {}, error: () => {} },
  },
});
const call = callAs("child", provider);
const credentials = new Credentials({
  source: {
    secretValue: (name) => state.secretValue(name),
    listSecrets: () => state.listSecrets(),
    onChange: (listener) => state.onChange(listener),
    async updateSecret(name, update) {
      const point = update.value === undefined ? "mark" : "commit";
      await pass(`before ${point}`);
      const record = await state.updateSecret(name, update);
      await pass(`after ${point}`);
      return record;
    },
  },
  async call(request, signal) {
    await pass("before asking");
    if (request.maySend?.() === false) {
      await say("too late");
      throw new ProxyError("limit.reached", "Cannot call: it took too long to get there");
    }
    const answer = await call(request, signal);
    await pass("answered");
    return answer;
  },
  clock,
  limitMs,
  random: () => 0,
  log: { warn: (line) => void say(`warn ${line}`), error: (line) => void say(`error ${line}`) },
  reportBug: (error) => void say(`bug ${error}`),
});
credentials.start();
await say("started");
const ask = async () =>
  await credentials.credential("login", { host: "api.example.com", method: "GET", path: "/" });
await ask().catch((error) => say(`failed ${error}`)); // whoever has no token yet asks for none before
await new Promise(() => setInterval(() => {}, 1_000_000)); // until it is killed
