/**
 * What a host says of itself with each sign of life, and what others make of it. Whoever can write to the database can write
 * anything there, so it is read as untrusted: numbers within bounds, and nothing else.
 *
 * @module
 */

/** How much a host does. Counts are since its start. */
export interface HostFigures {
  /** Open now. */
  readonly connections: number;
  readonly tunnels: number;
  readonly allowed: number;
  readonly denied: number;
  readonly passedThrough: number;
}

/** A host that says nothing. */
export const NO_FIGURES: HostFigures = {
  connections: 0,
  tunnels: 0,
  allowed: 0,
  denied: 0,
  passedThrough: 0,
};

/** Sums of any number of hosts stay exact below it. */
const MAX_FIGURE = 1e12;

/** The figures in a row's JSON; what is no count is 0. */
export function readFigures(json: unknown): HostFigures {
  const from: object = typeof json === "object" && json !== null ? json : {};
  const said = new Map<string, unknown>(Object.entries(from));
  const count = (name: keyof HostFigures) => {
    const value = said.get(name);
    return typeof value === "number" && value > 0 ? Math.min(Math.floor(value), MAX_FIGURE) : 0;
  };
  return {
    connections: count("connections"),
    tunnels: count("tunnels"),
    allowed: count("allowed"),
    denied: count("denied"),
    passedThrough: count("passedThrough"),
  };
}

/** The figures of several hosts as one. */
export function sumFigures(all: readonly HostFigures[]): HostFigures {
  return all.reduce((sum, each) => ({
    connections: sum.connections + each.connections,
    tunnels: sum.tunnels + each.tunnels,
    allowed: sum.allowed + each.allowed,
    denied: sum.denied + each.denied,
    passedThrough: sum.passedThrough + each.passedThrough,
  }), NO_FIGURES);
}
