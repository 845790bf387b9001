/** `--dns` with real name servers, and what clients and operators are told when one does not answer. */
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { NAME_LIMITS } from "../../core/limits.ts";
import { FailedLookup } from "../../proxy/egress/names/failed_lookup.ts";
import { openNames } from "../../proxy/egress/names/names.ts";
import { parseDnsServers } from "../../proxy/egress/names/name_server.ts";
import { startEchoUpstream } from "../support/echo_upstream.ts";
import { reply, startNameServer } from "../support/name_server.ts";
import { Program } from "../support/program.ts";
import { hasProgram } from "../support/programs.ts";
import { basic, dialRaw } from "../support/raw_peer.ts";
import { DNSMASQ, startDnsmasq, startUnbound, UNBOUND } from "../support/real_name_servers.ts";
import { soon, waitUntil } from "../support/sockets.ts";

const ONE = { client: "one", signal: new AbortController().signal };

function open(values: readonly string[], caPem?: string) {
  return openNames({
    servers: parseDnsServers(values),
    limitMs: 10_000,
    caCertsFor: () => caPem === undefined ? [] : [caPem],
    log: { warn: () => {}, info: () => {} },
    system: () => Promise.resolve(["127.0.0.1"]), // dns.test
    hostsPath: "/nonexistent",
    hasIpv6: () => false,
  });
}

Deno.test({
  name: "names are found with dnsmasq, over UDP and TCP",
  ignore: !hasProgram(DNSMASQ),
  fn: async (t) => {
    await using server = await startDnsmasq();
    for (const scheme of ["udp", "tcp"]) {
      await t.step(scheme, async () => {
        using names = open([`corp.test=${scheme}://127.0.0.1:${server.port}`]);
        assertEquals(await names.resolve("db.corp.test"), ["10.1.2.3", "fd00::3"]);
        assertEquals(await names.resolve("alias.corp.test"), ["10.1.2.3", "fd00::3"]);
        assertEquals((await names.resolve("many.corp.test")).length, 60, "more than fits into a datagram");
        assertEquals(await names.resolveRecords("db.corp.test", "TXT", ONE), [{
          type: "TXT",
          texts: ["hello"],
        }]);
        assertEquals(await names.resolveRecords("db.corp.test", "SRV", ONE), []);
        const missing = await assertRejects(() => names.resolve("none.corp.test"), FailedLookup);
        assertEquals(missing.kind, "nxdomain");
        const all = Array.from(
          { length: 100 },
          (_, at) => names.resolve(`n${at}.corp.test`).then(() => "found", (error) => error.kind),
        );
        assertEquals(new Set(await Promise.all(all)), new Set(["nxdomain"]));
      });
    }
  },
});

Deno.test({
  name:
    "names are found with unbound, over TLS and HTTPS, whose certificate is verified for the name that was given",
  ignore: !hasProgram(UNBOUND),
  fn: async (t) => {
    for (const scheme of ["tls", "https"] as const) {
      await t.step(scheme, async () => {
        await using server = await startUnbound(scheme);
        for (const host of ["127.0.0.1", "dns.test"]) {
          using names = open([`${scheme}://${host}:${server.port}`], server.caPem);
          const all = ["db.corp.test", "db.corp.test"].map((name) => names.resolve(name));
          assertEquals(new Set((await Promise.all(all)).flat()), new Set(["10.1.2.3"]));
          const missing = await assertRejects(() => names.resolve("none.corp.test"), FailedLookup);
          assertEquals(missing.kind, "nxdomain");
          const many = Array.from(
            { length: 100 },
            (_, at) => names.resolve(`n${at}.corp.test`).then(() => "found", (error) => error.kind),
          );
          assertEquals(new Set(await Promise.all(many)), new Set(["nxdomain"]));
        }
        for (const [host, caPem] of [["other.test", server.caPem], ["127.0.0.1", undefined]] as const) {
          using names = open([`${scheme}://${host}:${server.port}`], caPem);
          const failure = await assertRejects(
            () => soon("a failure", names.resolve("db.corp.test")),
            FailedLookup,
          );
          assertEquals(failure.kind, "away");
          assertStringIncludes(failure.message, `Cannot trust ${host}`);
        }
      });
    }
  },
});

