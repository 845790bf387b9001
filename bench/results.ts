/**
 * What was measured: rows of samples per proxy, and what the project has set itself (SPEC section 8).
 *
 * @module
 */
import { median } from "./stats.ts";

/** A row of the table. */
export interface RowSpec {
  readonly key: string;
  readonly title: string;
  readonly unit: string;
  readonly digits: number;
  readonly better: "more" | "less";
  /** What to reach. */
  readonly targets?: readonly Target[];
}

/** A factor against another proxy's median, or a bound in the row's unit. */
export type Target = { readonly peer: string; readonly factor: number } | { readonly atMost: number };

/** Whether a target is reached, and the number that says so. */
export interface Verdict {
  readonly ok: boolean;
  readonly words: string;
}

/** A row's samples by proxy. */
export interface Row {
  readonly spec: RowSpec;
  readonly samples: ReadonlyMap<string, readonly number[]>;
}

/** All rows, in the order in which they were first measured. */
export class Results {
  readonly #rows = new Map<string, { spec: RowSpec; samples: Map<string, number[]> }>();

  add(spec: RowSpec, peer: string, ...values: readonly number[]): void {
    const row = this.#rows.get(spec.key) ?? { spec, samples: new Map<string, number[]>() };
    this.#rows.set(spec.key, row);
    row.samples.set(peer, [...row.samples.get(peer) ?? [], ...values]);
  }

  get rows(): readonly Row[] {
    return [...this.#rows.values()];
  }
}

/** Which of a row's targets `ours` reaches. Those against a proxy that was not measured are left out. */
export function judge(row: Row, ours: string): readonly Verdict[] {
  return (row.spec.targets ?? []).flatMap((target) => judgeOne(row, target, ours) ?? []);
}

function judgeOne({ spec, samples }: Row, target: Target, ours: string): Verdict | undefined {
  const own = median(samples.get(ours) ?? []);
  if (Number.isNaN(own)) return undefined;
  if ("atMost" in target) {
    return { ok: own <= target.atMost, words: `≤ ${target.atMost} ${spec.unit}`.trimEnd() };
  }
  const other = median(samples.get(target.peer) ?? []);
  if (Number.isNaN(other)) return undefined;
  const factor = own / other;
  const ok = spec.better === "more" ? factor >= target.factor : factor <= target.factor;
  const sign = spec.better === "more" ? "≥" : "≤";
  return { ok, words: `${sign} ${target.factor}× ${target.peer}: ${factor.toFixed(2)}×` };
}
