/** What is dialled, and what never is, whatever a name resolves to and however an address is written. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import type { CleartextSecrets } from "../../proxy/context.ts";
import { systemResolve } from "../../proxy/egress/dialler.ts";
import { startEchoUpstream } from "../support/echo_upstream.ts";
import { basic, dialRaw, openTlsTunnel } from "../support/raw_peer.ts";
import { askSocks5 } from "../support/socks_client.ts";
import { soon, startSilentPeer } from "../support/sockets.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";

/** The status and reason of a CONNECT to a passthrough target. */
async function connect(proxy: TestProxy, target: string): Promise<string> {
  using peer = await dialRaw(proxy.httpPort);
  await peer.send(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
  );
  const head = await soon("an answer", peer.readHead());
  const reason = /\r\nX-Slicer-Proxy-Reason: (\S+)/.exec(head)?.[1];
  return `${head.split(" ")[1]}${reason ? ` ${reason}` : ""}`;
}

Deno.test("a name is dialled only when every address of it may be", async (t) => {
  await using silent = startSilentPeer();
  const rows: readonly (readonly [string, readonly string[], rule: string, string])[] = [
    ["one that may", ["127.0.0.1"], "up.test", "200"],
    ["a second that may not", ["127.0.0.1", "169.254.169.254"], "up.test", "403 address-denied"],
    ["a first that may not", ["::1", "127.0.0.1"], "up.test", "403 address-denied"],
    ["loopback as IPv4-mapped", ["::ffff:127.0.0.1"], "up.test", "200"],
    ["metadata as IPv4-mapped", ["::ffff:169.254.169.254"], "up.test", "403 address-denied"],
    ["metadata in NAT64", ["64:ff9b::a9fe:a9fe"], "up.test", "403 address-denied"],
    ["metadata in 6to4", ["2002:a9fe:a9fe::1"], "up.test", "403 address-denied"],
    ["metadata in Teredo", ["2001:0:1:1:0:0:5601:5601"], "up.test", "403 address-denied"],
    ["private in NAT64 for a wide rule", ["64:ff9b::a00:1"], "*.test", "403 address-denied"],
    ["private for any host", ["10.0.0.1"], "*", "403 address-denied"],
    ["unspecified", ["0.0.0.0"], "up.test", "403 address-denied"],
    ["none", [], "up.test", "502 dns"],
    ["one with a zone", ["fe80::1%lo"], "up.test", "502 dns"],
    ["one that is no address", ["localhost"], "up.test", "502 dns"],
  ];
  for (const [name, addresses, host, expected] of rows) {
    await t.step(name, async () => {
      const allowCidrs = ["127.0.0.0/8", "::ffff:127.0.0.1/128"];
      await using proxy = await startTestProxy({ resolve: () => Promise.resolve(addresses), allowCidrs });
      proxy.policy.allow("one", { host, ports: [silent.port], passthrough: true });
      assertEquals(await connect(proxy, `up.test:${silent.port}`), expected);
    });
  }
});

