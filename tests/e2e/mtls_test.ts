/** Client certificates upstream: a stand-in for a Kubernetes API (nginx with ssl_verify_client), asked with curl. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Program } from "../support/program.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { everythingBy, startTestParent } from "../support/parent_proxy.ts";
import { startTestProxy, type TestProxyOptions, TOKEN } from "../support/start_proxy.ts";
import { upstreamAuthority } from "../support/test_authority.ts";
import { Rig } from "../unit/secrets/support.ts";

const ignore = !hasProgram("nginx") || !hasProgram("curl") || !hasProgram("openssl");

function unusedPort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** `client.pem` of `robot`, and the CA that vouches for it. */
async function makeClient(dir: string): Promise<void> {
  const run = (...args: string[]) => runProgram("openssl", args, { cwd: dir });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  await run(
    "req",
    "-x509",
    ...key,
    "-keyout",
    "client-ca.key",
    "-out",
    "client-ca.pem",
    "-subj",
    "/CN=clients",
  );
  await run("req", ...key, "-keyout", "client.key", "-out", "client.csr", "-subj", "/CN=robot/O=ci");
  await Deno.writeTextFile(`${dir}/v3.ext`, "extendedKeyUsage=clientAuth\n");
  await run(
    ...[
      "x509",
      "-req",
      "-extfile",
      "v3.ext",
      "-in",
      "client.csr",
      "-CA",
      "client-ca.pem",
      "-CAkey",
      "client-ca.key",
    ],
    ...["-CAcreateserial", "-days", "2", "-out", "client.crt"],
  );
  const parts = await Promise.all(["crt", "key"].map((end) => Deno.readTextFile(`${dir}/client.${end}`)));
  await Deno.writeTextFile(`${dir}/client.pem`, parts.join(""));
}

/** nginx, which takes clients with a certificate of the test CA and says who they are. */
async function startApi(dir: string, tls: "TLSv1.2" | "TLSv1.3") {
  const port = unusedPort();
  const ca = await upstreamAuthority();
  const { certPem, keyPem } = await ca.issue(["k8s.test", "other.test", "localhost"]);
  await makeClient(dir);
  await Deno.writeTextFile(`${dir}/server.pem`, certPem);
  await Deno.writeTextFile(`${dir}/server.key`, keyPem);
  await Deno.writeTextFile(
    `${dir}/nginx.conf`,
    `daemon off; pid ${dir}/pid; error_log ${dir}/error.log; events {}
http { access_log off; client_body_temp_path ${dir}/b; proxy_temp_path ${dir}/p; fastcgi_temp_path ${dir}/f;
uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
server { listen 127.0.0.1:${port} ssl http2; ssl_certificate ${dir}/server.pem; ssl_certificate_key ${dir}/server.key;
ssl_protocols ${tls}; ssl_client_certificate ${dir}/client-ca.pem; ssl_verify_client optional;
location / { if ($ssl_client_verify != SUCCESS) { return 401 "who are you"; }
return 200 "$server_protocol $ssl_client_s_dn $http_authorization\\n"; } } }`,
  );
  const process = new Deno.Command("nginx", { args: ["-c", `${dir}/nginx.conf`], stderr: "null" }).spawn();
  for (let i = 0;; i++) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      break;
    } catch (error) {
      if (i > 200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      process.kill("SIGTERM");
      await process.status;
    },
  };
}

/** How the proxy gets to the upstream: what does not dial itself has to be handed to the TLS library. */
const ways = {
  "directly": () => Promise.resolve({}),
  "by an http parent": async (stack) => {
    const { port } = stack.use(await startTestParent());
    return { parents: everythingBy({ port }) };
  },
  "by an https parent": async (stack) => {
    const { port } = stack.use(await startTestParent({ names: ["127.0.0.1"] }));
    return { parents: everythingBy({ scheme: "https", port }) };
  },
  "from a source address": () => Promise.resolve({ dialFrom: { family: "any", sources: ["127.0.0.7"] } }),
} satisfies Record<string, (stack: AsyncDisposableStack) => Promise<TestProxyOptions>>;

