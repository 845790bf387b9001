import { assertEquals, assertRejects } from "@std/assert";
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

Deno.test("the beginning of a credential waits for its end, whatever decodes to nothing in between", async () => {
  const deflate = zlib.createGzip();
  const pieces: Uint8Array[] = [];
  const written: Uint8Array[] = [];
  deflate.on("data", (bytes: Uint8Array) => written.push(bytes));
  for (const text of ["x sk-pla", "", "nted y"]) {
    if (text !== "") deflate.write(text);
    await new Promise<void>((resolve) => deflate.flush(zlib.constants.Z_FULL_FLUSH, () => resolve()));
    pieces.push(new Uint8Array(await new Blob(written.splice(0) as Uint8Array<ArrayBuffer>[]).arrayBuffer()));
  }
  deflate.destroy();
  const empty = Uint8Array.of(0, 0, 0, 0xff, 0xff); // a stored block without content
  const [first = empty, , last = empty] = pieces;
  const body = new WatchedBody(new PiecesBody([first, empty, last]), () => zlib.createGunzip(), {
    needles: new Needles(["sk-planted"]),
    deadlines: { start: () => ({ restart: () => {}, stop: () => {} }) },
    onEcho: () => {
      throw new Error("found");
    },
  });
  for (let i = 0; i < 2; i++) {
    await body.fill();
    assertEquals(body.take().length, 0);
  }
  await assertRejects(() => body.fill(), Error, "found");
  body.drop();
});
