/**
 * The program's entry point. Everything happens in `cli/run.ts`.
 *
 * @module
 */
import { main } from "./cli/run.ts";

await main(Deno.args);