for (
  const [tls, way] of [
    ["TLSv1.2", "directly"],
    ["TLSv1.3", "directly"],
    ["TLSv1.3", "by an http parent"],
    ["TLSv1.3", "by an https parent"],
    ["TLSv1.3", "from a source address"],
  ] as const
) {
  Deno.test(
    { ignore, name: `a client certificate reaches its host, and no other, ${tls}, ${way}` },
    async () => {
      await using stack = new AsyncDisposableStack();
      const dir = await Deno.makeTempDir({ prefix: "slicer-mtls-" });
      stack.defer(() => Deno.remove(dir, { recursive: true }));
      const api = stack.use(await startApi(dir, tls));
      const rig = stack.use(await Rig.start({ isStarted: false }));
      const client = await Deno.readTextFile(`${dir}/client.pem`);
      await rig.adopt("mtls", client, { host: "k8s.test" });
      const proxy = stack.use(
        await startTestProxy({ credentials: rig.credentials, ...await ways[way](stack) }),
      );
      await Deno.writeTextFile(`${dir}/proxy.pem`, proxy.caPem);
      const rule = { ports: [api.port], paths: ["/api/*"] };
      proxy.policy.allow("one", { ...rule, host: "k8s.test", secret: "login" });
      proxy.policy.allow("one", { ...rule, host: "other.test" });
      proxy.policy.allow("one", { ...rule, host: "wrong.test", secret: "login" });
      const curl = async (...args: string[]) => {
        const { stdout, stderr } = await runProgram("curl", [
          ...["-sS", "--max-time", "20", "--cacert", `${dir}/proxy.pem`, "-H", "Authorization: Bearer MINE"],
          ...["-x", `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`, ...args],
        ]);
        return stdout + stderr;
      };
      const pods = `https://k8s.test:${api.port}/api/v1/pods`;
      assertMatch(await curl("--http2", pods, pods), /^(HTTP\/2.0 O=ci,CN=robot \n){2}$/);
      assertMatch(await curl("--http1.1", pods, pods), /^(HTTP\/1.1 O=ci,CN=robot \n){2}$/);
      const body = "x".repeat(300_000);
      await Deno.writeTextFile(`${dir}/body`, body);
      assertMatch(await curl("--http1.1", "--data-binary", `@${dir}/body`, pods), /^HTTP\/1.1 O=ci/);
      for (const version of ["--http1.1", "--http2"]) {
        assertStringIncludes(await curl(version, `https://other.test:${api.port}/api/x`), "who are you");
        assertStringIncludes(
          await curl(version, `https://wrong.test:${api.port}/api/x`),
          "bound to another host",
        );
      }
      assertStringIncludes(
        await curl(`http://k8s.test:${api.port}/api/x`),
        "a certificate, which only TLS shows",
      );
      await proxy.waitLine(/host=k8s.test .*status=200 secret=login/);
      // The secret's end is the end of what it had opened.
      await rig.state.deleteSecret("login");
      assertStringIncludes(await curl(pods), "which does not exist");
    },
  );
}

Deno.test({ ignore, name: "with a client certificate the host's own is verified too" }, async () => {
  await using stack = new AsyncDisposableStack();
  const dir = await Deno.makeTempDir({ prefix: "slicer-mtls-" });
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  const api = stack.use(await startApi(dir, "TLSv1.3"));
  const rig = stack.use(await Rig.start({ isStarted: false }));
  const client = await Deno.readTextFile(`${dir}/client.pem`);
  await rig.adopt("mtls", client, { host: "impostor.test" });
  const proxy = stack.use(await startTestProxy({ credentials: rig.credentials }));
  await Deno.writeTextFile(`${dir}/proxy.pem`, proxy.caPem);
  proxy.policy.allow("one", { host: "impostor.test", ports: [api.port], secret: "login" });
  for (const version of ["--http1.1", "--http2"]) {
    const { stdout } = await runProgram("curl", [
      ...[
        "-sS",
        "-i",
        "--max-time",
        "20",
        "--cacert",
        `${dir}/proxy.pem`,
        "--suppress-connect-headers",
        version,
      ],
      ...["-x", `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`, `https://impostor.test:${api.port}/`],
    ]);
    assertMatch(stdout, /^HTTP\/\S+ 502/);
    assertMatch(stdout, /x-slicer-proxy-reason: tls/i);
    assert(!stdout.includes("CN="));
  }
  assertEquals(proxy.bugs, []);
});

