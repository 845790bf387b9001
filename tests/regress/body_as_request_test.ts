/**
 * CL.0: an upstream that answers without reading a request's body took it for the start of the next request. A VM could write
 * there what its rule did not allow, and its next request completed it, with the injected credential.
 */
import { assertEquals } from "@std/assert";
import { startEchoUpstream, startRawUpstream, type Upstream } from "../support/echo_upstream.ts";
import { openTlsTunnel, type RawPeer } from "../support/raw_peer.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";

/** What an upstream ran, in order: the request line, and the credential that it came with. */
interface NaiveUpstream extends Upstream {
  readonly ran: string[];
}

/**
 * Answers when it has the head, and reads on right behind it, whatever length the head announced; with `POST` it reads that
 * body. Most ignore `Connection: close`, so as to be worse than any real server; a polite one obeys.
 */
async function startNaiveUpstream({ isPolite = false } = {}): Promise<NaiveUpstream> {
  const ran: string[] = [];
  const upstream = await startRawUpstream(async (peer) => {
    for (;;) {
      const head = await peer.readHead();
      const [line = "", ...fields] = head.split("\r\n");
      const credential = fields.find((field) => field.startsWith("Authorization: "))?.slice(15) ?? "none";
      ran.push(`${line.replace(/ HTTP.*/, "")} ${credential}`);
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
      if (line.startsWith("POST")) await peer.readBytes(length);
      await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      if (isPolite && /\r\nconnection: close\r\n/i.test(head)) return;
    }
  });
  return Object.assign(upstream, { ran });
}

async function openTo(proxy: TestProxy, { port }: Upstream): Promise<RawPeer> {
  return await openTlsTunnel(proxy.httpPort, `up.test:${port}`, TOKEN, proxy.caPem);
}

function limit(proxy: TestProxy, { port }: Upstream): void {
  proxy.policy.setCredential({ secret: "key", host: "up.test", headers: [["Authorization", "real"]] });
  proxy.policy.allow("one", {
    ...{ host: "up.test", ports: [port], methods: ["GET", "DELETE", "OPTIONS", "POST"] },
    ...{ paths: ["/pub/*"], secret: "key" },
  });
}

/** Sends a request whose body is the start of another one, then a plain one that would complete it. */
async function attack(peer: RawPeer, method: string, host: string): Promise<void> {
  const body = "DELETE /admin HTTP/1.1\r\nX-Swallow: ";
  await peer.send(
    `${method} /pub/a HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await peer.readResponse();
  await peer.send(`GET /pub/b HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  await peer.readResponse();
}

for (const method of ["GET", "DELETE", "OPTIONS", "get"]) {
  Deno.test(`the body of a ${method} never becomes a request with the next one's credential`, async () => {
    await using upstream = await startNaiveUpstream();
    await using proxy = await startTestProxy();
    limit(proxy, upstream);
    using peer = await openTo(proxy, upstream);
    await attack(peer, method, `up.test:${upstream.port}`);
    assertEquals(upstream.ran, [`${method} /pub/a real`, "GET /pub/b real"]);
    assertEquals(upstream.connections, 2);
  });
}

Deno.test("a whole request in a body is not run by a server that obeys Connection: close", async () => {
  await using upstream = await startNaiveUpstream({ isPolite: true });
  await using proxy = await startTestProxy();
  limit(proxy, upstream);
  using peer = await openTo(proxy, upstream);
  const host = `up.test:${upstream.port}`;
  const body = `DELETE /admin HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  await peer.send(
    `GET /pub/a HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n` +
      `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
  );
  assertEquals((await peer.readResponse()).status, 200);
  await peer.send(`POST /pub/b HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 2\r\n\r\nhi`);
  await peer.readResponse();
  assertEquals(upstream.ran, ["GET /pub/a real", "POST /pub/b real"]);
});

Deno.test("an upstream that answers before it has the body gets no other request on that connection", async () => {
  await using upstream = await startRawUpstream(async (peer, index) => {
    await peer.readHead();
    await peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nea");
    await peer.readBytes(4); // the body, which the answer did not wait for
    await peer.send(`r${index}`);
    await peer.isClosed();
  });
  await using proxy = await startTestProxy();
  limit(proxy, upstream);
  const request = `POST /pub/a HTTP/1.1\r\nHost: up.test:${upstream.port}\r\nContent-Length: 4\r\n\r\n`;
  for (const index of [0, 1]) {
    using peer = await openTo(proxy, upstream);
    await peer.send(request);
    await peer.readHead();
    await peer.send("body");
    assertEquals(await peer.readBytes(4), `ear${index}`);
    while (proxy.audit.totals.allow <= index) await new Promise((resolve) => setTimeout(resolve, 1));
    assertEquals(proxy.server.counters().idleUpstreams, 0);
  }
});

Deno.test("connections are used again after a POST with a body", async () => {
  await using upstream = await startNaiveUpstream();
  await using proxy = await startTestProxy();
  limit(proxy, upstream);
  using peer = await openTo(proxy, upstream);
  const request = `POST /pub/a HTTP/1.1\r\nHost: up.test:${upstream.port}\r\nContent-Length: 2\r\n\r\nhi`;
  for (let i = 0; i < 3; i++) {
    await peer.send(request);
    await peer.readResponse();
  }
  assertEquals(upstream.connections, 1);
});

Deno.test("a rule for one request per connection never shares one, not even with the client's other rules", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy();
  proxy.policy.setCredential({ secret: "key", host: "up.test", headers: [["Authorization", "real"]] });
  const rule = { host: "up.test", ports: [upstream.port], secret: "key" };
  proxy.policy.allow("one", { ...rule, paths: ["/lone"], oneRequestPerConnection: true });
  proxy.policy.allow("one", { ...rule, paths: ["/shared"] });
  using peer = await openTo(proxy, upstream);
  for (const path of ["/shared", "/lone", "/lone", "/shared"]) {
    await peer.send(
      `POST ${path} HTTP/1.1\r\nHost: up.test:${upstream.port}\r\nContent-Length: 2\r\n\r\nhi`,
    );
    assertEquals((await peer.readResponse()).status, 200);
  }
  assertEquals(upstream.connections, 3); // one for both of /shared
  const closes = upstream.seen.map(({ headers }) => headers.includes("Connection: close"));
  assertEquals(closes, [false, true, true, false]);
});

Deno.test("under a rule that limits nothing a GET with a body is passed as it is, and its connection used again", async () => {
  await using upstream = await startEchoUpstream();
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  using peer = await openTo(proxy, upstream);
  const host = `Host: up.test:${upstream.port}`;
  for (let i = 0; i < 3; i++) {
    await peer.send(`GET / HTTP/1.1\r\n${host}\r\nContent-Length: 2\r\n\r\nhi`);
    await peer.readResponse();
  }
  const request = { requestLine: "GET / HTTP/1.1", headers: [host, "Content-Length: 2"], body: "hi" };
  assertEquals(upstream.seen, [request, request, request]);
  assertEquals(upstream.connections, 1);
});
