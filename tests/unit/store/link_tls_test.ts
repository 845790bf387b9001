/** TLS to the store: whose certificate is taken, and a server that hangs in the handshake. Deno 2.7 by itself takes public roots, and loses descriptors. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { connect, type TLSSocket } from "node:tls";
import { ProxyError } from "../../../core/errors.ts";
import { hasNativeCalls } from "../../../core/native.ts";
import { certificatesIn, isSignedByOne } from "../../../core/node_tls.ts";
import { closeQuietly } from "../../../proxy/streams/byte_reader.ts";
import { parseStoreAddress } from "../../../store/postgres/address.ts";
import { Link } from "../../../store/postgres/link.ts";
import { proxyAuthority, upstreamAuthority } from "../../support/test_authority.ts";

hasNativeCalls(); // the C library stays open for the process: the sanitizer must not count it against a test

/** Says that it speaks TLS, as PostgreSQL does, and hands on what follows; to nobody, it says nothing more. */
class Server implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open: Deno.Conn[] = [];
  readonly #work: Promise<unknown>[] = [];
  readonly #behind: Deno.TlsListener | undefined;
  /** Bytes that came through TLS. */
  heard = 0;

  constructor(pair?: { readonly certPem: string; readonly keyPem: string }) {
    this.#behind = pair &&
      Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert: pair.certPem, key: pair.keyPem });
    this.#work.push(this.#accept(this.#listener, (conn) => this.#greet(conn)));
    if (this.#behind) this.#work.push(this.#accept(this.#behind, (conn) => this.#hear(conn)));
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.#behind?.close();
    for (const conn of this.#open) closeQuietly(conn);
    for (const work of this.#work) await work;
  }

  async #accept(listener: Deno.Listener, use: (conn: Deno.Conn) => Promise<unknown>): Promise<void> {
    for (;;) {
      const conn = await listener.accept().catch(() => undefined); // it is closed
      if (!conn) return;
      this.#open.push(conn);
      this.#work.push(use(conn).catch(() => {})); // it has gone
    }
  }

  async #greet(conn: Deno.Conn): Promise<void> {
    await conn.read(new Uint8Array(8));
    await conn.write(new TextEncoder().encode("S"));
    if (!this.#behind) return;
    const { port } = this.#behind.addr as Deno.NetAddr;
    const behind = await Deno.connect({ hostname: "127.0.0.1", port });
    this.#open.push(behind);
    await Promise.allSettled([conn.readable.pipeTo(behind.writable), behind.readable.pipeTo(conn.writable)]);
  }

  async #hear(conn: Deno.Conn): Promise<void> {
    this.heard += await conn.read(new Uint8Array(64)) ?? 0;
    closeQuietly(conn);
  }
}

Deno.test("a certificate is of a CA only when that CA, or one that it has signed, has signed it", async () => {
  const { certPem: cert, keyPem: key } = await (await proxyAuthority()).issue(["127.0.0.1"]);
  const [own, other] = [(await proxyAuthority()).caPem, (await upstreamAuthority()).caPem];
  using listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key });
  const { port } = listener.addr as Deno.NetAddr;
  const accepted = listener.accept();
  // As when a root that is not among them has let it in.
  const tls: TLSSocket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
  const shaken = Promise.withResolvers<void>();
  tls.once("secureConnect", shaken.resolve).once("error", shaken.reject);
  using conn = await accepted;
  await Promise.all([(conn as Deno.TlsConn).handshake(), shaken.promise]);
  const takes = (pem: string) => isSignedByOne(certificatesIn(pem), tls);
  assertEquals([own, other, `${other}\n${own}`, "", "none"].map(takes), [true, false, true, false, false]);
  const closed = new Promise((resolve) => tls.once("close", resolve));
  tls.destroy();
  await closed;
});

Deno.test("no public root has a say about the server of --store-ca", async () => {
  // A process of its own: what the runtime trusts, it reads once.
  await using server = new Server(await (await proxyAuthority()).issue(["127.0.0.1"]));
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/public.pem`, (await proxyAuthority()).caPem);
    await Deno.writeTextFile(`${dir}/named.pem`, (await upstreamAuthority()).caPem);
    const folder = new URL("../../../store/postgres/", import.meta.url).href;
    await Deno.writeTextFile(
      `${dir}/open.ts`,
      `import { parseStoreAddress } from "${folder}address.ts";
       import { Link } from "${folder}link.ts";
       const [file = "", port = ""] = Deno.args;
       await Link.open({
         address: parseStoreAddress("postgres://u@127.0.0.1:" + port + "/d"),
         password: () => Promise.resolve(""),
         caPem: Deno.readTextFileSync(file),
         timeoutMs: 20_000,
         name: "test",
       }).catch((error) => console.log(error.message));`,
    );
    const open = async (file: string) => {
      const { stdout } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--config", "deno.json", `${dir}/open.ts`, `${dir}/${file}`, String(server.port)],
        cwd: new URL("../../../", import.meta.url).pathname,
        env: { DENO_CERT: `${dir}/public.pem` },
        stderr: "inherit",
      }).output();
      return new TextDecoder().decode(stdout).trim();
    };
    assertMatch(await open("named.pem"), /signed the server's certificate|issuer|self-signed/);
    assertEquals(server.heard, 0);
    await open("public.pem");
    assert(server.heard > 0);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test({
  name: "a server that hangs in the handshake costs no descriptor",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    await using server = new Server();
    const address = parseStoreAddress(`postgres://u@127.0.0.1:${server.port}/d`);
    const caPem = (await proxyAuthority()).caPem;
    const password = () => Promise.resolve("");
    const open = () => Link.open({ address, password, caPem, timeoutMs: 150, name: "test" });
    const peers = () => [...Deno.readDirSync("/proc/self/fd")].length;
    await assertRejects(open, ProxyError, "no answer in time");
    const before = peers();
    for (let i = 0; i < 8; i++) await assertRejects(open, ProxyError, "no answer in time");
    // The server's side of each is in this process too, and open.
    assert(peers() - before <= 8 + 2, `${peers() - before} more descriptors`);
  },
});
