/**
 * One URL for VMs and for the proxy, as the published clients have it; and `SLICER_URL` as the guides set it. slicerd is
 * stood in for by a server that notes what reaches it.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type Daemon, freePorts, Program } from "../support/program.ts";

const API_TOKEN = "the-token-of-the-api-of-the-proxy-0123456789";

interface Seen {
  readonly method: string;
  readonly target: string;
  readonly headers: Headers;
}

/** slicerd, as far as its clients see it here. */
class FakeSlicerd implements AsyncDisposable {
  readonly seen: Seen[] = [];
  /** Pieces of the endless answer that were asked for. */
  pulled = 0;
  readonly #server: Deno.HttpServer;

  constructor(path: string) {
    this.#server = Deno.serve(
      { path, onListen() {} } as Deno.ServeUnixOptions,
      (request) => this.#answer(request),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  #answer(request: Request): Response {
    const url = new URL(request.url.replace(/^http\+unix:\/\/[^/]*/, "http://slicerd"));
    this.seen.push({
      method: request.method,
      target: url.pathname + url.search,
      headers: new Headers(request.headers),
    });
    if (url.pathname === "/vm/sbox-1/shell") {
      const { socket, response } = Deno.upgradeWebSocket(request, { protocol: "tty" });
      socket.onmessage = ({ data }) => {
        if (data === "exit") socket.close(4_123, "bye");
        else socket.send(data);
      };
      return response;
    }
    if (url.pathname === "/vm/sbox-1/exec") {
      const { readable, writable } = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
        start: (controller) => controller.enqueue(new TextEncoder().encode("started\n")),
      });
      request.body?.pipeTo(writable).catch(() => {});
      return new Response(readable, { headers: { "content-type": "application/x-ndjson" } });
    }
    if (url.pathname === "/vm/sbox-1/endless") {
      return new Response(
        new ReadableStream<Uint8Array<ArrayBuffer>>({
          pull: (controller) => {
            this.pulled++;
            controller.enqueue(new Uint8Array(65_536));
          },
        }),
      );
    }
    if (url.pathname === "/vm") {
      return Response.json([{ hostname: "sbox-1" }], { headers: { "x-slicerd": "yes" } });
    }
    if (url.pathname === "/gone") return new Response(null, { status: 204 });
    return new Response("404 page not found\n", { status: 404 });
  }
}

