/** Reading another host's log: whom the token is shown to, and hosts that hang, lie or break off. */
import { assert, assertEquals } from "@std/assert";
import { readHostLog } from "../../../../cli/up/fleet_call.ts";
import { isProxyError } from "../../../../core/errors.ts";
import { hasNativeCalls } from "../../../../core/native.ts";
import { closeQuietly } from "../../../../proxy/streams/byte_reader.ts";
import { proxyAuthority, upstreamAuthority } from "../../../support/test_authority.ts";

hasNativeCalls(); // the C library stays open for the process: the sanitizer must not count it against a test

const TIMES = { openMs: 5_000, silenceMs: 5_000 };
const TOKEN = "spf_planted";
const QUERY = new URLSearchParams({ follow: "1" });
const OK = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n";

/** A TLS server that gives these bytes when it has read a request; it keeps the connection, or closes it. */
class Host implements AsyncDisposable {
  readonly requests: string[] = [];
  readonly port: number;
  readonly #listener: Deno.TlsListener;
  readonly #open = new Set<Deno.Conn>();
  readonly #serving: Promise<void>;

  private constructor(listener: Deno.TlsListener, answer: string, mode: "close" | "keep") {
    this.#listener = listener;
    this.port = (listener.addr as Deno.NetAddr).port;
    this.#serving = this.#serve(answer, mode);
  }

  static async start(answer: string, mode: "close" | "keep" = "close"): Promise<Host> {
    const { certPem: cert, keyPem: key } = await (await proxyAuthority()).issue(["127.0.0.1"]);
    return new Host(Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key }), answer, mode);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const conn of this.#open) closeQuietly(conn);
    await this.#serving;
  }

  async #serve(answer: string, mode: "close" | "keep"): Promise<void> {
    for (;;) {
      const conn = await this.#listener.accept().catch(() => undefined); // it is closed
      if (!conn) return;
      this.#open.add(conn);
      const buffer = new Uint8Array(4_096);
      const count = await conn.read(buffer).catch(() => null);
      if (count !== null) {
        this.requests.push(new TextDecoder().decode(buffer.subarray(0, count)));
        await conn.write(new TextEncoder().encode(answer)).catch(() => {});
      }
      if (mode === "keep" && count !== null) continue;
      this.#open.delete(conn);
      closeQuietly(conn);
    }
  }
}

/** The text of the answer, and how it ended. */
async function read(
  port: number,
  { caPem, host = "127.0.0.1", times = TIMES, signal = new AbortController().signal }: {
    readonly caPem?: string;
    readonly host?: string;
    readonly times?: typeof TIMES;
    readonly signal?: AbortSignal;
  } = {},
): Promise<readonly [string, string]> {
  const way = {
    origin: `https://${host}:${port}`,
    caPem: caPem ?? (await proxyAuthority()).caPem,
    token: TOKEN,
  };
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const piece of readHostLog(way, QUERY, { signal, times })) text += decoder.decode(piece);
    return [text, "end"];
  } catch (error) {
    if (!isProxyError(error)) throw error;
    assertEquals(error.message.includes(TOKEN), false);
    return [text, error.message.replace("Cannot read the log of a host: ", "")];
  }
}

Deno.test("a host is asked once, with its token, and its answer comes without its framing", async () => {
  await using host = await Host.start(
    `${OK}Transfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n2\r\n\nc\r\n0\r\n\r\n`,
  );
  assertEquals(await read(host.port), ["a\nb\nc", "end"]);
  const [request = "", ...more] = host.requests;
  assertEquals(more, []);
  assert(
    request.startsWith(`GET /proxy/v1/audit?follow=1 HTTP/1.1\r\nHost: 127.0.0.1:${host.port}\r\n`),
    request,
  );
  assert(request.includes(`\r\nAuthorization: Bearer ${TOKEN}\r\n`));
});

Deno.test("the token is shown to nobody whose certificate is not of the CA that the host has named", async () => {
  await using host = await Host.start(`${OK}Content-Length: 0\r\n\r\n`);
  const other = (await upstreamAuthority()).caPem;
  const why = "its certificate is not one of the CA that it has named";
  assertEquals(await read(host.port, { caPem: other }), ["", why]);
  assertEquals(await read(host.port, { host: "localhost" }), ["", why]); // another name than the certificate's
  for (const caPem of ["", "none", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]) {
    const [text, how] = await read(host.port, { caPem });
    assertEquals([text, how === "end"], ["", false]);
  }
  assertEquals(host.requests, []);
});

