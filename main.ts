/**
 * The program's entry point. Everything happens in `cli/run.ts`, or in `workers/data_plane.ts` when this is a worker of it.
 *
 * @module
 */
import { main } from "./cli/run.ts";

if ("WorkerGlobalScope" in globalThis) (await import("./workers/data_plane.ts")).serveDataPlane();
else await main(Deno.args);
