/** A host of a fleet that renews a login, and stops at a point of that. A process of `tests/support/fleet_login.ts`. */
import { systemClock } from "../../core/clock.ts";
import { ProxyError } from "../../core/errors.ts";
import { Credentials } from "../../secrets/credentials.ts";
import { parseStoreAddress } from "../../store/postgres/address.ts";
import { State } from "../../store/state.ts";
import { linesOf } from "../soak/lines.ts";
import { callAs } from "../support/rotating_provider.ts";

const { dir, sealKeyFile, url, caFile, hostName, limitMs } = JSON.parse(Deno.args[0] ?? "");
const input = linesOf(Deno.stdin.readable);
const clock = systemClock();
const say = (line: string) => Deno.stdout.write(new TextEncoder().encode(`${line}\n`));

/** Says that the point is reached, and goes on when it is told to; what is tried again is not stopped again. */
async function pass(point: string): Promise<void> {
  if (point !== stopAt) return;
  stopAt = "";
  await say(`at ${point}`);
  await input.next();
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
    hostName,
    graceMs: 20_000,
    version: "test",
    log: { info: () => {}, warn: () => {}, error: () => {} },
  },
});
await say("ready");
const task = JSON.parse((await input.next()).value ?? "{}");
let stopAt: string = task.stopAt;
const login: string = task.login ?? "login";
const call = callAs(hostName, task.provider);
const credentials = new Credentials({
  source: {
    secretValue: (name) => name === login ? state.secretValue(name) : undefined,
    listSecrets: () => state.listSecrets().filter(({ name }) => name === login),
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
const ask = async () =>
  await credentials.credential(login, { host: "api.example.com", method: "GET", path: "/" });
await ask().then(() => say("renewed"), (error) => say(`failed ${error}`));
await new Promise(() => setInterval(() => {}, 1_000_000)); // until it is killed