Deno.test("no public root has a say, and no proxy of the environment", async () => {
  // A process of its own: what the runtime trusts, it reads once.
  await using host = await Host.start(`${OK}Content-Length: 0\r\n\r\n`);
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/public.pem`, (await proxyAuthority()).caPem);
    await Deno.writeTextFile(`${dir}/named.pem`, (await upstreamAuthority()).caPem);
    const call = new URL("../../../../cli/up/fleet_call.ts", import.meta.url);
    await Deno.writeTextFile(
      `${dir}/ask.ts`,
      `import { readHostLog } from ${JSON.stringify(call.href)};
       const [file = "", port = ""] = Deno.args;
       const way = { origin: "https://127.0.0.1:" + port, caPem: Deno.readTextFileSync(file), token: "t" };
       try {
         for await (const _ of readHostLog(way, new URLSearchParams(), { signal: new AbortController().signal }));
         console.log("end");
       } catch (error) {
         console.log(error.message);
       }`,
    );
    const ask = async (file: string) => {
      const { stdout } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--config", "deno.json", `${dir}/ask.ts`, `${dir}/${file}`, String(host.port)],
        cwd: new URL("../../../../", import.meta.url).pathname,
        env: {
          DENO_CERT: `${dir}/public.pem`,
          HTTPS_PROXY: "http://127.0.0.1:1",
          ALL_PROXY: "http://127.0.0.1:1",
        },
        stderr: "inherit",
      }).output();
      return new TextDecoder().decode(stdout).trim();
    };
    assertEquals(
      await ask("named.pem"),
      "Cannot read the log of a host: its certificate is not one of the CA that it has named",
    );
    assertEquals(host.requests, []);
    assertEquals(await ask("public.pem"), "end");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a host that hangs, breaks off or answers something else is given up in time", async (t) => {
  const rows: [name: string, answer: string, mode: "close" | "keep", how: readonly [string, string]][] = [
    ["no answer", "", "keep", ["", "no answer within 0.3 s"]],
    ["half a head", "HTTP/1.1 200 OK\r\nContent-", "keep", ["", "no answer within 0.3 s"]],
    ["silence", `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\na\n\r\n`, "keep", [
      "a\n",
      "no answer within 0.3 s",
    ]],
    ["half a body", `${OK}Content-Length: 9\r\n\r\na\n`, "close", ["a\n", "its answer broke off"]],
    ["401", "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", "close", [
      "",
      "it does not take this host's token: it has another seal key, or an older version",
    ]],
    ["503", "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "close", ["", "it has too many readers already"]],
    ["a redirect", "HTTP/1.1 302 No\r\nLocation: https://evil.test/\r\nContent-Length: 0\r\n\r\n", "close", [
      "",
      "it answered with status 302",
    ]],
    ["a page", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n", "close", [
      "",
      "what it answers is no log",
    ]],
  ];
  for (const [name, answer, mode, how] of rows) {
    await t.step(name, async () => {
      await using host = await Host.start(answer, mode);
      const times = mode === "keep" ? { openMs: 300, silenceMs: 300 } : TIMES;
      // The handshake takes its time on a busy machine: only what hangs has a short one.
      assertEquals(await read(host.port, { times }), how);
    });
  }
  await t.step("garbage", async () => {
    await using host = await Host.start("\x00\x01garbage\r\n\r\n");
    const [text, how] = await read(host.port);
    assertEquals([text, how.startsWith("Cannot read")], ["", true], how);
    assertEquals(how.includes("garbage"), false);
  });
  await t.step("nobody there", async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    listener.close();
    assertEquals(await read(listener.addr.port), ["", "connection refused"]);
  });
  await t.step("no TLS there, and silence", async () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const accepted = listener.accept();
    assertEquals(await read(listener.addr.port, { times: { openMs: 300, silenceMs: 300 } }), [
      "",
      "no answer within 0.3 s",
    ]);
    (await accepted).close();
  });
  await t.step("whoever asked has gone", async () => {
    await using host = await Host.start(`${OK}Transfer-Encoding: chunked\r\n\r\n2\r\na\n\r\n`, "keep");
    const ending = new AbortController();
    const reason = new DOMException("gone", "AbortError");
    const reading = read(host.port, { signal: ending.signal }).catch((error) => error);
    while (host.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    ending.abort(reason);
    assertEquals(await reading, reason);
  });
});