Deno.test(
  { ignore, name: "the real program opens an encrypted key, and its certificate is shown for a VM" },
  async () => {
    await using stack = new AsyncDisposableStack();
    const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-mtls-" }));
    stack.defer(() => Deno.remove(dir, { recursive: true }));
    const api = stack.use(await startApi(dir, "TLSv1.3"));
    await Deno.writeTextFile(`${dir}/upstream.pem`, (await upstreamAuthority()).caPem);
    await Deno.writeTextFile(`${dir}/passphrase.txt`, "planted-passphrase\n");
    await runProgram("openssl", [
      ...["pkcs8", "-topk8", "-in", "client.key", "-out", "locked.key", "-passout", "file:passphrase.txt"],
    ], { cwd: dir });
    const parts = await Promise.all(
      ["client.crt", "locked.key"].map((name) => Deno.readTextFile(`${dir}/${name}`)),
    );
    await Deno.writeTextFile(`${dir}/locked.pem`, parts.join(""));
    const program = new Program(dir);
    const daemon = stack.use(
      await program.up(["--allow-cidr", "127.0.0.0/8,::1/128", "--upstream-ca", "upstream.pem"]),
    );
    const create = [
      "secret",
      "create",
      "k8s",
      "--host",
      "localhost",
      "--type",
      "mtls",
      "--value-file",
      "locked.pem",
    ];
    await runProgram("openssl", [
      ...[
        "x509",
        "-req",
        "-in",
        "client.csr",
        "-CA",
        "client-ca.pem",
        "-CAkey",
        "client-ca.key",
        "-out",
        "v1.crt",
      ],
    ], { cwd: dir });
    const old = await Deno.readTextFile(`${dir}/v1.crt`) + await Deno.readTextFile(`${dir}/client.key`);
    const refused = await program.run([...create.slice(0, -1), "-"], { stdin: old });
    assertStringIncludes(refused.stderr, "its certificate is of X.509 version 1");
    assertStringIncludes((await program.run(create)).stderr, "its private key is encrypted");
    await program.ok([...create, "--passphrase-file", "passphrase.txt"]);
    const tested = await program.run(["secret", "test", "k8s", "--at", `https://localhost:${api.port}/api`]);
    assertStringIncludes(tested.stderr, `secret k8s works: localhost:${api.port} takes the credential`);
    assertEquals(tested.code, 0);
    const token = await program.ok(["client", "create", "vm"]);
    const place = ["--host", "localhost", "--port", String(api.port), "--path", "/api/*"];
    await program.ok(["allow", "vm", ...place, "--secret", "k8s"]);
    const [group] = await Array.fromAsync(Deno.readDir(`${dir}/.slicer/ca`));
    let got = "";
    for (const version of ["--http1.1", "--http2"]) {
      const { stdout, stderr } = await runProgram("curl", [
        ...["-sS", "--max-time", "20", "--cacert", `${dir}/.slicer/ca/${group?.name}/ca.crt`, version],
        ...["-x", `http://proxy:${token}@127.0.0.1:${daemon.httpPort}`, "--noproxy", ""],
        `https://localhost:${api.port}/api/v1/pods`,
      ]);
      assertMatch(stdout, /^HTTP\/\S+ O=ci,CN=robot \n$/, stderr);
      got += stdout + stderr;
    }
    await daemon.end("SIGTERM");
    assert(!/planted|PRIVATE/.test(daemon.stdout.text + daemon.stderr.text + tested.stderr + got));
  },
);
