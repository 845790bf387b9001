import { assert, assertEquals, assertRejects } from "@std/assert";
import { ProxyError } from "../../../../../core/errors.ts";
import { openTunnel } from "../../../../../proxy/egress/parents/parent_tunnel.ts";
import type { ParentProxy } from "../../../../../proxy/egress/parents/parents.ts";
import type { ByteStream } from "../../../../../proxy/streams/byte_reader.ts";

const PARENT: ParentProxy = { scheme: "http", host: "parent.test", port: 3128 };
const CONNECTED = "HTTP/1.1 200 Connection established\r\n\r\n";

/** A stream that gives these pieces, then its end or an error, and remembers what was written. */
function streamOf(pieces: readonly string[], failure?: unknown) {
  const left = [...pieces];
  let written = "";
  const stream: ByteStream = {
    read: (into) => {
      const piece = left.shift();
      if (piece === undefined) return failure === undefined ? Promise.resolve(null) : Promise.reject(failure);
      const bytes = new TextEncoder().encode(piece);
      into.set(bytes.subarray(0, into.length));
      if (bytes.length > into.length) left.unshift(piece.slice(into.length));
      return Promise.resolve(Math.min(bytes.length, into.length));
    },
    write: (bytes) => {
      written += new TextDecoder().decode(bytes);
      return Promise.resolve(bytes.length);
    },
    closeWrite: () => Promise.resolve(),
    close: () => {},
  };
  return { stream, written: () => written };
}

async function ask(pieces: readonly string[], more: { parent?: ParentProxy; failure?: unknown } = {}) {
  const { parent = PARENT, failure } = more;
  const { stream, written } = streamOf(pieces, failure);
  const first = await openTunnel(stream, {
    parent,
    authority: "10.0.0.1:443",
    place: "up.test:443",
    limits: { maxHeaderCount: 5, maxInterimResponses: 2 },
  });
  return { first: new TextDecoder().decode(first), written: written() };
}

async function failure(asking: Promise<unknown>): Promise<readonly unknown[]> {
  const { code, reason, message } = await assertRejects(() => asking, ProxyError);
  return [code, reason, message.replace("Cannot connect to up.test:443 through the parent proxy: ", "")];
}

Deno.test("openTunnel() asks with a password where there is one, and gives what comes behind the answer", async () => {
  const head = "CONNECT 10.0.0.1:443 HTTP/1.1\r\nHost: 10.0.0.1:443\r\n";
  assertEquals(await ask([`${CONNECTED}hel`, "lo"]), { first: "hel", written: `${head}\r\n` });
  const parent = { ...PARENT, authorization: "Basic eDp5" };
  assertEquals(await ask([CONNECTED], { parent }), {
    first: "",
    written: `${head}Proxy-Authorization: Basic eDp5\r\n\r\n`,
  });
});

Deno.test("openTunnel() takes any success, whatever its fields say of a body, and refuses the rest", async (t) => {
  for (const status of [200, 204, 299]) {
    await t.step(`${status}`, async () => {
      const { first } = await ask([`HTTP/1.1 ${status} Fine\r\nContent-Length: 3\r\n\r\nabc`]);
      assertEquals(first, "abc");
    });
  }
  const rows: readonly (readonly [number, string, string])[] = [
    [300, "upstream.refused", "parent-denied"],
    [403, "upstream.refused", "parent-denied"],
    [407, "upstream.refused", "parent-auth"],
    [502, "upstream.unreachable", "parent-failed"],
    [504, "upstream.timeout", "parent-timeout"],
  ];
  for (const [status, code, reason] of rows) {
    await t.step(`${status}`, async () => {
      const asking = ask([`HTTP/1.1 ${status} No\r\n\r\n`]);
      assertEquals((await failure(asking)).slice(0, 2), [code, reason]);
    });
  }
});

Deno.test("openTunnel() waits through so many interim answers", async () => {
  const interim = ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 199 Soon\r\n\r\n"];
  assertEquals((await ask([...interim, `${CONNECTED}x`])).first, "x");
  assertEquals(await failure(ask([...interim, ...interim, CONNECTED])), [
    "upstream.malformed",
    "parent-malformed",
    "its answer does not come to an end",
  ]);
});

Deno.test("openTunnel() reads a head of 16 KiB, and not a byte more", async () => {
  const head = (size: number) => {
    const start = "HTTP/1.1 200 Fine\r\nX: ";
    return `${start}${"x".repeat(size - start.length - 4)}\r\n\r\n`;
  };
  assertEquals((await ask([head(16_384)])).first, "");
  assertEquals((await failure(ask([head(16_385)])))[1], "parent-malformed");
});

Deno.test("openTunnel() reads so many fields of an answer", async () => {
  const head = (count: number) => `HTTP/1.1 200 Fine\r\n${"X: y\r\n".repeat(count)}\r\n`;
  assertEquals((await ask([head(5)])).first, "");
  assertEquals((await failure(ask([head(6)])))[1], "parent-malformed");
});

Deno.test("openTunnel() says whether a parent said nothing, or something else", async (t) => {
  const closed = "it closed the connection without an answer";
  const other = "it does not answer as an HTTP proxy";
  const rows: readonly (readonly [string, readonly string[], unknown, string])[] = [
    ["nothing", [], undefined, closed],
    ["half a head", ["HTTP/1.1 200 Fi"], undefined, closed],
    ["another protocol", ["SSH-2.0-OpenSSH\r\n\r\n"], undefined, other],
    ["a reset", [], new Deno.errors.ConnectionReset("reset"), closed],
  ];
  for (const [name, pieces, cause, words] of rows) {
    await t.step(name, async () => {
      const expected = ["upstream.malformed", "parent-malformed", words];
      assertEquals(await failure(ask(pieces, { failure: cause })), expected);
    });
  }
  await t.step("what the stream says itself stays as it is", async () => {
    const late = new ProxyError("upstream.timeout", "Cannot wait any longer", { reason: "parent-timeout" });
    assert(await assertRejects(() => ask([], { failure: late }), ProxyError) === late);
  });
});
