/**
 * A strict reader of Prometheus' text format 0.0.4, and `promtool` where it is installed (Debian's package `prometheus`; or
 * `PROMTOOL` names it).
 *
 * @module
 */

/** A metric as it was exposed. */
export interface Family {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  /** By name and labels as written, such as `a_total{reason="x"}`. */
  readonly samples: ReadonlyMap<string, number>;
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\[\\\\"n])*"';
const SAMPLE = new RegExp(`^(${NAME})((?:\\{${LABEL}(?:,${LABEL})*\\})?) (\\S+)$`);
const VALUE = /^(?:[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN)$/;

/**
 * The metrics of an exposition. Throws at whatever Prometheus would refuse, and at what it would take but is wrong: samples
 * outside their metric, a name or sample twice, buckets that do not add up.
 */
export function parseExposition(text: string): ReadonlyMap<string, Family> {
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  const families = new Map<string, Family>();
  let family: (Family & { readonly samples: Map<string, number> }) | undefined;
  const lines = text.slice(0, -1).split("\n");
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? "";
    const [, named, help] = new RegExp(`^# HELP (${NAME}) (.+)$`).exec(line) ?? [];
    if (named !== undefined) {
      const [, typed, type] =
        new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram)$`).exec(lines[++i] ?? "") ??
          [];
      if (typed !== named || type === undefined) throw new Error(`no TYPE follows: ${line}`);
      if (families.has(named)) throw new Error(`a second time: ${named}`);
      family = { name: named, type, help: help ?? "", samples: new Map() };
      families.set(named, family);
      continue;
    }
    const [, name = "", labels = "", value = ""] = SAMPLE.exec(line) ?? [];
    const suffix = family && name.startsWith(family.name) ? name.slice(family.name.length) : undefined;
    const isOf = family?.type === "histogram" ? /^_(bucket|sum|count)$/.test(suffix ?? "") : suffix === "";
    if (!family || !isOf || !VALUE.test(value)) throw new Error(`not a sample of ${family?.name}: ${line}`);
    if (family.samples.has(name + labels)) throw new Error(`a second time: ${line}`);
    family.samples.set(name + labels, Number(value.replace("Inf", "Infinity")));
  }
  for (const each of families.values()) checkFamily(each);
  return families;
}

/** The value of one sample. Throws when there is none. */
export function sampleOf(families: ReadonlyMap<string, Family>, sample: string): number {
  for (const { samples } of families.values()) {
    const value = samples.get(sample);
    if (value !== undefined) return value;
  }
  throw new Error(`there is no ${sample}`);
}

function checkFamily({ name, type, samples }: Family): void {
  if (samples.size === 0) throw new Error(`${name} has no sample`);
  if ((type === "counter") !== name.endsWith("_total")) throw new Error(`${name} is a ${type}`);
  if (type !== "histogram") return;
  const buckets = [...samples].flatMap(([sample, value]) => {
    const bound = /_bucket\{le="([^"]+)"\}$/.exec(sample)?.[1];
    return bound === undefined ? [] : [{ bound: Number(bound.replace("Inf", "Infinity")), value }];
  });
  for (const [i, { bound, value }] of buckets.entries()) {
    const before = buckets[i - 1] ?? { bound: -Infinity, value: 0 };
    if (!(bound > before.bound && value >= before.value)) throw new Error(`${name} falls at ${bound}`);
  }
  const last = buckets.at(-1);
  if (last?.bound !== Infinity || last.value !== samples.get(`${name}_count`)) {
    throw new Error(`${name}: the last bucket is not the count`);
  }
  if (!samples.has(`${name}_sum`)) throw new Error(`${name} has no sum`);
}

/** Runs `promtool` with what it reads; undefined where there is none. */
export async function promtool(args: readonly string[], stdin: string): Promise<string | undefined> {
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(Deno.env.get("PROMTOOL") ?? "promtool", {
      args: [...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(stdin)).catch(() => {}); // it may end without reading
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  if (code !== 0) throw new Error(`promtool ${args.join(" ")}: ${said}`);
  return said;
}