for (const workers of [1, 2]) {
  Deno.test({
    name:
      `up --dns --workers=${workers}: who is asked, what the client and the log are told, and what status counts`,
    ignore: workers > 1 && Deno.build.os !== "linux",
    fn: async () => {
      await using upstream = await startEchoUpstream({ names: [] });
      await using server = startNameServer((asked) => {
        if (asked.name === "mute.corp.test") return undefined;
        if (asked.name === "broken.corp.test") return reply(asked, { rcode: 2 });
        if (asked.name !== "here.corp.test") return reply(asked, { rcode: 3 });
        const data = Uint8Array.from([127, 0, 0, 1]);
        return reply(asked, { answers: asked.type === 1 ? [{ name: asked.name, type: 1, data }] : [] });
      });
      const dir = await Deno.makeTempDir({ prefix: "slicer-names-" });
      try {
        const program = new Program(dir);
        const flags = [`--workers=${workers}`, "--allow-cidr=127.0.0.0/8", "--cleartext-secrets=never"];
        await using daemon = await program.up([...flags, `--dns=corp.test=127.0.0.1:${server.port}`]);
        const token = await program.ok(["client", "create", "one"]);
        const port = `${upstream.port}`;
        for (const host of ["here.corp.test", "none.corp.test", "broken.corp.test", "mute.corp.test"]) {
          await program.ok(["allow", "one", "--host", host, "--port", port]);
        }
        const ask = async (name: string): Promise<string> => {
          using peer = await dialRaw(daemon.httpPort);
          const host = `${name}:${port}`;
          await peer.send(
            `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${basic(token)}\r\n\r\n`,
          );
          const { status, head, body } = await soon("an answer", peer.readResponse());
          assertEquals(status === 200, !head.includes("X-Slicer-Proxy-Reason: dns"));
          return `${status} ${status === 200 ? "" : body}`;
        };
        assertMatch(await ask("here.corp.test"), /^200/);
        assertMatch(await ask("here.corp.test"), /^200/);
        assertMatch(
          await ask("none.corp.test"),
          /^502 .*Cannot find none\.corp\.test: the name does not exist \(NXDOMAIN\)/s,
        );
        assertMatch(await ask("broken.corp.test"), /^502 .*the name server failed \(SERVFAIL\)/s);
        const late = await ask("mute.corp.test");
        assertMatch(late, /^504 .*the name server did not answer in time/s);
        assert(!late.includes(`${server.port}`), "clients are not told of servers");
        await daemon.waitWords(
          new RegExp(`the name server udp://127\\.0\\.0\\.1:${server.port} does not answer`),
        );
        await daemon.waitLine(/host=none\.corp\.test .*reason=dns/);
        // A worker tells its counts four times a second.
        await waitUntil("the counts", async () => {
          const { names } = JSON.parse(await program.ok(["status", "--json"]));
          return names.questions >= 8 && names.failures >= 4;
        });
        assertMatch(
          await program.ok(["status"]),
          /^names +\d+ questions, \d+ from memory, \d+ without an answer$/m,
        );
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    },
  });
}

Deno.test("up --dns refuses what is no name server", async () => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-names-" });
  try {
    const { code, stderr } = await new Program(dir).run(["up", "--dns", "udp://dns.example"]);
    assertEquals(code, 2);
    assertMatch(
      stderr,
      /^error: cannot use --dns "udp:\/\/dns\.example": a udp server is named by its address$/m,
    );
    assertMatch(stderr, /^hint: write --dns /m);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("one VM that asks for random names holds up no other, and takes no more than its share of the name server", async () => {
  let most = 0;
  let running = 0;
  await using server = startNameServer(async (asked) => {
    most = Math.max(most, ++running);
    await new Promise((next) => setTimeout(next, asked.name.startsWith("n") ? 300 : 0));
    running--;
    return reply(asked, { rcode: 3 });
  });
  using names = open([`127.0.0.1:${server.port}`]);
  const stop = new AbortController();
  const hostile = Array.from(
    { length: 500 },
    (_, at) =>
      names.resolve(`n${at}.wide.test`, { client: "hostile", signal: stop.signal }).catch((error) => error),
  );
  for (let at = 0; at < 10; at++) {
    const startedAt = performance.now();
    await assertRejects(
      () => names.resolve(`up${at}.test`, { client: "innocent", signal: ONE.signal }),
      FailedLookup,
    );
    assert(performance.now() - startedAt < 2_000);
  }
  assert(most <= NAME_LIMITS.maxQuestionsPerClient + 2, `${most} at once`);
  stop.abort(new Error("enough"));
  await Promise.all(hostile);
});
