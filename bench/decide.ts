/**
 * What one decision costs in this checkout and in others, taken in turns, each time in a fresh process:
 *
 *     git worktree add --detach /tmp/before COMMIT
 *     deno run -A bench/decide.ts /tmp/before .
 *
 * It asks what the request path asks of the policy: how the body has to be read, the decision, and what the log says. A
 * checkout from before bodies were read is asked for the decision alone. Rounds are set by `BENCH_ROUNDS`.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { fileURLToPath, pathToFileURL } from "node:url";
import { resolve } from "node:path";
import { cpuUsage } from "node:process";
import { median } from "./stats.ts";

const DECISIONS = 200_000;
const WARM_UP = 50_000;

const PLAIN = { client: "one", methods: [], paths: [], ports: [], passthrough: false };
/** Three rules without words, of which the last one matches. */
const CASES = {
  "hosts": [
    { ...PLAIN, id: "1", host: "api.example.com", ports: [8443] },
    { ...PLAIN, id: "2", host: "api.example.com", ports: [9443] },
    { ...PLAIN, id: "3", host: "*.example.com" },
  ],
  "methods and paths": [
    { ...PLAIN, id: "1", host: "api.example.com", methods: ["POST"], paths: ["/v1/messages"] },
    { ...PLAIN, id: "2", host: "api.example.com", methods: ["GET"], paths: ["/v2/*"] },
    { ...PLAIN, id: "3", host: "*.example.com", methods: ["GET"], paths: ["/v1/*"] },
  ],
} as const;
const ASKED = { host: "api.example.com", port: 443, method: "GET", path: "/v1/models/7" };

/** Microseconds of CPU a decision, by case: a machine that does something else too changes them less. */
type Measured = Readonly<Record<string, number>>;

async function measure(root: string): Promise<Measured> {
  const load = async (path: string) =>
    await import(new URL(path, pathToFileURL(`${root}/`)).href).catch(() => ({}));
  const { decideRequest, contentNeeded } = await load("policy/decide.ts");
  const { formatSays } = await load("policy/words/says.ts");
  const measured: Record<string, number> = {};
  for (const [name, rules] of Object.entries(CASES)) {
    Object.freeze(rules);
    const decide = () => {
      contentNeeded?.(rules, ASKED);
      formatSays?.(rules, ASKED);
      if (decideRequest(rules, ASKED).rule.id !== "3") throw new Error("another rule matched");
    };
    for (let i = 0; i < WARM_UP; i++) decide();
    const before = cpuUsage();
    for (let i = 0; i < DECISIONS; i++) decide();
    const { user, system } = cpuUsage(before);
    measured[name] = (user + system) / DECISIONS;
  }
  return measured;
}

async function measureApart(root: string): Promise<Measured> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", fileURLToPath(import.meta.url), "--one", root],
    stderr: "inherit",
  }).output();
  return JSON.parse(new TextDecoder().decode(stdout));
}

async function compare(roots: readonly string[]): Promise<void> {
  const all = roots.map((): Measured[] => []);
  for (let round = 0; round < Number(Deno.env.get("BENCH_ROUNDS") ?? 11); round++) {
    for (const [i, root] of roots.entries()) all[i]?.push(await measureApart(root));
  }
  for (const name of Object.keys(CASES)) {
    for (const [i, root] of roots.entries()) {
      const samples = (all[i] ?? []).map((measured) => measured[name] ?? NaN);
      const figures = [Math.min(...samples), median(samples)].map((us) => `${us.toFixed(3)} µs`);
      console.log(`${name}: least ${figures[0]}, median ${figures[1]}  ${root}`);
    }
  }
}

const [first, ...more] = Deno.args;
if (first === "--one") console.log(JSON.stringify(await measure(resolve(more[0] ?? "."))));
else await compare(Deno.args.length === 0 ? ["."] : Deno.args);
