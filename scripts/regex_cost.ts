/**
 * Whether a regular expression costs linear time on every input, by construction (SPEC section 9.14).
 *
 * A backtracking engine that fails has tried every path of the expression's automaton over every prefix of the input, from
 * every start. So its time is linear when that automaton, with a loop in front that stands for the search, is finitely
 * ambiguous. It is not when two states p ≠ q have one word that leads from p to p, from p to q and from q to q (`\s+$`:
 * quadratic and worse), or when one word leads from a state to itself in two ways (`(a|a)*`: exponential). Weber and Seidl,
 * "On the degree of ambiguity of finite automata" (1991); Weideman et al., "Analyzing matching time behavior of backtracking
 * regular expression matchers" (2016). States from which a match cannot fail any more are left out: there nothing is
 * tried again (`,[^,]*` with g).
 *
 * @module
 */
import { parseRegex, type RegexNode, UnjudgedError } from "./regex_syntax.ts";

/** How often one character may be repeated to be written out; more counts as without end. */
const MAX_WRITTEN_OUT = 16;

/** Why the expression is not linear, or undefined when it is. Errs to the safe side. */
export function findSlowness(source: string, flags: string): string | undefined {
  try {
    if (flags.includes("v")) throw new UnjudgedError("it has the flag v");
    const automaton = new Automaton(parseRegex(source), flags);
    return automaton.isExponential()
      ? "it takes exponential time"
      : automaton.isPolynomial()
      ? "it takes quadratic time, or worse"
      : undefined;
  } catch (error) {
    if (error instanceof UnjudgedError) return `it cannot be judged: ${error.message}`;
    throw error;
  }
}

/** A node of the automaton before empty steps are removed. */
interface Node {
  /** Classes of characters that it takes; undefined when it takes none. */
  takes?: ReadonlySet<number>;
  readonly next: Node[];
  /** What must hold to go on from here: `^`, or something that may fail. */
  guard?: "start" | "assertion";
}

/** A state: what was just taken. */
interface State {
  readonly takes: ReadonlySet<number>;
  /** Each next state, with whether there are several ways to it. */
  readonly next: Map<State, { readonly isDouble: boolean }>;
  /** True when the match may end here, whatever comes. */
  mayEnd: boolean;
}

class Automaton {
  readonly #letters: Letters;
  readonly #end: Node = { next: [] };
  readonly #states: State[] = [];
  readonly #isMultiline: boolean;

  constructor(tree: RegexNode, flags: string) {
    this.#letters = new Letters(setsOf(tree), flags);
    this.#isMultiline = flags.includes("m");
    const start = this.#build(tree, this.#end, false);
    this.#removeEmptySteps(start);
    this.#removeSure();
  }

