// deno-lint-ignore-file no-console
/**
 * A host of a fleet as a process of its own, without a data plane: it makes changes and answers questions about its policy, a line
 * of JSON each. `fleet.ts` kills it. Arguments: state folder, seal key, store, password file, CA file, name.
 *
 * @module
 */
import { systemClock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { parseRule } from "../../policy/rule.ts";
import { parseStoreAddress } from "../../store/postgres/address.ts";
import { State } from "../../store/state.ts";
import { policyOf, spreadOf } from "../unit/store/fleet_support.ts";
import { linesOf } from "./lines.ts";

const [dir = "", sealKeyFile = "", url = "", passwordFile = "", caFile = "", hostName = ""] = Deno.args;
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
console.log(JSON.stringify({ ready: true }));

for await (const text of linesOf(Deno.stdin.readable)) {
  const { op, host } = JSON.parse(text);
  console.log(JSON.stringify(await answer(op, host).catch((error) => ({ error: messageOf(error) }))));
}
await state[Symbol.asyncDispose]();

async function answer(op: string, host: string): Promise<unknown> {
  const spec = () => parseRule({ host });
  switch (op) {
    case "client":
      return { spread: await spreadOf(() => state.createClient("ci")) };
    case "add":
      return { spread: await spreadOf(() => state.addRule("ci", spec())) };
    case "revoke":
      return { spread: await spreadOf(() => state.revokeRule("ci", spec())) };
    case "ask":
      return { allows: !state.isLost() && state.listRules("ci").some((rule) => rule.host === host) };
    default:
      return { policy: state.isLost() ? "lost" : policyOf(state) };
  }
}
