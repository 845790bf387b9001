import { assert, assertEquals, assertRejects } from "@std/assert";
import { FailedLookup } from "../../../../../proxy/egress/names/failed_lookup.ts";
import { withTimeLimit } from "../../../../../proxy/egress/names/time_limit.ts";

const until = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

Deno.test("withTimeLimit() gives up after its time, or with the signal, also one that had aborted before", async () => {
  const { signal } = new AbortController();
  assertEquals(await withTimeLimit({ ms: 60_000, signal }, () => Promise.resolve(1)), 1);
  const late = await assertRejects(() => withTimeLimit({ ms: 1, signal }, until), FailedLookup);
  assertEquals(late.kind, "timeout");
  const gone = new AbortController();
  const going = withTimeLimit({ ms: 60_000, signal: gone.signal }, until);
  gone.abort(new Error("gone"));
  await assertRejects(() => going, Error, "gone");
  await assertRejects(
    () => withTimeLimit({ ms: 60_000, signal: gone.signal }, (signal) => Promise.reject(signal.reason)),
    Error,
    "gone",
  );
});

Deno.test("withTimeLimit() leaves nothing with a signal that lives on", async () => {
  let [added, removed] = [0, 0];
  const { signal } = new AbortController();
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => (added++, add(...args));
  signal.removeEventListener = (...args: Parameters<typeof remove>) => (removed++, remove(...args));
  for (let at = 0; at < 100; at++) {
    await withTimeLimit({ ms: 60_000, signal }, () => Promise.resolve());
    await withTimeLimit({ ms: 60_000, signal }, () => Promise.reject(new Error("no"))).catch(() => {});
  }
  assert(added === 200 && removed === 200, `${added} and ${removed}`);
});