  /** True when a word leads from a state to itself in two ways. */
  isExponential(): boolean {
    for (const loop of this.#loops()) {
      for (const from of loop) {
        for (const [to, { isDouble }] of from.next) if (isDouble && loop.has(to)) return true;
      }
      for (const state of loop) {
        const reached = walk([state, state], ([a, b]) => this.#steps([a, b], loop));
        const parted = reached.filter(([a, b]) => a !== b);
        const isBack = parted.some((pair) =>
          walk(pair, ([a, b]) => this.#steps([a, b], loop)).some(([a, b]) => a === state && b === state)
        );
        if (isBack) return true;
      }
    }
    return false;
  }

  /** True when a word leads from p to p, from p to q and from q to q. */
  isPolynomial(): boolean {
    const loops = this.#loops();
    for (const loop of loops) {
      for (const p of loop) {
        const reachable = new Set(walk([p], ([state]) => this.#steps([state])).map(([state]) => state));
        for (const other of loops) {
          for (const q of other) {
            if (p === q || !reachable.has(q)) continue;
            const found = walk(
              [p, p, q],
              (triple) =>
                this.#steps(triple).filter(([a, , c]) => loop.has(a as State) && other.has(c as State)),
            );
            if (found.some(([a, b, c]) => a === p && b === q && c === q)) return true;
          }
        }
      }
    }
    return false;
  }

  /** The node at which `tree` begins, when `then` comes after it. */
  #build(tree: RegexNode, then: Node, isRepeated: boolean): Node {
    switch (tree.kind) {
      case "set":
        return { takes: this.#letters.of(tree.source), next: [then] };
      case "start":
      case "assertion":
        return { next: [then], guard: tree.kind };
      case "look-ahead": // what is inside is tried, and leads nowhere
        return {
          next: [this.#build(tree.item, { next: [] }, isRepeated), { next: [then], guard: "assertion" }],
        };
      case "choice":
        return { next: tree.items.map((item) => this.#build(item, then, isRepeated)) };
      case "sequence":
        return tree.items.reduceRight((next, item) => this.#build(item, next, isRepeated), then);
      case "repeat":
        return this.#repeat(tree, then, isRepeated);
    }
  }

  #repeat({ item, min, max }: RegexNode & { kind: "repeat" }, then: Node, isRepeated: boolean): Node {
    const isExact = max <= (item.kind === "set" && !isRepeated ? MAX_WRITTEN_OUT : 1);
    let node = then;
    if (isExact) {
      for (let i = max; i > 0; i--) {
        const one = this.#build(item, node, isRepeated);
        node = i > min ? { next: [one, then] } : one;
      }
      return node;
    }
    const least = Math.min(min, MAX_WRITTEN_OUT);
    // What is repeated exactly often ends with one that must be there: the loop itself is not sure of its end.
    if (min > MAX_WRITTEN_OUT) node = this.#build(item, node, true);
    const loop: Node = { next: [] };
    loop.next.push(this.#build(item, loop, true), node);
    node = loop;
    for (let i = 0; i < least; i++) node = this.#build(item, node, true);
    return node;
  }

  #removeEmptySteps(start: Node): void {
    const stateOf = new Map<Node, State>();
    const todo: [State, readonly Node[], boolean][] = [];
    const add = (node: Node): State => {
      const known = stateOf.get(node);
      if (known) return known;
      const state: State = { takes: node.takes ?? new Set(), next: new Map(), mayEnd: false };
      stateOf.set(node, state);
      this.#states.push(state);
      todo.push([state, node.next, this.#isMultiline]);
      return state;
    };
    const first: State = { takes: new Set(), next: new Map(), mayEnd: false };
    this.#states.push(first);
    todo.push([first, [start], true]);
    const everywhere = this.#emptySteps([start], this.#isMultiline);
    if (everywhere.targets.size > 0) {
      // The engine begins anew at each place: as if anything were before the match.
      const search: State = { takes: this.#letters.all, next: new Map(), mayEnd: false };
      search.next.set(search, { isDouble: false });
      first.next.set(search, { isDouble: false });
      this.#states.push(search);
      for (const [node, ways] of everywhere.targets) search.next.set(add(node), { isDouble: ways > 1 });
    }
    for (let item = todo.pop(); item; item = todo.pop()) {
      const [state, nodes, atStart] = item;
      const { targets, mayEnd } = this.#emptySteps(nodes, atStart);
      state.mayEnd = mayEnd;
      for (const [node, ways] of targets) state.next.set(add(node), { isDouble: ways > 1 });
    }
  }

  /** The nodes that take a character next, each with the number of ways that lead to it. */
  #emptySteps(from: readonly Node[], atStart: boolean): { targets: Map<Node, number>; mayEnd: boolean } {
    const targets = new Map<Node, number>();
    let mayEnd = false;
    let budget = 20_000;
    // A way may come through a node twice: out of an inner loop, and into it again by an outer one.
    const onWay: Node[] = [];
    const visit = (node: Node, isSure: boolean): void => {
      if (budget-- === 0) throw new UnjudgedError("it has too many ways to take nothing");
      if (node.takes) targets.set(node, (targets.get(node) ?? 0) + 1);
      if (node === this.#end && isSure) mayEnd = true;
      if (node.takes || (node.guard === "start" && !atStart)) return;
      if (onWay.filter((each) => each === node).length > 1) return;
      onWay.push(node);
      for (const next of node.next) visit(next, isSure && node.guard === undefined);
      onWay.pop();
    };
    for (const node of from) visit(node, true);
    return { targets, mayEnd };
  }

  /** Leaves out states from which no way fails. */
  #removeSure(): void {
    const sure = new Set(this.#states.filter(({ mayEnd }) => mayEnd));
    for (let isChanged = true; isChanged;) {
      isChanged = false;
      for (const state of sure) {
        if ([...state.next.keys()].every((next) => sure.has(next))) continue;
        sure.delete(state);
        isChanged = true;
      }
    }
    this.#states.splice(0, Infinity, ...this.#states.filter((state) => !sure.has(state)));
    for (const state of this.#states) for (const next of sure) state.next.delete(next);
  }

  /** The sets of states that lead to one another. */
  #loops(): Set<State>[] {
    const reach = new Map(this.#states.map((state) => {
      const next = [...state.next.keys()].flatMap((each) => walk([each], ([one]) => this.#steps([one])));
      return [state, new Set(next.map(([each]) => each as State))];
    }));
    const loops: Set<State>[] = [];
    for (const state of this.#states) {
      if (!reach.get(state)?.has(state) || loops.some((loop) => loop.has(state))) continue;
      loops.push(
        new Set(this.#states.filter((each) => reach.get(state)?.has(each) && reach.get(each)?.has(state))),
      );
    }
    return loops;
  }

  /** Where states that take the same characters get to together. */
  #steps(states: readonly (State | undefined)[], within?: ReadonlySet<State>): State[][] {
    let found: { states: State[]; letters: ReadonlySet<number> }[] = [{
      states: [],
      letters: this.#letters.all,
    }];
    for (const state of states) {
      found = found.flatMap(({ states, letters }) =>
        [...state?.next.keys() ?? []].filter((next) => !within || within.has(next))
          .map((next) => ({ states: [...states, next], letters: letters.intersection(next.takes) }))
          .filter(({ letters }) => letters.size > 0)
      );
    }
    return found.map(({ states }) => states);
  }
}

/** Everything that is reached from `start`, with itself. */
function walk(start: State[], next: (at: State[]) => State[][]): State[][] {
  const ids = new Map<State, number>();
  const keyOf = (at: State[]) =>
    at.map((state) => {
      const id = ids.get(state) ?? ids.size;
      ids.set(state, id);
      return id;
    }).join();
  const found = new Map([[keyOf(start), start]]);
  for (const at of found.values()) {
    for (const to of next(at)) {
      const key = keyOf(to);
      if (!found.has(key)) found.set(key, to);
    }
  }
  return [...found.values()];
}

function setsOf(tree: RegexNode): string[] {
  switch (tree.kind) {
    case "set":
      return [tree.source];
    case "choice":
    case "sequence":
      return tree.items.flatMap(setsOf);
    case "repeat":
    case "look-ahead":
      return setsOf(tree.item);
    default:
      return [];
  }
}

/** Latin, the line ends, and one of each kind beyond: spaces, format characters, letters that fold, surrogates, an emoji. */
const SAMPLES = [
  ...Array.from({ length: 0x250 }, (_, code) => code),
  ...[
    0x37e,
    0x3c3,
    0x3c9,
    0x44f,
    0x5d0,
    0x5f3,
    0x0e01,
    0x1680,
    0x1e9e,
    0x2003,
    0x200b,
    0x200e,
    0x2028,
    0x2029,
    0x202a,
  ],
  ...[
    0x2066,
    0x212a,
    0x2160,
    0x3000,
    0x4e2d,
    0xd800,
    0xdc00,
    0xe000,
    0xfeff,
    0xff0e,
    0xfffd,
    0x1f600,
    0x10ffff,
  ],
];

/** Characters sorted into classes: two that no part of the expression tells apart are one letter. */
class Letters {
  readonly #sets = new Map<string, ReadonlySet<number>>();
  readonly all: ReadonlySet<number>;

  constructor(sources: readonly string[], flags: string) {
    const isWide = flags.includes("u");
    const own = sources.flatMap((source) => [...source].map((char) => char.codePointAt(0) ?? 0));
    const codes = [...new Set([...SAMPLES, ...own])].filter((code) => isWide || code <= 0xffff);
    const patterns = [...new Set(sources)].map((source) =>
      [source, new RegExp(`^(?:${source})$`, flags.replaceAll(/[gmy]/g, ""))] as const
    );
    const letterOf = new Map<string, number>();
    const members = new Map(patterns.map(([source]) => [source, new Set<number>()]));
    for (const code of codes) {
      const char = String.fromCodePoint(code);
      const fits = patterns.map(([, pattern]) => pattern.test(char));
      const key = fits.join();
      const letter = letterOf.get(key) ?? letterOf.size;
      letterOf.set(key, letter);
      patterns.forEach(([source], i) => fits[i] && members.get(source)?.add(letter));
    }
    for (const [source, letters] of members) this.#sets.set(source, letters);
    this.all = new Set(letterOf.values());
  }

  /** The letters that a set holds. */
  of(source: string): ReadonlySet<number> {
    return this.#sets.get(source) ?? new Set();
  }
}