Deno.test("a secret goes without TLS only where --cleartext-secrets lets it, decided by the address that is dialled", async (t) => {
  const lan = ["127.0.0.1"];
  const mixed = ["93.184.216.34", "127.0.0.1"];
  const world = ["93.184.216.34"];
  const rows: readonly (readonly [
    name: string,
    addresses: readonly string[],
    options: { readonly mode?: CleartextSecrets; readonly isCleartext?: boolean },
    expected: string,
  ])[] = [
    ["private", lan, {}, "200"],
    ["a name with both: the private one is dialled", mixed, {}, "200"],
    ["a public address", world, {}, "403 cleartext-secret"],
    ["a private address in NAT64", ["64:ff9b::7f00:1"], {}, "403 cleartext-secret"],
    ["a private address when it is never allowed", lan, { mode: "never" }, "403 cleartext-secret"],
    ["a secret for which it always is", lan, { mode: "never", isCleartext: true }, "200"],
    ["always", lan, { mode: "always" }, "200"],
  ];
  for (const [name, addresses, { mode = "private", isCleartext = false }, expected] of rows) {
    await t.step(name, async () => {
      await using upstream = await startEchoUpstream({ names: [] });
      await using proxy = await startTestProxy({
        resolve: () => Promise.resolve(addresses),
        allowCidrs: ["127.0.0.0/8", "64:ff9b::7f00:1/128"],
        cleartextSecrets: mode,
      });
      const headers = [["Authorization", "real"]] as const;
      proxy.policy.setCredential({ secret: "key", host: "lan.test", cleartext: isCleartext, headers });
      proxy.policy.allow("one", { host: "lan.test", ports: [upstream.port], secret: "key" });
      const host = `lan.test:${upstream.port}`;
      using peer = await dialRaw(proxy.httpPort);
      await peer.send(
        `GET http://${host}/v1 HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
      );
      const { status, head } = await soon("an answer", peer.readResponse());
      const reason = /\r\nX-Slicer-Proxy-Reason: (\S+)/.exec(head)?.[1];
      assertEquals(`${status}${reason ? ` ${reason}` : ""}`, expected);
      const isAllowed = expected === "200";
      assertEquals(
        upstream.seen.map(({ headers }) => headers.at(-1)),
        isAllowed ? ["Authorization: real"] : [],
      );
      await proxy.waitLine(
        isAllowed ? / status=200 secret=key cleartext=true / : /^deny .* reason=cleartext-secret/,
      );
    });
  }
});

Deno.test("an address as the target is checked as one from the resolver is", async (t) => {
  await using silent = startSilentPeer();
  await using proxy = await startTestProxy();
  const rows: readonly (readonly [target: string, rule: string, string])[] = [
    ["127.0.0.1", "127.0.0.1", "200"],
    ["[::ffff:127.0.0.1]", "::ffff:127.0.0.1", "403 address-denied"], // the disguise is not what --allow-cidr names
    ["[::1]", "::1", "403 address-denied"],
    ["169.254.169.254", "169.254.169.254", "403 address-denied"],
    ["[::ffff:a9fe:a9fe]", "::ffff:169.254.169.254", "403 address-denied"],
    ["[64:ff9b::169.254.169.254]", "64:ff9b::a9fe:a9fe", "403 address-denied"],
    ["[2002:7f00:1::]", "2002:7f00:1::", "403 address-denied"],
    ["[fd00:ec2::254]", "fd00:ec2::254", "403 address-denied"],
    ["0.0.0.0", "0.0.0.0", "403 address-denied"],
    ["[::]", "::", "403 address-denied"],
    ["224.0.0.1", "224.0.0.1", "403 address-denied"],
  ];
  for (const [target, host, expected] of rows) {
    await t.step(target, async () => {
      proxy.policy.allow("one", { host, ports: [silent.port], passthrough: true });
      assertEquals(await connect(proxy, `${target}:${silent.port}`), expected);
    });
  }
  for (
    const target of [
      "2130706433",
      "0x7f000001",
      "127.1",
      "0177.0.0.1",
      "127.0.0.1.",
      "[127.0.0.1]",
      "[::1%25lo]",
    ]
  ) {
    await t.step(`${target} is no address`, async () => {
      proxy.policy.removeClient("one");
      proxy.policy.addClient("one", TOKEN);
      proxy.policy.allow("one", { host: "*", ports: [silent.port], passthrough: true });
      assertEquals((await connect(proxy, `${target}:${silent.port}`)).slice(0, 3), "400");
    });
  }
});

Deno.test("--deny-cidr beats every rule and --allow-cidr", async (t) => {
  await using silent = startSilentPeer();
  for (
    const [denied, expected] of [["127.0.0.0/8", "403 address-denied"], ["127.0.0.2/32", "200"]] as const
  ) {
    for (const host of ["up.test", "*"]) {
      await t.step(`${denied} and a rule for ${host}`, async () => {
        await using proxy = await startTestProxy({ denyCidrs: [denied], allowCidrs: ["0.0.0.0/0"] });
        proxy.policy.allow("one", { host, ports: [silent.port], passthrough: true });
        assertEquals(await connect(proxy, `up.test:${silent.port}`), expected);
      });
    }
  }
});

Deno.test("a denied address says so to the client, without the address", async () => {
  await using proxy = await startTestProxy({ resolve: () => Promise.resolve(["169.254.169.254"]) });
  proxy.policy.allow("one", { host: "up.test", ports: [80] });
  using peer = await dialRaw(proxy.httpPort);
  await peer.send(
    `GET http://up.test/ HTTP/1.1\r\nHost: up.test\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
  );
  const { status, body } = await peer.readResponse();
  assertEquals(status, 403);
  assertStringIncludes(body, "--allow-cidr");
  assertEquals(body.includes("169.254.169.254"), false);
});

Deno.test("rebinding: one look-up per dial, and the address that was checked is the one dialled", async () => {
  await using good = await startEchoUpstream({ names: [] });
  const answers = [["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"]];
  let asked = 0;
  await using proxy = await startTestProxy({ resolve: () => Promise.resolve(answers[asked++] ?? []) });
  proxy.policy.allow("one", { host: "up.test", ports: [good.port] });
  const get = async () => {
    using peer = await dialRaw(proxy.httpPort);
    await peer.send(
      `GET http://up.test:${good.port}/ HTTP/1.0\r\nHost: up.test:${good.port}\r\nProxy-Authorization: ${
        basic(TOKEN)
      }\r\n\r\n`,
    );
    return (await peer.readResponse()).status;
  };
  assertEquals([await get(), asked], [200, 1]);
  assertEquals([await get(), asked], [403, 2]);
  assertEquals([await get(), asked], [200, 3]);
  assertEquals(good.connections, 2);
});

Deno.test("a kept connection of an exact rule does not serve a request under a wider one", async () => {
  // Wide rules do not reach private networks; what they may reach is looked up for them, not found in the pool.
  await using upstream = await startEchoUpstream({ names: [] });
  let asked = 0;
  await using proxy = await startTestProxy({
    resolve: () => Promise.resolve(asked++ === 0 ? ["127.0.0.1"] : ["10.0.0.1"]),
  });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], paths: ["/exact"] });
  proxy.policy.allow("one", { host: "*", ports: [upstream.port] });
  using peer = await dialRaw(proxy.httpPort);
  const get = async (path: string) => {
    const host = `up.test:${upstream.port}`;
    await peer.send(
      `GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
    );
    return (await peer.readResponse()).status;
  };
  assertEquals([await get("/exact"), await get("/other"), await get("/exact")], [200, 403, 200]);
  assertEquals(asked, 2);
});

Deno.test("the proxy's own listeners are never dialled, --allow-cidr notwithstanding", async (t) => {
  const ownAddresses = Deno.networkInterfaces().map(({ address }) => address.replace(/%.*$/, ""));
  await using upstream = await startEchoUpstream();
  await using api = startSilentPeer();
  const resolve = (host: string) =>
    Promise.resolve(host === "up.test" ? ["127.0.0.1"] : [host.replace(/\.test$/, "")]);
  await using proxy = await startTestProxy({
    resolve,
    allowCidrs: ["0.0.0.0/0", "::/0", "127.0.0.0/8", "::1/128", "0.0.0.0/32", "::/128"],
    ownPorts: [api.port],
  });
  // An intercepted host has a loopback listener.
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port] });
  using tunnel = await openTlsTunnel(proxy.httpPort, `up.test:${upstream.port}`, TOKEN, proxy.caPem);
  await tunnel.send(`GET / HTTP/1.1\r\nHost: up.test:${upstream.port}\r\n\r\n`);
  assertEquals((await tunnel.readResponse()).status, 200);
  const loopbackPort = await findListener([proxy.httpPort, proxy.tlsPort, upstream.port, api.port]);
  const ports = { plain: proxy.httpPort, tls: proxy.tlsPort, api: api.port, loopback: loopbackPort };
  const hosts = ["127.0.0.1", "127.0.0.9", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1", ...ownAddresses];
  for (const [name, port] of Object.entries(ports)) {
    for (const host of new Set(hosts)) {
      await t.step(`${name} port on ${host}`, async () => {
        proxy.policy.allow("one", { host, ports: [port], passthrough: true });
        const target = host.includes(":") ? `[${host}]` : host;
        assertEquals(await connect(proxy, `${target}:${port}`), "403 own-address");
        const { peer, code } = await askSocks5(proxy.httpPort, { host: "127.0.0.1", port }, { token: TOKEN });
        peer[Symbol.dispose]();
        assertEquals(code, 2);
      });
    }
  }
  await t.step("but another port of this machine is", async () => {
    await using silent = startSilentPeer();
    proxy.policy.allow("one", { host: "127.0.0.1", ports: [silent.port], passthrough: true });
    assertEquals(await connect(proxy, `127.0.0.1:${silent.port}`), "200");
  });
  assertEquals(api.accepted.length, 0);
});

Deno.test("names of this machine do not lead to the proxy either", async (t) => {
  const names = ["localhost", Deno.hostname()];
  await using proxy = await startTestProxy({
    resolve: systemResolve,
    allowCidrs: ["0.0.0.0/0", "127.0.0.0/8", "::1/128"],
  });
  for (const host of names) {
    await t.step(host, async () => {
      proxy.policy.allow("one", { host, ports: [proxy.httpPort], passthrough: true });
      assertEquals(await connect(proxy, `${host}:${proxy.httpPort}`), "403 own-address");
    });
  }
});

/** The listening TCP port of this process on 127.0.0.1 that is none of these. */
async function findListener(known: readonly number[]): Promise<number> {
  const inodes = new Set<string>();
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      inodes.add(/^socket:\[(\d+)\]$/.exec(Deno.readLinkSync(`/proc/self/fd/${name}`))?.[1] ?? "");
    } catch {
      // the descriptor of the listing
    }
  }
  const table = (await Deno.readTextFile("/proc/net/tcp")).split("\n").slice(1).map((line) =>
    line.trim().split(/\s+/)
  );
  for (const [, local = "", , state, , , , , , inode = ""] of table) {
    const port = parseInt(local.split(":")[1] ?? "", 16);
    if (state === "0A" && inodes.has(inode) && !known.includes(port)) return port;
  }
  throw new Error("there is no such listener");
}

Deno.test("a denial of a private address under a rule for many hosts says what an operator can do", async () => {
  await using proxy = await startTestProxy({ resolve: () => Promise.resolve(["10.0.0.1"]) });
  proxy.policy.allow("one", { host: "*", ports: [80] });
  using peer = await dialRaw(proxy.httpPort);
  await peer.send(
    `GET http://up.test/ HTTP/1.1\r\nHost: up.test\r\nProxy-Authorization: ${basic(TOKEN)}\r\n\r\n`,
  );
  const { status, body } = await peer.readResponse();
  assertEquals([status, body.includes("10.0.0.1")], [403, false]);
  assertStringIncludes(body, "`up --allow-cidr NETWORK`");
  assertStringIncludes(body, "a rule for exactly this host");
});
