/**
 * What V8's profilers say, as an amount for each request by stage and by place in the code.
 *
 * Not here: which stage a file belongs to (`stages.ts`).
 *
 * @module
 */
import { stageOf } from "./stages.ts";

/** A node of a call tree, as the inspector gives it. */
export interface CallNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
}
/** Of CPU time. */
export interface TimeProfile {
  readonly nodes: readonly CallNode[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}
/** Of bytes. */
export interface HeapNode extends Omit<CallNode, "children"> {
  readonly selfSize: number;
  readonly children: readonly HeapNode[];
}

/** An amount for each request by stage, and by place in the code. */
export class Costs {
  readonly byStage = new Map<string, number>();
  readonly byPlace = new Map<string, number>();

  add(stage: string, place: string, amount: number): void {
    this.byStage.set(stage, (this.byStage.get(stage) ?? 0) + amount);
    this.byPlace.set(place, (this.byPlace.get(place) ?? 0) + amount);
  }
}

/** V8's own names for what is no function of anybody. */
export const OUTSIDE: Readonly<Record<string, string>> = {
  "(garbage collector)": "garbage collection",
  "(program)": "runtime: kernel, TLS, scheduling",
  "(root)": "runtime: kernel, TLS, scheduling",
};
/** Called by the event loop: a promise is settled, a timer is due. */
export const LOOP = "runtime: event loop";

/** Waiting, and making the profile itself. */
function isLeftOut({ functionName, url }: CallNode["callFrame"]): boolean {
  return functionName === "(idle)" || url.includes("inspector");
}

function stageOfFrame({ functionName, url }: CallNode["callFrame"]): string | undefined {
  return OUTSIDE[functionName] ?? stageOf(url);
}

function placeOf({ functionName, url, lineNumber }: CallNode["callFrame"]): string {
  return `${functionName || "(anonymous)"} ${
    url.replace(/^.*\/(?=(proxy|core|policy|store|cli|ext:)\/?)/, "")
  }:${lineNumber + 1}`;
}

/** Microseconds a request; idle time is left out. */
export function timeCosts({ nodes, samples, timeDeltas }: TimeProfile, requests: number): Costs {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map(
    nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node] as const)),
  );
  const stageOfNode = (node: CallNode): string => {
    for (let at: CallNode | undefined = node; at; at = parents.get(at.id)) {
      const stage = at.callFrame.functionName === "(root)" ? undefined : stageOfFrame(at.callFrame);
      if (stage !== undefined) return stage;
    }
    return LOOP;
  };
  const costs = new Costs();
  for (const [i, id] of samples.entries()) {
    const node = byId.get(id);
    if (!node || isLeftOut(node.callFrame)) continue;
    costs.add(stageOfNode(node), placeOf(node.callFrame), (timeDeltas[i] ?? 0) / requests);
  }
  return costs;
}

/** Bytes a request, as sampled. */
export function heapCosts(head: HeapNode, requests: number): Costs {
  const costs = new Costs();
  const visit = ({ callFrame, selfSize, children }: HeapNode, above: string) => {
    const stage = stageOfFrame(callFrame) ?? above;
    if (selfSize > 0) costs.add(stage, placeOf(callFrame), selfSize / requests);
    for (const child of children) visit(child, stage);
  };
  for (const child of head.children) visit(child, LOOP);
  return costs;
}

/** Promises a request, by the first frame of the program's own. */
export function promiseCosts(
  made: readonly (readonly [stack: string, count: number])[],
  requests: number,
): Costs {
  const costs = new Costs();
  for (const [stack, count] of made) {
    const places = stack.split("\n").slice(1).flatMap((line) => {
      const [, functionName = "", url = "", lineNumber = 1] =
        /at (?:(.*) \()?(.*?):(\d+):\d+\)?$/.exec(line) ?? [];
      const stage = stageOf(url);
      return stage === undefined
        ? []
        : [{ stage, place: placeOf({ functionName, url, lineNumber: Number(lineNumber) - 1 }) }];
    });
    const [{ stage, place } = { stage: LOOP, place: "(nobody's)" }] = places;
    costs.add(stage, place, count / requests);
  }
  return costs;
}
