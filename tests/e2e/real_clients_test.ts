/** Programs that people really run, through the proxy, as documented. What is not installed is skipped, and said so. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { startEchoUpstream, startRawUpstream, type Upstream } from "../support/echo_upstream.ts";
import { startForwarder } from "../support/forwarder.ts";
import { freePort, hasProgram, type Outcome, runProgram, waitForPort } from "../support/programs.ts";
import { openTunnel } from "../support/raw_peer.ts";
import { askSocks5 } from "../support/socks_client.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

const [hasCurl, hasNc, hasWget, hasPython, hasNode, hasGit] = [
  hasProgram("curl"),
  hasProgram("nc"),
  hasProgram("wget"),
  hasProgram("python3"),
  hasProgram("node"),
  hasProgram("git"),
];
const hasSsh = hasNc && hasProgram("/usr/sbin/sshd") && hasProgram("ssh") && hasProgram("ssh-keygen");

/** A proxy, an inspected upstream with a secret, a folder with what clients trust. */
interface Site extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly upstream: Upstream;
  readonly dir: string;
  readonly url: string;
  /** `http://proxy:TOKEN@127.0.0.1:PORT`. */
  readonly httpProxy: string;
}

async function startSite(): Promise<Site> {
  const stack = new AsyncDisposableStack();
  const dir = await Deno.makeTempDir({ prefix: "slicer-test-clients-" });
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  const upstream = stack.use(await startEchoUpstream());
  const proxy = stack.use(await startTestProxy());
  await Deno.writeTextFile(`${dir}/ca.pem`, proxy.caPem);
  await Deno.writeTextFile(`${dir}/upstream.pem`, (await upstreamAuthority()).caPem);
  proxy.policy.setCredential({ secret: "key", host: "up.test", headers: [["Authorization", "Bearer REAL"]] });
  proxy.policy.allow("one", { host: "up.test", ports: [upstream.port], paths: ["/v1/*"], secret: "key" });
  return {
    proxy,
    upstream,
    dir,
    url: `https://up.test:${upstream.port}/v1/models`,
    httpProxy: `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function assertInjected({ code, stdout, stderr }: Outcome): void {
  assertEquals(code, 0, stderr);
  const { requestLine, headers } = JSON.parse(stdout);
  assertEquals(requestLine, "GET /v1/models HTTP/1.1");
  assertEquals(headers.filter((line: string) => /^(authorization|proxy-)/i.test(line)), [
    "Authorization: Bearer REAL",
  ]);
}

Deno.test({ ignore: !hasCurl, name: "curl: every kind of proxy URL, inspected" }, async (t) => {
  await using site = await startSite();
  const { proxy: { httpPort, tlsPort }, dir, url } = site;
  const rows: readonly (readonly [string, readonly string[]])[] = [
    ["http://", ["-x", site.httpProxy]],
    ["http:// on the TLS port", ["-x", `http://proxy:${TOKEN}@127.0.0.1:${tlsPort}`]],
    ["http:// without a user", ["-x", `http://:${TOKEN}@127.0.0.1:${httpPort}`]],
    ["https://", ["-x", `https://proxy:${TOKEN}@localhost:${tlsPort}`, "--proxy-cacert", `${dir}/ca.pem`]],
    ["SOCKS5 with a token", ["--socks5-hostname", `127.0.0.1:${httpPort}`, "--proxy-user", `proxy:${TOKEN}`]],
    ["socks5h:// on the TLS port", ["-x", `socks5h://proxy:${TOKEN}@127.0.0.1:${tlsPort}`]],
  ];
  for (const [name, args] of rows) {
    await t.step(name, async () => {
      assertInjected(await runProgram("curl", ["-sS", "--cacert", `${dir}/ca.pem`, ...args, url]));
    });
  }
});

Deno.test(
  { ignore: !hasCurl, name: "curl: SOCKS without a token reaches passthrough rules only" },
  async (t) => {
    await using site = await startSite();
    const { proxy, dir, url } = site;
    await using open = await startEchoUpstream();
    proxy.policy.allow("one", { host: "up.test", ports: [open.port], passthrough: true });
    const rows = [["--socks5-hostname", `127.0.0.1:${proxy.httpPort}`], [
      "-x",
      `socks4a://127.0.0.1:${proxy.tlsPort}`,
    ]];
    for (const args of rows) {
      await t.step(args.join(" ").replace(/\d+$/, "PORT"), async () => {
        const trust = ["-sS", "--cacert", `${dir}/upstream.pem`];
        const { code, stdout, stderr } = await runProgram("curl", [
          ...trust,
          ...args,
          `https://up.test:${open.port}/any`,
        ]);
        assertEquals(code, 0, stderr);
        assertEquals(JSON.parse(stdout).requestLine, "GET /any HTTP/1.1");
        const refused = await runProgram("curl", [...trust, ...args, url]);
        assertEquals([refused.code, refused.stdout], [97, ""], refused.stderr); // CURLE_PROXY
      });
    }
    await proxy.waitLine(/^passthrough client=- auth=none rule-owner=one host=up\.test /);
  },
);

