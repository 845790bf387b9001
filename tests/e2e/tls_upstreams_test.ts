/**
 * Upstreams as they are out there, through the proxy: those that work, and for everything that can be wrong with one the
 * reason, the words and the remedy, which are those of the table in docs/NETWORKS.md.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type Reason, REASONS } from "../../policy/reason.ts";
import { TLS_REMEDIES } from "../../policy/tls_remedy.ts";
import { freePort, hasProgram, waitForPort } from "../support/programs.ts";
import { openTlsTunnel } from "../support/raw_peer.ts";
import { soon } from "../support/sockets.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";
import { upstreamAuthority } from "../support/test_authority.ts";
import { makeCertificates, startOpenssl } from "../support/tls_servers.ts";

const DAY = 86_400_000;
const DOCUMENT = new URL("../../docs/NETWORKS.md", import.meta.url);
const hasOpenssl = hasProgram("openssl");
const WEAK = ["-cipher", "DEFAULT@SECLEVEL=0"];

/** One request through a tunnel, under a rule for exactly this host and port. */
async function ask(proxy: TestProxy, host: string, port: number) {
  proxy.policy.allow("one", { host, ports: [port] });
  using tunnel = await openTlsTunnel(proxy.httpPort, `${host}:${port}`, TOKEN, proxy.caPem);
  await tunnel.send(`GET / HTTP/1.1\r\nHost: ${host}:${port}\r\nConnection: close\r\n\r\n`);
  const { status, head, body } = await soon("an answer", tunnel.readResponse());
  return { status, reason: /X-Slicer-Proxy-Reason: (\S+)/.exec(head)?.[1] ?? "", body };
}

/** What is wrong, as docs/NETWORKS.md has it: its server's certificate and arguments, the reason, and what the answer says. */
interface Wrong {
  readonly name: string;
  readonly args: readonly string[];
  readonly reason: Reason;
  readonly words: string;
  readonly host?: string;
}

const files = (name: string) => ["-cert", `${name}.crt`, "-key", `${name}.key`];
const chain = (name: string) => ["-cert_chain", `${name}.crt`];

const WRONG: readonly Wrong[] = [
  { name: "expired", args: files("expired"), reason: "tls-expired", words: "its certificate ended on 20" },
  {
    name: "an intermediate that has expired",
    args: [...files("underold"), ...chain("oldca")],
    reason: "tls-expired",
    words: 'the certificate of its issuer "Corp old CA" of "Corp" ended on 20',
  },
  {
    name: "another name",
    args: files("good"),
    host: "b.test",
    reason: "tls-wrong-name",
    words: 'its certificate is for another name: it has "a.test"',
  },
  {
    name: "another address",
    args: files("good"),
    host: "127.0.0.1",
    reason: "tls-wrong-name",
    words: 'its certificate is for another name: it has "a.test"',
  },
  {
    name: "hundreds of other names",
    args: files("many"),
    reason: "tls-wrong-name",
    words: '"n5.test" and more',
  },
  {
    name: "no name at all",
    args: files("nosan"),
    reason: "tls-wrong-name",
    words: "its certificate is for another name: it has none",
  },
  {
    name: "self-signed",
    args: files("self"),
    reason: "tls-self-signed",
    words: 'its certificate is self-signed ("a.test")',
  },
  {
    name: "self-signed, as a CA",
    args: files("selfca"),
    reason: "tls-self-signed",
    words: "its certificate is self-signed and not trusted here",
  },
  {
    name: "the intermediate is not sent",
    args: files("below"),
    reason: "tls-incomplete-chain",
    words:
      'it does not send the certificate of its issuer, "Corp issuing CA" of "Corp", which is no root that is ' +
      "trusted here (see --upstream-ca); it says that this one is at http://ca.test/issuing.crt",
  },
  {
    name: "a root that is not trusted",
    args: [...files("strange"), ...chain("stranger")],
    reason: "tls-unknown-issuer",
    words: 'its certificate leads to the root "Corp stranger" of "Corp", which is not trusted here',
  },
  {
    name: "a root that is not trusted, and not sent",
    args: [...files("undermiddle"), ...chain("middle")],
    reason: "tls-unknown-issuer",
    words:
      'its certificate leads to "Corp stranger" of "Corp", which is not trusted here (see --upstream-ca), or is ' +
      "one more intermediate that it does not send",
  },
  {
    name: "a key of 1,024 bits",
    args: [...files("weak"), ...WEAK],
    reason: "tls-weak-certificate",
    words: "its certificate's signature is wrong, or its key is too weak",
  },
  {
    name: "SHA-1",
    args: [...files("sha1"), ...WEAK],
    reason: "tls-weak-certificate",
    words: "signed by an algorithm that is not taken, such as SHA-1",
  },
  {
    name: "X.509 version 1",
    args: files("version1"),
    reason: "tls-weak-certificate",
    words: "its certificate is of X.509 version 1",
  },
  {
    name: "a certificate for clients",
    args: files("client"),
    reason: "tls-weak-certificate",
    words: "its certificate is not one for TLS servers",
  },
  {
    name: "wants a client certificate",
    args: [...files("good"), "-tls1_3", "-Verify", "1"],
    reason: "tls-client-certificate",
    words: "it asks for a client certificate",
  },
  {
    name: "no cipher in common",
    args: [...files("weak"), "-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"],
    reason: "tls-upstream-parameters",
    words: "it shares no TLS parameters with the proxy",
  },
  {
    name: "TLS 1.1",
    args: [...files("weak"), "-tls1_1", ...WEAK],
    reason: "tls-protocol",
    words: "it does not speak TLS 1.2 or 1.3 on this port",
  },
];

