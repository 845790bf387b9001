/**
 * `@std/cli/parse-args` for machines that cannot reach JSR: the npm mirror of the same code, with the part of
 * its type that the project uses.
 *
 * @module
 */
// @ts-types="./parse_args.d.ts"
export { parseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";