Deno.test(
  { ignore: !hasCurl, name: "curl: denials come with their reason and words, 407 with a challenge" },
  async () => {
    await using site = await startSite();
    const { dir, httpProxy, url, proxy } = site;
    const curl = (...args: string[]) =>
      runProgram("curl", ["-sS", "-i", "--cacert", `${dir}/ca.pem`, ...args]);
    const path = await curl("-x", httpProxy, url.replace("v1", "v2"));
    assertMatch(
      path.stdout,
      /HTTP\/1\.1 403 slicer-proxy: no-rule \(up\.test\)\r\n[^]*X-Slicer-Proxy-Reason: no-rule\r\n[^]*slicer-proxy allow one /,
    );
    const host = await curl("-x", httpProxy, "https://no.test/");
    assertEquals(host.code, 56); // CONNECT was answered 403
    assertStringIncludes(host.stdout, "X-Slicer-Proxy-Reason: no-rule");
    const token = await curl("-x", `http://proxy:wrong@127.0.0.1:${proxy.httpPort}`, url);
    assertStringIncludes(token.stdout, 'Proxy-Authenticate: Basic realm="slicer-proxy"');
  },
);

Deno.test({ ignore: !hasCurl, name: "curl: a large upload and download through inspection" }, async () => {
  await using site = await startSite();
  const { dir, httpProxy, proxy } = site;
  const size = 3_000_000;
  await using big = await startRawUpstream(async (peer) => {
    const head = await peer.readHead();
    if (/expect: 100-continue/i.test(head)) await peer.send("HTTP/1.1 100 Continue\r\n\r\n");
    const body = await peer.readBytes(size);
    await peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
    await peer.send(body);
  });
  proxy.policy.allow("one", { host: "up.test", ports: [big.port] });
  await Deno.writeFile(`${dir}/up.bin`, new Uint8Array(size).map((_, i) => (i * 7_919) >> 5));
  const { code, stderr } = await runProgram("curl", [
    ...["-sS", "--cacert", `${dir}/ca.pem`, "-x", httpProxy, "--data-binary", `@${dir}/up.bin`],
    ...["-o", `${dir}/down.bin`, `https://up.test:${big.port}/`],
  ]);
  assertEquals(code, 0, stderr);
  const [sent, received] = [await Deno.readFile(`${dir}/up.bin`), await Deno.readFile(`${dir}/down.bin`)];
  assertEquals(sent.length, received.length);
  assertEquals(sent.every((byte, i) => byte === received[i]), true);
});

Deno.test({ ignore: !hasNc, name: "nc -x: the documented way without a token" }, async (t) => {
  await using site = await startSite();
  await using echo = await startRawUpstream(async (peer) => await peer.send(`echo ${await peer.readAll()}`), {
    names: [],
  });
  const { proxy } = site;
  for (const port of [proxy.tlsPort, proxy.httpPort]) {
    await t.step(port === proxy.tlsPort ? "TLS port" : "plain port", async () => {
      const rule = proxy.policy.allow("one", { host: "raw.test", ports: [echo.port], passthrough: true });
      const args = ["-N", "-x", `127.0.0.1:${port}`, "raw.test", `${echo.port}`];
      const { stdout } = await runProgram("nc", args, { input: "hello" });
      assertEquals(stdout, "echo hello");
      proxy.policy.revoke(rule);
      const refused = await runProgram("nc", args, { input: "hello" });
      assertEquals([refused.stdout, refused.code], ["", 1]);
    });
  }
});