Deno.test({
  name: "TLS upstreams that are wrong each have their reason, words and remedy",
  ignore: !hasOpenssl,
}, async (t) => {
  const cwd = await Deno.makeTempDir({ prefix: "slicer-test-tls-" });
  try {
    const root = await makeCertificates(cwd);
    await using proxy = await startTestProxy({ caCertsFor: () => [root] });
    for (const { name, args, reason, words, host = "a.test" } of WRONG) {
      await t.step(name, async () => {
        await using server = await startOpenssl(cwd, args);
        const answer = await ask(proxy, host, server.port);
        assertEquals([answer.status, answer.reason], [502, reason], answer.body);
        assertStringIncludes(answer.body, `Cannot trust ${host}: `);
        assertStringIncludes(answer.body, words);
        assertStringIncludes(answer.body, TLS_REMEDIES[reason] ?? "no remedy");
        await proxy.waitLine(
          new RegExp(`^allow client=one method=GET .* port=${server.port} .*reason=${reason} `),
        );
      });
    }
    await t.step("not yet valid", async () => {
      const { certPem, keyPem } = await (await upstreamAuthority()).issue(["a.test"], Date.now() + 45 * DAY);
      await Deno.writeTextFile(`${cwd}/early.crt`, certPem);
      await Deno.writeTextFile(`${cwd}/early.key`, keyPem);
      await using other = await startTestProxy();
      await using server = await startOpenssl(cwd, files("early"));
      const { reason, body } = await ask(other, "a.test", server.port);
      assertEquals(reason, "tls-not-yet-valid");
      assertStringIncludes(body, "its certificate is not valid before 20");
    });
    await t.step("a name that would drive a terminal is escaped and cut", async () => {
      await using server = await startOpenssl(cwd, files("underevil"));
      const { reason, body } = await ask(proxy, "a.test", server.port);
      assertEquals(reason, "tls-incomplete-chain");
      assert([...body].every((char) => char === "\n" || char >= " "), JSON.stringify(body));
      assertStringIncludes(body, "red");
      assert(body.length < 1_000, body);
    });
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
});

Deno.test({ name: "TLS upstreams that are right work", ignore: !hasOpenssl }, async (t) => {
  const cwd = await Deno.makeTempDir({ prefix: "slicer-test-tls-" });
  const rows: readonly (readonly [name: string, args: readonly string[], host: string])[] = [
    ["TLS 1.2 alone", [...files("good"), "-tls1_2"], "a.test"],
    ["TLS 1.3 alone", [...files("good"), "-tls1_3"], "a.test"],
    ["a wildcard", files("wild"), "x.w.test"],
    ["an address", files("wild"), "127.0.0.1"],
    ["an intermediate", [...files("below"), ...chain("issuing")], "a.test"],
    ["SNI that picks the certificate", [
      ...[...files("wild"), "-servername", "a.test", "-cert2", "good.crt", "-key2", "good.key"],
    ], "a.test"],
  ];
  try {
    const root = await makeCertificates(cwd);
    await using proxy = await startTestProxy({ caCertsFor: () => [root] });
    for (const [name, args, host] of rows) {
      await t.step(name, async () => {
        await using server = await startOpenssl(cwd, args);
        const { status, body } = await ask(proxy, host, server.port);
        assertEquals(status, 200, body);
      });
    }
    await t.step("a wildcard is for one label", async () => {
      await using server = await startOpenssl(cwd, files("wild"));
      const { reason, body } = await ask(proxy, "x.y.w.test", server.port);
      assertEquals(reason, "tls-wrong-name", body);
      assertStringIncludes(body, 'it has "*.w.test", "127.0.0.1"');
    });
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
});

/** Programs that serve a certificate for `a.test` on a port, in a folder, and what their files are. */
const PROGRAMS: readonly (readonly [
  program: string,
  make: (
    port: number,
    cwd: string,
    name: string,
  ) => { readonly files: Record<string, string>; readonly args: string[] },
])[] = [
  ["nginx", (port, cwd, name) => ({
    // A server for other names refuses the handshake: the right one is found by SNI alone.
    files: {
      "nginx.conf": `daemon off; master_process off; pid ${cwd}/nginx.pid; error_log stderr;
        events {}
        http {
          access_log off; client_body_temp_path ${cwd}; proxy_temp_path ${cwd}; fastcgi_temp_path ${cwd};
          uwsgi_temp_path ${cwd}; scgi_temp_path ${cwd};
          server { listen 127.0.0.1:${port} ssl default_server; ssl_reject_handshake on; }
          server { listen 127.0.0.1:${port} ssl; server_name a.test; return 200 hello;
            ssl_certificate ${cwd}/${name}.crt; ssl_certificate_key ${cwd}/${name}.key; }
        }`,
    },
    args: ["-c", `${cwd}/nginx.conf`, "-p", cwd],
  })],
  ["node", (port, _, name) => ({
    files: {
      "server.mjs": `import { createServer } from "node:https"; import { readFileSync } from "node:fs";
        const options = { cert: readFileSync("${name}.crt"), key: readFileSync("${name}.key") };
        createServer(options, (_, answer) => answer.end("hello")).listen(${port}, "127.0.0.1");`,
    },
    args: ["server.mjs"],
  })],
  ["go", (port, cwd, name) => ({
    files: {
      "main.go": `package main
        import ("log"; "net/http")
        func main() {
          hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) })
          log.Fatal(http.ListenAndServeTLS("127.0.0.1:${port}", "${cwd}/${name}.crt", "${cwd}/${name}.key", hello))
        }`,
    },
    args: ["run", "main.go"],
  })],
];

for (const [program, make] of PROGRAMS) {
  const ignore = !hasOpenssl || !hasProgram(program);
  Deno.test(
    { name: `${program} as a TLS upstream: right, and without its intermediate`, ignore },
    async () => {
      const cwd = await Deno.makeTempDir({ prefix: "slicer-test-tls-" });
      try {
        const root = await makeCertificates(cwd);
        await using proxy = await startTestProxy({ caCertsFor: () => [root] });
        for (
          const [name, status, reason] of [["good", 200, ""], ["below", 502, "tls-incomplete-chain"]] as const
        ) {
          const port = freePort();
          const { files, args } = make(port, cwd, name);
          for (const [file, text] of Object.entries(files)) await Deno.writeTextFile(`${cwd}/${file}`, text);
          await using _server = startProgram(program, args, cwd);
          await waitForPort(port);
          const answer = await ask(proxy, "a.test", port);
          assertEquals([answer.status, answer.reason], [status, reason], answer.body);
          if (program === "nginx" && name === "good") {
            // Without the name that it is known by.
            const other = await ask(proxy, "127.0.0.1", port);
            assertEquals([other.status, other.reason], [502, "tls-wrong-name"]);
            assertStringIncludes(other.body, "it knows no host of this name (SNI)");
          }
        }
      } finally {
        await Deno.remove(cwd, { recursive: true });
      }
    },
  );
}

/** A program that serves until it is disposed, with what it has started. */
function startProgram(program: string, args: readonly string[], cwd: string): AsyncDisposable {
  const child = new Deno.Command("setsid", {
    args: [program, ...args],
    cwd,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  return {
    [Symbol.asyncDispose]: async () => {
      Deno.kill(-child.pid, "SIGKILL"); // go runs what it has built as a child
      await child.status;
    },
  };
}

Deno.test("docs/NETWORKS.md has a row for each reason of upstream TLS, with its remedy, and no other", async () => {
  const section = (await Deno.readTextFile(DOCUMENT)).split(/^## /m).find((text) =>
    text.startsWith("TLS to upstreams")
  );
  const rows = [...(section ?? "").matchAll(/^\| `(tls-[a-z-]+)` *\| ([^|]+?) *\| ([^|]+?) *\|$/gm)];
  assertEquals(
    Object.fromEntries(rows.map(([, reason = "", , remedy]) => [reason, remedy?.replaceAll("`", "")])),
    TLS_REMEDIES as Record<string, string>,
  );
  const covered = new Set<string>(["tls-not-yet-valid", ...WRONG.map(({ reason }) => reason)]);
  for (const reason of Object.keys(TLS_REMEDIES)) {
    assert(reason in REASONS && covered.has(reason), `${reason} is provoked by no test`);
  }
});
