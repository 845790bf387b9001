import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { parseCommandLine } from "../../../../cli/command/parse.ts";
import { UP_FLAGS } from "../../../../cli/up/flags.ts";
import { checkSources, readDialFrom } from "../../../../cli/up/upstream_dial.ts";
import { loadParents, readUpstreamProxy } from "../../../../cli/up/upstream_proxy.ts";
import { systemClock } from "../../../../core/clock.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { parentFor } from "../../../../proxy/egress/parents/parents.ts";

function argsOf(...tokens: readonly string[]) {
  return parseCommandLine(
    { path: ["up"], summary: "", arguments: [], flags: UP_FLAGS, examples: [] } as never,
    tokens,
  );
}

const BESIDE = {
  listeners: [{ hostname: "192.168.222.1", port: 3128 }],
  resolve: () => Promise.reject(new Error("ENOTFOUND")),
  clock: systemClock(),
};

Deno.test("readUpstreamProxy() and loadParents() read what up is told, with the password from its file", async () => {
  const file = await Deno.makeTempFile({ prefix: "slicer-test-password-" });
  try {
    await Deno.writeTextFile(file, "p4ss:w0rd é\n");
    const parents = await loadParents(
      readUpstreamProxy(argsOf(
        ...["--upstream-proxy", "http://corp%5Canna@proxy.corp:8080", "--upstream-proxy-password-file", file],
        ...["--upstream-proxy", "*.lab.test=https://[fd00::1]:3128/", "--upstream-proxy-dns", "parent"],
        ...["--no-upstream-proxy", ".home.test,10.0.0.0/8,lan.test,192.0.2.1"],
      )),
      BESIDE,
    );
    assertEquals(parentFor(parents, "example.com"), {
      scheme: "http",
      host: "proxy.corp",
      port: 8080,
      authorization: `Basic ${btoa("corp\\anna:p4ss:w0rd \xc3\xa9")}`,
    });
    assertEquals(parentFor(parents, "a.lab.test"), { scheme: "https", host: "fd00::1", port: 3128 });
    assertEquals(parents.directHosts, ["home.test", "*.home.test", "lan.test"]);
    assertEquals(parents.directCidrs.map(({ prefix }) => prefix), [8, 32]);
    assertEquals(parents.dns, "parent");
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("readUpstreamProxy() refuses what would leak, be ambiguous or have no effect", async (t) => {
  const one = ["--upstream-proxy", "http://p.corp:3128"];
  const rows: readonly (readonly [string, readonly string[], RegExp])[] = [
    [
      "a password in the URL",
      ["--upstream-proxy", "http://u:s3cret@p.corp:1"],
      /password in --upstream-proxy/,
    ],
    ["no port", ["--upstream-proxy", "http://p.corp"], /Cannot use "p\.corp" as|as a parent proxy/],
    ["SOCKS", ["--upstream-proxy", "socks5://p.corp:1080"], /as a parent proxy/],
    ["a path", ["--upstream-proxy", "http://p.corp:1/x"], /as a parent proxy/],
    ["no scheme", ["--upstream-proxy", "p.corp:3128"], /as a parent proxy/],
    [
      "two for the same hosts",
      [...one, "--upstream-proxy", "http://q.corp:3128"],
      /two --upstream-proxy for \*/,
    ],
    ["a user without a password", ["--upstream-proxy", "http://u@p.corp:1"], /without a password/],
    ["a password without a user", [...one, "--upstream-proxy-password-file", "f"], /for no --upstream-proxy/],
    ["an exemption from nothing", ["--no-upstream-proxy", "a.test"], /without --upstream-proxy/],
    ["no network", [...one, "--no-upstream-proxy", "10.0.0.1/8"], /bits after its prefix/],
  ];
  for (const [name, tokens, expected] of rows) {
    await t.step(name, () => {
      const error = assertThrows(() => readUpstreamProxy(argsOf(...tokens)), ProxyError);
      assertEquals(expected.test(error.message), true, error.message);
      assertEquals(`${error.message} ${error.hint}`.includes("s3cret"), false);
    });
  }
});

Deno.test("loadParents() refuses the proxy itself as its parent, and no other program on the same port", async () => {
  const read = (url: string) => readUpstreamProxy(argsOf("--upstream-proxy", url));
  const resolve = () => Promise.resolve(["192.168.222.1"]);
  await assertRejects(() => loadParents(read("http://192.168.222.1:3128"), BESIDE), ProxyError, "itself");
  await assertRejects(
    () => loadParents(read("http://me.test:3128"), { ...BESIDE, resolve }),
    ProxyError,
    "itself",
  );
  const listeners = [{ hostname: "0.0.0.0", port: 3128 }];
  await assertRejects(
    () => loadParents(read("http://127.0.0.1:3128"), { ...BESIDE, listeners }),
    ProxyError,
    "itself",
  );
  await loadParents(read("http://127.0.0.1:3128"), BESIDE); // cntlm, say
  await loadParents(read("http://192.168.222.1:3130"), BESIDE);
});

Deno.test("readDialFrom() takes one source of each family, and checkSources() one that is there", async (t) => {
  assertEquals(readDialFrom(argsOf()), { family: "any", sources: [] });
  const both = readDialFrom(argsOf("--upstream-source", "127.0.0.1", "--upstream-source", "::1"));
  assertEquals(both, { family: "any", sources: ["127.0.0.1", "::1"] });
  const rows: readonly (readonly [string, readonly string[]])[] = [
    ["two of a family", ["--upstream-source", "127.0.0.1", "--upstream-source", "127.0.0.2"]],
    ["a name", ["--upstream-source", "host.test"]],
    ["any", ["--upstream-source", "0.0.0.0"]],
    ["the other family", ["--upstream-family", "6", "--upstream-source", "127.0.0.1"]],
  ];
  for (const [name, tokens] of rows) {
    await t.step(name, () => void assertThrows(() => readDialFrom(argsOf(...tokens)), ProxyError));
  }
  checkSources({ family: "any", sources: ["127.0.0.1"] });
  const error = assertThrows(() => checkSources({ family: "any", sources: ["203.0.113.7"] }), ProxyError);
  assertEquals(error.message, "Cannot dial from 203.0.113.7: no network adapter has this address");
});