Deno.test({ ignore: !hasSsh, name: "ssh through ProxyCommand nc -x, to a real sshd" }, async () => {
  await using site = await startSite();
  const { dir, proxy } = site;
  const port = freePort();
  for (const name of ["host", "user"]) {
    assertEquals(
      (await runProgram("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", `${dir}/${name}`])).code,
      0,
    );
  }
  await Deno.copyFile(`${dir}/user.pub`, `${dir}/authorized_keys`);
  await Deno.mkdir("/run/sshd", { recursive: true }).catch(() => {});
  await Deno.writeTextFile(
    `${dir}/sshd_config`,
    [
      `Port ${port}`,
      "ListenAddress 127.0.0.1",
      `HostKey ${dir}/host`,
      `AuthorizedKeysFile ${dir}/authorized_keys`,
      `PidFile ${dir}/sshd.pid`,
      "PermitRootLogin yes",
      "PasswordAuthentication no",
      "StrictModes no",
      "UsePAM no",
    ].join("\n") + "\n",
  );
  const sshd = new Deno.Command("/usr/sbin/sshd", {
    args: ["-D", "-f", `${dir}/sshd_config`],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    await waitForPort(port);
    proxy.policy.allow("one", { host: "ssh.test", ports: [port], passthrough: true });
    const user = (await runProgram("id", ["-un"])).stdout.trim();
    const { code, stdout, stderr } = await runProgram("ssh", [
      ...["-F", "none", "-i", `${dir}/user`, "-p", `${port}`, "-o", "StrictHostKeyChecking=no"],
      ...["-o", `UserKnownHostsFile=${dir}/known_hosts`, "-o", "BatchMode=yes"],
      ...["-o", `ProxyCommand=nc -x 127.0.0.1:${proxy.tlsPort} %h %p`],
      ...[`${user}@ssh.test`, "head -c 2000000 /dev/zero | wc -c; cat"],
    ], { input: "from stdin" });
    assertEquals(code, 0, stderr);
    assertEquals(stdout.trim().split(/\s+/).join(" "), "2000000 from stdin");
    await proxy.waitLine(
      new RegExp(`^passthrough client=- auth=none rule-owner=one host=ssh\\.test port=${port} sent=`),
    );
  } finally {
    sshd.kill("SIGTERM");
    await sshd.status;
  }
});

Deno.test({ ignore: !hasGit, name: "git clone over https, with the credential injected" }, async () => {
  await using site = await startSite();
  const { dir, httpProxy, proxy } = site;
  const git = (args: readonly string[], cwd = dir) =>
    runProgram("git", args, {
      cwd,
      env: { HOME: dir, GIT_CONFIG_NOSYSTEM: "1", GIT_TERMINAL_PROMPT: "0", GIT_SSL_CAINFO: `${dir}/ca.pem` },
    });
  const ok = async (outcome: Promise<Outcome>) => {
    const { code, stderr } = await outcome;
    assertEquals(code, 0, stderr);
  };
  await ok(git(["init", "-q", "-b", "main", "work"]));
  await Deno.writeTextFile(`${dir}/work/README`, "from the repository\n");
  await Deno.writeFile(`${dir}/work/blob`, crypto.getRandomValues(new Uint8Array(60_000)));
  await ok(git(["add", "."], `${dir}/work`));
  await ok(git(["-c", "user.name=t", "-c", "user.email=t@t.test", "commit", "-qm", "one"], `${dir}/work`));
  await ok(git(["clone", "-q", "--bare", "work", "repo.git"]));
  await ok(git(["update-server-info"], `${dir}/repo.git`));

  const { certPem, keyPem } = await (await upstreamAuthority()).issue(["git.test"]);
  let hasCredential = true;
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, cert: certPem, key: keyPem, onListen: () => {} },
    async (request) => {
      if (request.headers.get("authorization") !== `Basic ${btoa("x:REAL")}`) hasCredential = false;
      try {
        return new Response(await Deno.readFile(dir + new URL(request.url).pathname));
      } catch {
        return new Response("no such file", { status: 404 });
      }
    },
  );
  try {
    const { port } = server.addr;
    proxy.policy.setCredential({
      secret: "git",
      host: "git.test",
      headers: [["Authorization", `Basic ${btoa("x:REAL")}`]],
    });
    proxy.policy.allow("one", { host: "git.test", ports: [port], methods: ["GET"], secret: "git" });
    await ok(
      git(["-c", `http.proxy=${httpProxy}`, "clone", "-q", `https://git.test:${port}/repo.git`, "out"]),
    );
    assertEquals(await Deno.readTextFile(`${dir}/out/README`), "from the repository\n");
    assertEquals(hasCredential, true);
    await proxy.waitLine(
      /^allow client=one method=GET .* path=\/repo\.git\/info\/refs status=200 secret=git /,
    );
  } finally {
    await server.shutdown();
  }
});

Deno.test({ ignore: !hasWget, name: "wget with https_proxy" }, async () => {
  await using site = await startSite();
  assertInjected(
    await runProgram("wget", ["-qO-", `--ca-certificate=${site.dir}/ca.pem`, site.url], {
      env: { https_proxy: site.httpProxy },
    }),
  );
});

Deno.test({ ignore: !hasPython, name: "python3 urllib with HTTPS_PROXY" }, async () => {
  await using site = await startSite();
  const script = `import urllib.request, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
print(urllib.request.urlopen(sys.argv[2], context=context).read().decode())`;
  assertInjected(
    await runProgram("python3", ["-c", script, `${site.dir}/ca.pem`, site.url], {
      env: { HTTPS_PROXY: site.httpProxy },
    }),
  );
});

