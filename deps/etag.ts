/**
 * `@std/http/etag` for machines that cannot reach JSR: the npm mirror of the same code, typed here.
 *
 * @module
 */
// @ts-types="./etag.d.ts"
export { eTag, ifNoneMatch } from "npm:deno-std@1.4.0/http/etag.js";
