/**
 * The upstream of the attacks, a process of its own. It answers every request with 1 KiB and, as many servers do, takes no
 * notice of a body on a request that needs none: what stands there it reads as the next request. It appends each request line
 * to `seen.txt`. Takes the folder for its files; prints its ports.
 */
import { makeAuthority } from "../support/test_authority.ts";
import { RawPeer } from "../support/raw_peer.ts";

const [dir = "."] = Deno.args;
const ca = await makeAuthority("attack-upstream");
await Deno.writeTextFile(`${dir}/upstream-ca.pem`, ca.caPem);
const { certPem, keyPem } = await ca.issue(["localhost", "127.0.0.1"]);
const seen = await Deno.open(`${dir}/seen.txt`, { create: true, append: true });

const address = { hostname: "127.0.0.1", port: 0 };
const tls = Deno.listenTls({ ...address, cert: certPem, key: keyPem, alpnProtocols: ["http/1.1"] });
const clear = Deno.listen(address);
const ports = { tls: tls.addr.port, clear: (clear.addr as Deno.NetAddr).port };
await Deno.stdout.write(new TextEncoder().encode(`${JSON.stringify(ports)}\n`));

const ANSWER = `HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n${"x".repeat(1_024)}`;

async function serve(peer: RawPeer): Promise<void> {
  for (;;) {
    const head = await peer.readHead();
    const line = head.slice(0, Math.min(head.indexOf("\r\n"), 500));
    if (!line.includes(" /i/")) seen.writeSync(new TextEncoder().encode(`${line}\n`));
    if (/\r\nx_|\r\nx-http-method-override/i.test(head)) {
      seen.writeSync(new TextEncoder().encode(`OVERRIDE ${line}\n`));
    }
    const length = /^(POST|PUT)/.test(line) ? Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0) : 0;
    if (length > 0) await peer.readBytes(length);
    await peer.send(ANSWER);
  }
}

async function accept(listener: Deno.Listener): Promise<void> {
  for await (const conn of listener) {
    const peer = new RawPeer(conn);
    serve(peer).catch(() => {}).finally(() => peer[Symbol.dispose]());
  }
}

await Promise.all([accept(tls), accept(clear)]);