Deno.test({ ignore: !hasNode, name: "node: https over CONNECT" }, async () => {
  await using site = await startSite();
  const script = `
    const http = require("node:http"), https = require("node:https"), fs = require("node:fs");
    const [, ca, target, proxy] = process.argv;
    const { hostname, port, username, password } = new URL(proxy);
    const url = new URL(target);
    const authorization = "Basic " + Buffer.from(username + ":" + password).toString("base64");
    const path = url.host;
    http.request({ hostname, port, path, method: "CONNECT", headers: { Host: path, "Proxy-Authorization": authorization } })
      .on("connect", (response, socket) => {
        if (response.statusCode !== 200) process.exit(3);
        const options = { host: url.hostname, port: url.port, path: url.pathname, ca: fs.readFileSync(ca) };
        https.get({ ...options, socket, agent: false }, (answer) => answer.pipe(process.stdout));
      }).end();`;
  assertInjected(await runProgram("node", ["-e", script, `${site.dir}/ca.pem`, site.url, site.httpProxy]));
});

const POSTGRES = findPostgres();

Deno.test({
  ignore: POSTGRES === undefined,
  name: "psql to a real PostgreSQL, through CONNECT and through SOCKS",
}, async (t) => {
  await using site = await startSite();
  const { proxy } = site;
  await using database = await startPostgres(POSTGRES ?? "");
  proxy.policy.allow("one", { host: "db.test", ports: [database.port], passthrough: true });
  const query = async (port: number) => {
    const { code, stdout, stderr } = await runProgram(`${POSTGRES}/psql`, [
      ...["-h", "127.0.0.1", "-p", `${port}`, "-U", "postgres", "-At"],
      ...["-c", "select sum(i), length(string_agg(repeat('x', 100), '')) from generate_series(1, 20000) i"],
      ...["-c", "select repeat('y', 1000000)"],
    ]);
    assertEquals(code, 0, stderr);
    assertEquals(stdout.slice(0, 30).split("\n")[0], "200010000|2000000");
    assertEquals(stdout.length, "200010000|2000000\n".length + 1_000_001);
  };
  await t.step("CONNECT", async () => {
    await using local = startForwarder(async () =>
      (await openTunnel(proxy.httpPort, `db.test:${database.port}`, TOKEN)).conn
    );
    await query(local.port);
    await proxy.waitLine(/^passthrough client=one host=db\.test port=\d+ sent=\d+ received=10\d{5} /);
  });
  await t.step("SOCKS", async () => {
    await using local = startForwarder(async () =>
      (await askSocks5(proxy.httpPort, { host: "db.test", port: database.port })).peer.conn
    );
    await query(local.port);
    await proxy.waitLine(/^passthrough client=- auth=none rule-owner=one host=db\.test /);
  });
});

/** The folder with PostgreSQL's programs (Debian), or undefined: skipped then. */
function findPostgres(): string | undefined {
  try {
    for (const { name } of Deno.readDirSync("/usr/lib/postgresql")) {
      const dir = `/usr/lib/postgresql/${name}/bin`;
      if (hasProgram(`${dir}/initdb`) && hasProgram("runuser") && Deno.uid() === 0) return dir;
    }
  } catch {
    hasProgram("/usr/lib/postgresql"); // says that it is skipped
  }
  return undefined;
}

/** A database in a temporary folder, run by the user `postgres`, as it refuses to run as root. */
async function startPostgres(bin: string): Promise<AsyncDisposable & { readonly port: number }> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-test-pg-" });
  const port = freePort();
  const run = async (...args: string[]) => {
    const { code, stdout, stderr } = await runProgram("runuser", ["-u", "postgres", "--", ...args], {
      cwd: dir,
      ms: 90_000,
    });
    if (code !== 0) throw new Error(`${args[0]} failed: ${stdout}${stderr}`);
  };
  const idOf = async (flag: string) => Number((await runProgram("id", [flag, "postgres"])).stdout);
  await Deno.chown(dir, await idOf("-u"), await idOf("-g"));
  await run(`${bin}/initdb`, "-D", `${dir}/data`, "-A", "trust", "-U", "postgres", "-N");
  const options = `-p ${port} -k ${dir} -c listen_addresses=127.0.0.1 -c fsync=off`;
  await run(`${bin}/pg_ctl`, "-D", `${dir}/data`, "-w", "-l", `${dir}/log`, "-o", options, "start");
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      await run(`${bin}/pg_ctl`, "-D", `${dir}/data`, "-m", "immediate", "stop");
      await Deno.remove(dir, { recursive: true });
    },
  };
}
