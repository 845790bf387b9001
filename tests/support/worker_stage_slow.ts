/**
 * A worker as on a machine that is busy with other things: it takes seconds to load.
 *
 * @module
 */
await new Promise((resolve) => setTimeout(resolve, 2_500));
await import("./worker_stage.ts");