/** A program with slicerd beside it, both ends of the API's. */
async function stage(
  body: (parts: {
    readonly slicerd: FakeSlicerd;
    readonly daemon: Daemon;
    readonly program: Program;
    readonly socket: (target: string, init?: RequestInit) => Promise<Response>;
    readonly tcp: (target: string, init?: RequestInit) => Promise<Response>;
    readonly tcpPort: number;
  }) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    const program = new Program(dir);
    await using slicerd = new FakeSlicerd(`${dir}/slicer.sock`);
    const free = Deno.listen({ port: 0 });
    const tcpPort = free.addr.port;
    free.close();
    await Deno.writeTextFile(`${dir}/api-token`, API_TOKEN, { mode: 0o600 });
    await Deno.writeTextFile(`${dir}/slicerd-token`, "slicerds-own-token\n", { mode: 0o600 });
    await using daemon = await program.up([
      ...["--slicerd", "./slicer.sock", "--slicerd-token-file", "./slicerd-token"],
      ...["--api-bind", `127.0.0.1:${tcpPort}`, "--api-token-file", "./api-token"],
    ]);
    using client = Deno.createHttpClient({
      proxy: { transport: "unix", path: `${dir}/.slicer/proxy/api.sock` },
    });
    await body({
      slicerd,
      daemon,
      program,
      tcpPort,
      socket: (target, init) => fetch(`http://localhost${target}`, { ...init, client } as RequestInit),
      tcp: (target, init) => fetch(`http://127.0.0.1:${tcpPort}${target}`, init),
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("the published clients drive VMs and proxy by one URL", async (t) => {
  await stage(async ({ slicerd, socket, tcp, tcpPort, program }) => {
    const authorization = "Bearer token-of-the-published-client";

    await t.step("over the socket, in the order of the published example", async () => {
      const vms = await socket("/vm?tag=a%2Fb&all=1", { headers: { authorization } });
      assertEquals([vms.status, vms.headers.get("x-slicerd"), await vms.json()], [200, "yes", [{
        hostname: "sbox-1",
      }]]);
      assertEquals(slicerd.seen.at(-1)?.target, "/vm?tag=a%2Fb&all=1");
      assertEquals(slicerd.seen.at(-1)?.headers.get("authorization"), authorization);
      const made = await socket("/proxy/v1/clients", {
        method: "POST",
        headers: { authorization, "content-type": "application/json" },
        body: JSON.stringify({ name: "sbox-1" }),
      });
      assertEquals(made.status, 201);
      assert((await made.json()).token.startsWith("spi_"));
      const gone = await socket("/gone", { method: "DELETE" });
      assertEquals([gone.status, await gone.text()], [204, ""]);
      // Errors are slicerd's own.
      const none = await socket("/hostgroup/none");
      assertEquals([none.status, await none.text()], [404, "404 page not found\n"]);
    });

    await t.step("exec streams both ways at once", async () => {
      const stdin = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>();
      const writer = stdin.writable.getWriter();
      const ran = await socket("/vm/sbox-1/exec?cmd=cat", { method: "POST", body: stdin.readable });
      const output = ran.body?.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      const until = async (wanted: string) => {
        while (!text.includes(wanted)) text += (await output?.read())?.value ?? "";
      };
      await until("started\n"); // before anything was sent
      await writer.write(new TextEncoder().encode("one\n"));
      await until("one\n");
      await writer.write(new TextEncoder().encode("two\n"));
      await until("two\n");
      await writer.close();
      assertEquals((await output?.read())?.done, true);
    });

    await t.step("whoever reads slowly slows slicerd down", async () => {
      const answer = await socket("/vm/sbox-1/endless");
      const reader = answer.body?.getReader();
      await reader?.read();
      // Pieces are asked for until the buffers between are full; then no more.
      for (let before = -1; before !== slicerd.pulled;) {
        before = slicerd.pulled;
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
      assert(slicerd.pulled * 65_536 < 64 * 1_048_576, `${slicerd.pulled} pieces`);
      await reader?.cancel();
    });

    await t.step("over TCP the API asks for its own token, which goes no further", async () => {
      const before = slicerd.seen.length;
      assertEquals((await (await tcp("/vm")).body?.cancel(), slicerd.seen.length), before);
      const wrong = await tcp("/vm", { headers: { authorization: "Bearer wrong" } });
      assertEquals([wrong.status, slicerd.seen.length], [401, before]);
      await wrong.body?.cancel();
      const right = await tcp("/vm", { headers: { authorization: `Bearer ${API_TOKEN}`, cookie: "a=b" } });
      assertEquals((await right.json()).length, 1);
      const seen = slicerd.seen.at(-1)?.headers;
      assertEquals(seen?.get("authorization"), "Bearer slicerds-own-token");
      assertEquals(seen?.get("cookie"), null);
      assert(![...seen ?? []].some(([, value]) => value.includes(API_TOKEN)));
    });

    await t.step("a session of the web page reaches no VM", async () => {
      const login = (await program.ok(["ui", "--url", `http://127.0.0.1:${tcpPort}`], {
        env: { SLICER_TOKEN: API_TOKEN },
      })).split("\n").at(-1) ?? "";
      const before = slicerd.seen.length;
      const entered = await fetch(login, { redirect: "manual" });
      const cookie = entered.headers.get("set-cookie")?.split(";")[0] ?? "";
      const key = entered.headers.get("location")?.split("#key=")[1] ?? "";
      await entered.body?.cancel();
      const session = { headers: { cookie, "x-slicer-proxy-ui": key } };
      const ours = await tcp("/proxy/v1/status", session);
      assertEquals((await ours.body?.cancel(), ours.status), 200);
      const answer = await tcp("/vm", session);
      assertEquals((await answer.body?.cancel(), answer.status), 403);
      assertEquals(slicerd.seen.length, before);
    });

    await t.step("what is ours never reaches slicerd, however it is written", async () => {
      const before = slicerd.seen.length;
      const targets = [
        ...["/proxy/v1/nothing", "/proxy/v1", "/proxy", "/healthz", "/healthz/x", "/metrics", "/ui/", "/"],
        ...["//proxy/v1/clients", "/vm/../proxy/v1/clients", "/vm/%2e%2e/proxy/v1/clients", "/vm//x"],
      ];
      for (const target of targets) {
        using conn = await Deno.connect({ transport: "unix", path: `${program.dir}/.slicer/proxy/api.sock` });
        await conn.write(
          new TextEncoder().encode(`GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`),
        );
        const answer = await new Response(conn.readable).text();
        assert(answer.startsWith("HTTP/1.1 "), target);
        assertEquals(slicerd.seen.length, before, `${target}: ${answer}`);
      }
    });

    await t.step("a shell over WebSocket, with its sub-protocol", async () => {
      {
        const socket = new WebSocket(`ws://127.0.0.1:${tcpPort}/vm/sbox-1/shell?rows=24`, {
          protocols: ["tty"],
          headers: { authorization: `Bearer ${API_TOKEN}` },
        });
        socket.binaryType = "arraybuffer";
        const next = () =>
          new Promise<unknown>((resolve) =>
            socket.addEventListener("message", ({ data }) => resolve(data), { once: true })
          );
        await new Promise((resolve, reject) => {
          socket.onopen = resolve;
          socket.onerror = reject;
        });
        assertEquals(socket.protocol, "tty");
        for (const text of ["", "ls\n", "ü".repeat(40_000), "x".repeat(3_000_000)]) {
          const answer = next();
          socket.send(text);
          assertEquals(await answer, text);
        }
        const bytes = crypto.getRandomValues(new Uint8Array(70)).map((byte, i) => i === 0 ? 0 : byte);
        const answer = next();
        socket.send(bytes);
        assertEquals(new Uint8Array(await answer as ArrayBuffer), bytes);
        const closed = new Promise<CloseEvent>((resolve) => socket.onclose = resolve);
        socket.send("exit");
        const { code, reason } = await closed;
        assertEquals([code, reason], [4_123, "bye"]);
      }
      assertEquals(slicerd.seen.at(-1)?.headers.get("authorization"), "Bearer slicerds-own-token");
    });

    await t.step("a WebSocket that slicerd refuses, and other upgrades", async () => {
      const upgrade = async (target: string, name: string) => {
        using conn = await Deno.connect({ transport: "unix", path: `${program.dir}/.slicer/proxy/api.sock` });
        await conn.write(
          new TextEncoder().encode(
            `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: ${name}\r\n` +
              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n",
          ),
        );
        const buffer = new Uint8Array(4_096);
        const length = await conn.read(buffer) ?? 0;
        return new TextDecoder().decode(buffer.subarray(0, length));
      };
      assertStringIncludes(await upgrade("/vm/none/shell", "websocket"), "HTTP/1.1 404 ");
      assertStringIncludes(await upgrade("/vm/sbox-1/shell", "tcp"), "HTTP/1.1 501 ");
    });
  });
});

Deno.test("a call for a slicerd that is not there is a 502 that says so", async () => {
  await stage(async ({ slicerd, socket, program }) => {
    await slicerd[Symbol.asyncDispose]();
    await Deno.remove(`${program.dir}/slicer.sock`).catch(() => {});
    const answer = await socket("/vm");
    assertEquals(answer.status, 502);
    assertStringIncludes(
      await answer.text(),
      "Cannot reach slicerd at ./slicer.sock: there is no such socket",
    );
    const healthy = await socket("/healthz");
    assertEquals((await healthy.body?.cancel(), healthy.status), 200);
  });
});

Deno.test("without --slicerd nothing is passed on, and its own socket is refused", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const program = new Program(dir);
    await using slicerd = new FakeSlicerd(`${dir}/slicer.sock`);
    const own = await program.run(["up", "--slicerd", ".slicer/proxy/api.sock"]);
    assertEquals(own.code, 2, own.stderr);
    assertStringIncludes(own.stderr, "it is the proxy's own API");
    {
      await using _daemon = await program.up();
      using client = Deno.createHttpClient({
        proxy: { transport: "unix", path: `${dir}/.slicer/proxy/api.sock` },
      });
      const answer = await fetch("http://localhost/vm", { client } as RequestInit);
      assertEquals(answer.status, 404);
      await answer.body?.cancel();
      assertEquals(slicerd.seen, []);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("SLICER_URL that means slicerd: the proxy's own socket is used, and that is said once", async (t) => {
  const dir = await Deno.makeTempDir();
  try {
    const program = new Program(dir);
    await using slicerd = new FakeSlicerd(`${dir}/slicer.sock`);
    const env = { SLICER_URL: "./slicer.sock" };
    await t.step("no proxy anywhere: the error stays", async () => {
      const ran = await program.run(["client", "list"], { env });
      assertEquals(ran.code, 1);
      assertStringIncludes(ran.stderr, "cannot use the API at ./slicer.sock");
    });
    await using _daemon = await program.up();
    await t.step("as the guides go", async () => {
      const made = await program.run(["client", "create", "sbox-1"], { env });
      assertEquals(made.code, 0, made.stderr);
      assert(made.stdout.startsWith("spi_"));
      assertEquals(made.stderr.match(/SLICER_URL is/g)?.length, 1, made.stderr);
      assertStringIncludes(
        made.stderr,
        "SLICER_URL is ./slicer.sock, where no proxy answers: using ./.slicer/proxy/api.sock",
      );
      assertStringIncludes(await program.ok(["client", "list"], { env }), "sbox-1");
      assertStringIncludes(await program.ok(["logs"], { env }) + "\n", "\n");
      assert(
        slicerd.seen.every(({ target }) => target.startsWith("/proxy/v1/")),
        "only the question reached slicerd",
      );
    });
    await t.step("absent", async () => {
      assertStringIncludes(
        await program.ok(["client", "list"], { env: { SLICER_URL: "./none.sock" } }),
        "sbox-1",
      );
      const [port] = freePorts();
      assertStringIncludes(
        await program.ok(["client", "list"], { env: { SLICER_URL: `http://127.0.0.1:${port}` } }),
        "sbox-1",
      );
    });
    await t.step("--url means what it says", async () => {
      const ran = await program.run(["client", "list", "--url", "./slicer.sock"], { env });
      assertEquals(ran.code, 1);
      assertStringIncludes(ran.stderr, "cannot use the API at ./slicer.sock");
    });
    await t.step("what the proxy itself refuses is not asked again", async () => {
      const ran = await program.run(["client", "create", "sbox-1"], {
        env: { SLICER_URL: "./.slicer/proxy/api.sock" },
      });
      assertEquals(ran.code, 1);
      assert(!ran.stderr.includes("SLICER_URL"), ran.stderr);
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
