// deno-lint-ignore-file no-console
/**
 * A host of a fleet as a process of its own, without a data plane: it makes changes and answers questions about its policy, a line
 * of JSON each, and decides all the time about requests under the rules that it has seen last. What it allows is in its journal
 * before it decides again, so that a kill hides nothing. Arguments: state folder, seal key, store, password file, CA file, name,
 * journal.
 *
 * @module
 */
import { systemClock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { decideRequest } from "../../policy/decide.ts";
import { parseRule } from "../../policy/rule.ts";
import { parseStoreAddress } from "../../store/postgres/address.ts";
import { State } from "../../store/state.ts";
import { policyOf, spreadOf } from "../unit/store/fleet_support.ts";
import { linesOf } from "./lines.ts";

/** Between two looks at all of them. */
const DECIDE_MS = 3;
/** Rules that were seen last and are decided about, revoked or not. */
const WATCHED = 20;

const [
  dir = "",
  sealKeyFile = "",
  url = "",
  passwordFile = "",
  caFile = "",
  hostName = "",
  journalFile = "",
] = Deno.args;
const line = (text: string) => console.error(`${hostName}: ${text}`);
const state = await State.open({
  dir,
  sealKeyFile,
  clock: systemClock(),
  fleet: {
    address: parseStoreAddress(url),
    password: async () => (await Deno.readTextFile(passwordFile)).trim(),
    caPem: await Deno.readTextFile(caFile),
    fleet: "default",
    hostName,
    graceMs: 6_000,
    version: "soak",
    log: { info: () => {}, warn: line, error: line },
  },
});
const journal = Deno.openSync(journalFile, { create: true, append: true });
const watched = new Set<string>();
watch();
state.onChange(watch);
const deciding = setInterval(decide, DECIDE_MS);
console.log(JSON.stringify({ ready: true }));

for await (const text of linesOf(Deno.stdin.readable)) {
  const { op, host } = JSON.parse(text);
  console.log(JSON.stringify(await answer(op, host).catch((error) => ({ error: messageOf(error) }))));
}
clearInterval(deciding);
await state[Symbol.asyncDispose]();

function watch(): void {
  if (!state.getClient("ci")) return;
  for (const { host } of state.listRules("ci")) {
    watched.delete(host);
    watched.add(host);
  }
  for (const host of watched) {
    if (watched.size <= WATCHED) break;
    watched.delete(host);
  }
}

function decide(): void {
  const client = state.getClient("ci");
  if (!client) return;
  let allowed = "";
  for (const host of watched) {
    const at = Date.now(); // before: whatever is decided was decided no earlier
    const target = { host, port: 443, method: "GET", path: "/" };
    if (decideRequest(state.rulesFor(client, host), target).verdict === "allow") allowed += `${host} ${at}\n`;
  }
  if (allowed) journal.writeSync(new TextEncoder().encode(allowed));
}

async function answer(op: string, host: string): Promise<unknown> {
  const spec = () => parseRule({ host });
  switch (op) {
    case "client":
      return { spread: await spreadOf(() => state.createClient("ci")) };
    case "add":
      return { spread: await spreadOf(() => state.addRule("ci", spec())) };
    case "revoke": {
      const spread = await spreadOf(() => state.revokeRule("ci", spec()));
      return { spread, returnedAt: Date.now() };
    }
    default:
      return { policy: state.isLost() ? "lost" : policyOf(state) };
  }
}
