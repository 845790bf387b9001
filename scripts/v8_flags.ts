/**
 * How V8 is set up, for the compiled binary and for `deno task start` alike.
 *
 * Not here: what the program may do (`permissions.ts`).
 *
 * @module
 */

/**
 * When a thread allocates little for some time, V8 collects everything twice and gives memory back, and with it the compiled
 * code of what nobody happened to hold just then: the next burst begins cold, at one and a half times the CPU for seconds
 * (`bench/README.md`, "Where the time goes"). After 8 seconds, V8's default, that hits every client that pauses to think; after
 * five minutes only a host that rests, which still gets its memory back.
 */
const MEMORY_REDUCER_DELAY_MS = 5 * 60_000;

/** The flag, as `deno run` and `deno compile` take it. */
export const V8_FLAGS = `--v8-flags=--memory-reducer-delay-ms=${MEMORY_REDUCER_DELAY_MS}`;
