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
  /** What to reach: a factor against another proxy's median, or a bound in the row's unit. */
  readonly target?:
    | { readonly peer: string; readonly factor: number }
    | { readonly atMost: number };
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

/** Whether a row's target is reached by `ours`, and the number that says so. Undefined without a target or a peer. */
export function judge({ spec, samples }: Row, ours: string): { ok: boolean; words: string } | undefined {
  const own = median(samples.get(ours) ?? []);
  const { target } = spec;
  if (!target || Number.isNaN(own)) return undefined;
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
