import { assertEquals } from "@std/assert";
import * as zlib from "node:zlib";
import { Deadlines } from "../../../../core/deadlines.ts";
import { Needles } from "../../../../proxy/echo/needles.ts";
import { WatchedBody } from "../../../../proxy/echo/watched_body.ts";
import { PiecesBody } from "./support.ts";

Deno.test("drop() ends the decoder of an answer that is not read to its end", async () => {
  const bytes = zlib.gzipSync(crypto.getRandomValues(new Uint8Array(40_000)));
  const gunzip = zlib.createGunzip();
  const body = new WatchedBody(
    new PiecesBody([bytes.subarray(0, 9_000), bytes.subarray(9_000)]),
    () => gunzip,
    { needles: new Needles(["sk-planted"]), deadlines: new Deadlines(), onEcho: () => true, isPart: false },
  );
  await body.fill();
  assertEquals(body.take().length, 9_000);
  assertEquals(gunzip.destroyed, false);
  body.drop();
  assertEquals(gunzip.destroyed, true);
});
