/** Clients in clear that end their side together with their request, as `printf … | nc -N` does, and clients that are gone. */
import { assertEquals, assertMatch } from "@std/assert";
import { readRequest, startRawUpstream } from "../support/echo_upstream.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { basic, dialRaw } from "../support/raw_peer.ts";
import { soon } from "../support/sockets.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";

const AUTH = `Proxy-Authorization: ${basic(TOKEN)}\r\n`;

/** An upstream that thinks before it answers, with what it was sent: the end of the client's stream comes before that. */
async function startSlowUpstream() {
  return await startRawUpstream(async (peer) => {
    for (;;) {
      const request = await readRequest(peer);
      if (!request) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
      const body = `${request.requestLine} with ${JSON.stringify(request.body)}`;
      await peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    }
  }, { names: [] });
}

/** What each row's program sends, and the answers that it must see. `HOST` is the upstream. */
const ROWS:
  readonly (readonly [name: string, flags: readonly string[], words: string, answers: readonly string[]])[] =
    [
      [
        "HTTP/1.0",
        ["-N"],
        `GET http://HOST/a HTTP/1.0\r\n${AUTH}\r\n`,
        ['GET /a HTTP/1.0 with ""'],
      ],
      [
        "HTTP/1.0, a program that does not end its side",
        [],
        `GET http://HOST/a HTTP/1.0\r\n${AUTH}\r\n`,
        ['GET /a HTTP/1.0 with ""'],
      ],
      [
        "HTTP/1.1",
        ["-N"],
        `GET http://HOST/b HTTP/1.1\r\nHost: HOST\r\n${AUTH}\r\n`,
        ['GET /b HTTP/1.1 with ""'],
      ],
      [
        "HTTP/1.1, two requests",
        ["-N"],
        ["c", "d"].map((path) => `GET http://HOST/${path} HTTP/1.1\r\nHost: HOST\r\n${AUTH}\r\n`).join(""),
        ['GET /c HTTP/1.1 with ""', 'GET /d HTTP/1.1 with ""'],
      ],
      [
        "a body",
        ["-N"],
        `POST http://HOST/e HTTP/1.1\r\nHost: HOST\r\n${AUTH}Content-Length: 5\r\n\r\nhello`,
        ['POST /e HTTP/1.1 with "hello"'],
      ],
      [
        "a chunked body",
        ["-N"],
        `POST http://HOST/f HTTP/1.1\r\nHost: HOST\r\n${AUTH}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n`,
        ["POST /f HTTP/1.1 with "],
      ],
      [
        "HTTP/1.0, a body",
        ["-N"],
        `POST http://HOST/g HTTP/1.0\r\n${AUTH}Content-Length: 5\r\n\r\nhello`,
        ['POST /g HTTP/1.0 with "hello"'],
      ],
      [
        "in a tunnel",
        ["-N"],
        `CONNECT HOST HTTP/1.1\r\nHost: HOST\r\n${AUTH}\r\nGET /h HTTP/1.1\r\nHost: HOST\r\n\r\n`,
        ['GET /h HTTP/1.1 with ""'],
      ],
    ];

Deno.test({
  name: "a client that ends its side together with its request gets its answer",
  ignore: !hasProgram("nc"),
  fn: async (t) => {
    await using upstream = await startSlowUpstream();
    await using proxy = await startTestProxy();
    proxy.policy.allow("one", { host: "plain.test", ports: [upstream.port] });
    for (const [name, flags, words, answers] of ROWS) {
      await t.step(name, async () => {
        const args = [...flags, "-w", "20", "127.0.0.1", String(proxy.httpPort)];
        const { stdout } = await runProgram("nc", args, {
          input: words.replaceAll("HOST", `plain.test:${upstream.port}`),
        });
        let at = 0;
        for (const answer of answers) {
          const found = stdout.indexOf(answer, at);
          assertEquals(found >= 0, true, `no ${answer} in ${JSON.stringify(stdout)}`);
          at = found;
        }
      });
    }
    assertEquals(proxy.lines.filter((line) => line.includes("client-closed")), []);
  },
});

Deno.test("a client that ends its side later than with its request is gone", async () => {
  const asked = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  await using upstream = await startRawUpstream(async (peer) => {
    await readRequest(peer);
    asked.resolve();
    assertEquals(await peer.isClosed(), true);
    gone.resolve();
  }, { names: [] });
  await using proxy = await startTestProxy({ limits: { endWithRequestMs: 0 } }); // all that comes is later
  proxy.policy.allow("one", { host: "plain.test", ports: [upstream.port] });
  using peer = await dialRaw(proxy.httpPort);
  const host = `plain.test:${upstream.port}`;
  await peer.send(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n${AUTH}\r\n`);
  await soon("the upstream has it", asked.promise);
  await peer.conn.closeWrite();
  await soon("the upstream sees it", gone.promise);
  assertMatch(await proxy.waitLine(/^allow client=one .*reason=client-closed /), /host=plain\.test/);
});
