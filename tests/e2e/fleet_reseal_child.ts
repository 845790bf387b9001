/**
 * A host of a fleet that takes another seal key, and kills itself right before its n-th step of a kind. A process for
 * `fleet_reseal_test.ts`. Arguments: state folder, seal key, store, CA file, fleet, kind, n.
 */
import { systemClock } from "../../core/clock.ts";
import { parseStoreAddress } from "../../store/postgres/address.ts";
import { Link } from "../../store/postgres/link.ts";
import { State } from "../../store/state.ts";

const [dir = "", sealKeyFile = "", url = "", caFile = "", fleet = "", kind = "", nth = "1"] = Deno.args;
const silent = () => {};
const state = await State.open({
  dir,
  sealKeyFile,
  clock: systemClock(),
  fleet: {
    address: parseStoreAddress(url),
    password: () => Promise.resolve("change-me"),
    caPem: await Deno.readTextFile(caFile),
    ...{ fleet, hostName: "host-1", graceMs: 20_000, version: "test" },
    log: {
      info: silent,
      warn: silent,
      error: (line) => void Deno.stderr.write(new TextEncoder().encode(line)),
    },
  },
});

let left = Number(nth);
let isSealing = false;
/** What comes before the first row is sealed anew does not count. */
const isLate = kind.startsWith("sealing: ");
const wanted = isLate ? kind.slice("sealing: ".length) : kind;

function step(what: string): void {
  if (what.includes("INSERT INTO slicer_proxy.resealed")) isSealing = true;
  if ((isSealing || !isLate) && what.includes(wanted) && --left === 0) Deno.kill(Deno.pid, "SIGKILL");
}

const { query } = Link.prototype;
Link.prototype.query = function (text, ...rest) {
  step(text);
  return query.call(this, text, ...rest);
};
for (const name of ["link", "rename", "remove"] as const) {
  const call = Deno[name] as (...args: string[]) => Promise<void>;
  Object.defineProperty(Deno, name, {
    value: (...args: string[]) => {
      step(`${name} ${args.join(" ")}`);
      return call(...args);
    },
  });
}

await state.fleet?.beginRotation(undefined);
for (const endAt = Date.now() + 60_000; Date.now() < endAt;) {
  await new Promise((resolve) => setTimeout(resolve, 100)); // until it kills itself
}
await Deno.stdout.write(new TextEncoder().encode("not killed\n"));
await state[Symbol.asyncDispose]();
