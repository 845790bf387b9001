/**
 * The attack suite: each row of `table.ts` against the real program, with an innocent client beside it whose latency is
 * measured before and during. `deno task attack [--short] [--workers N] [NAME…]`; SLICER_PROXY_BIN names a compiled binary.
 * Exit code 0 only if every row held, in one of three tries where nothing but latency was wrong.
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "@std/cli/parse-args";
import { Site } from "./site.ts";
import { ATTACKS } from "./table.ts";
import type { Attack } from "./target.ts";
import { judge, type Report } from "./verdict.ts";

const flags = parseArgs(Deno.args, { boolean: ["short"], string: ["workers"] });
const names = flags._.map(String);
const attacks = names.length === 0
  ? ATTACKS.filter(({ isLong }) => !(flags.short && isLong))
  : ATTACKS.filter(({ name }) => names.includes(name));
if (attacks.length < Math.max(1, names.length)) throw new RangeError(`no such attack: ${names.join(" ")}`);
const workers = flags.workers === undefined ? [1, 2] : [Number(flags.workers)];
const seconds = flags.short ? { quiet: 2, attack: 4 } : { quiet: 5, attack: 15 };

const MOST_TRIES = 3;

let failed = 0;
for (const count of workers) {
  for (const attack of attacks) {
    if (!await holds(attack, count)) failed++;
  }
}
console.log(`${attacks.length * workers.length - failed} held, ${failed} failed`);
Deno.exit(failed === 0 ? 0 : 1);

/** What only was slow is tried again, and each try is said: who is slow because of the attack is slow each time. */
async function holds(attack: Attack, count: number): Promise<boolean> {
  for (let tries = 1;; tries++) {
    const { held, isOnlySlow, line } = await runAttack(attack, count).then(judge, (error) => ({
      held: false,
      isOnlySlow: false,
      line: `!! ${error instanceof Error ? error.message : error}`, // the proxy has ended, for instance
    }));
    const isLast = held || !isOnlySlow || tries === MOST_TRIES;
    console.log(`${held ? "held  " : isLast ? "FAILED" : "slow  "} workers=${count} ${attack.name}: ${line}`);
    if (isLast) return held;
  }
}

async function runAttack(attack: Attack, count: number): Promise<Report> {
  await using site = await Site.open(count);
  await site.measure(1); // certificates are minted and code is warm
  const quiet = await site.measure(seconds.quiet);
  const before = await site.vitals();
  const [tally, busy] = await Promise.all([
    site.attack(attack.name, seconds.attack),
    site.measure(seconds.attack + 1),
  ]);
  const after = await site.vitals();
  const lost = await site.lostRecords();
  return {
    attack,
    threads: count,
    seconds: seconds.attack,
    ...{ quiet, busy, tally, before, after, lost },
    seen: await site.seen(),
    words: site.words,
  };
}
