/**
 * A worker as the program has it, which can be told over a channel to misbehave: hold its audit records back, throw, reject,
 * leave without a word, or hang for a while.
 *
 * @module
 */
import { serveDataPlane } from "../../workers/data_plane.ts";

const stage = new BroadcastChannel("worker-stage");
const { name, close } = globalThis as unknown as { readonly name: string; close(): void };

stage.onmessage = ({ data: { plane, act, ms } }) => {
  if (!name.endsWith(` ${plane}`)) return;
  if (act === "hold") Object.assign(globalThis, { setTimeout: () => 0 });
  if (act === "throw") {
    queueMicrotask(() => {
      throw new Error("told to");
    });
  }
  if (act === "reject") void Promise.reject(new Error("told to"));
  if (act === "leave") close();
  if (act === "hang") { for (const until = performance.now() + ms; performance.now() < until;); }
};

serveDataPlane();
