/**
 * A worker as the program has it, which can be told over a channel to misbehave: hold its audit records back, throw, reject,
 * leave without a word, or hang until it is told in shared memory.
 *
 * @module
 */
import { serveDataPlane } from "../../workers/data_plane.ts";

const stage = new BroadcastChannel("worker-stage");
const { name, close } = globalThis as unknown as { readonly name: string; close(): void };

stage.onmessage = ({ data: { plane, act, flags } }) => {
  if (!name.endsWith(` ${plane}`)) return;
  if (act === "hold") Object.assign(globalThis, { setTimeout: () => 0 });
  if (act === "throw") {
    queueMicrotask(() => {
      throw new Error("told to");
    });
  }
  if (act === "reject") void Promise.reject(new Error("told to"));
  if (act === "leave") close();
  if (act === "hang") hang(new Int32Array(flags));
};

/** Says in the first flag that it does, since nothing else leaves a thread that hangs; goes on by the second. */
function hang(flags: Int32Array): void {
  Atomics.store(flags, 0, 1);
  while (Atomics.load(flags, 1) === 0);
}

serveDataPlane();
