// deno-lint-ignore-file no-console
/**
 * The SDK against the real program: from Deno with the rights that its README names, and from Node as a package that was
 * packed, installed and type-checked; over the socket and over TCP.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { dirname } from "node:path";
import { SlicerProxy } from "../../sdk/slicer_proxy.ts";
import { startEchoUpstream, type Upstream } from "../support/echo_upstream.ts";
import { type Daemon, freePorts, Program } from "../support/program.ts";
import { startHttp2Upstream } from "../support/http2_upstream.ts";
import { hasProgram, type Outcome, runProgram } from "../support/programs.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const EXAMPLE = `${ROOT}sdk/examples/stages.ts`;
const KEY = "sk-planted-key-of-the-sdk-test";

const hasCurl = hasProgram("curl");
const hasNode = hasProgram("node") && hasProgram("npm");

/** The program, running, with the API on the socket and on TCP, and an upstream that plays registry and LLM at once. */
interface Site extends AsyncDisposable {
  readonly dir: string;
  readonly daemon: Daemon;
  readonly upstream: Upstream;
  readonly program: Program;
  /** By transport: what the environment has to name. */
  readonly access: Readonly<Record<"socket" | "TCP", Readonly<Record<string, string>>>>;
}

async function startSite(): Promise<Site> {
  await using stack = new AsyncDisposableStack();
  const dir = await Deno.makeTempDir({ prefix: "slicer-sdk-" });
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  const upstream = stack.use(await startEchoUpstream({ names: ["localhost"] }));
  await Deno.writeTextFile(`${dir}/upstream.crt`, (await upstreamAuthority()).caPem);
  const [apiPort] = freePorts();
  const program = new Program(dir);
  const daemon = stack.use(
    await program.up([
      ...["--allow-cidr", "127.0.0.0/8,::1/128", "--upstream-ca", "localhost=upstream.crt"],
      ...["--mode", "audit", "--api-bind", `127.0.0.1:${apiPort}`],
    ]),
  );
  const access = {
    socket: { SLICER_URL: `${dir}/.slicer/proxy/api.sock` },
    TCP: {
      SLICER_URL: `http://127.0.0.1:${apiPort}`,
      SLICER_TOKEN_FILE: `${dir}/.slicer/proxy/api-token`,
    },
  };
  const owned = stack.move();
  return { dir, daemon, upstream, program, access, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Runs a compiled or plain example over both transports, and checks what came of it. */
async function testStages(
  t: Deno.TestContext,
  site: Site,
  run: (args: readonly string[], env: Readonly<Record<string, string>>) => Promise<Outcome>,
): Promise<void> {
  const { dir, upstream, access, daemon } = site;
  const base = `https://localhost:${upstream.port}`;
  const curl = (path: string, ...args: string[]) =>
    [
      "curl -sS -m 20 -w '%{http_code}' -o /dev/null",
      `--cacert ${dir}/.slicer/ca/sbox/ca.crt`,
      ...args,
      base + path,
    ]
      .join(" ");
  for (const [name, env] of Object.entries(access)) {
    await t.step(name, async () => {
      const seen = upstream.seen.length;
      const { code, stdout, stderr } = await run(
        [
          `${curl("/left-pad")}; ${curl("/publish", "-X PUT")}`,
          `${curl("/v1/messages", "-X POST")}; ${curl("/left-pad")}`,
        ],
        { ...env, REGISTRY: `localhost:${upstream.port}`, LLM: `localhost:${upstream.port}`, LLM_KEY: KEY },
      );
      assertEquals([code, stderr], [0, ""]);
      assertMatch(stdout, /== install: .*\n200403 .*\n== run: .*\n200403 .*\n== what was denied\n/);
      const denied = stdout.split("== what was denied\n")[1] ?? "";
      assertEquals(denied.split("\n"), [
        `  PUT localhost:${upstream.port}/publish (no-rule)`,
        `  GET localhost:${upstream.port}/left-pad (no-rule)`,
        "",
      ]);
      assertEquals(upstream.seen.slice(seen).map(({ requestLine }) => requestLine), [
        "GET /left-pad HTTP/1.1",
        "POST /v1/messages HTTP/1.1",
      ]);
      const hasKey = upstream.seen.slice(seen).map(({ headers }) => headers.includes(`x-api-key: ${KEY}`));
      assertEquals(hasKey, [false, true]);
      const proxy = new SlicerProxy({ url: access.socket.SLICER_URL });
      assertEquals([await proxy.clients.list(), await proxy.secrets.list()], [[], []]);
      assertEquals((stdout + daemon.stdout.text + daemon.stderr.text).includes(KEY), false);
    });
  }
}

Deno.test({ ignore: !hasCurl, name: "the example of stages runs under Deno" }, async (t) => {
  await using site = await startSite();
  // As written: with the rights that it names, from the project's folder.
  const rights = ["--allow-net", "--allow-read", "--allow-write", "--allow-env", "--allow-run"];
  await testStages(
    t,
    site,
    (args, env) =>
      runProgram(Deno.execPath(), ["run", "--quiet", "--no-prompt", ...rights, EXAMPLE, ...args], {
        env,
        cwd: ROOT,
      }),
  );

  await t.step("what was denied is suggested, and a policy that is exported is tested", async () => {
    const proxy = new SlicerProxy({ url: site.access.socket.SLICER_URL });
    const { token } = await proxy.clients.create("curious");
    const url = `https://localhost:${site.upstream.port}/v1/models`;
    const ca = `${site.dir}/.slicer/ca/sbox/ca.crt`;
    await runProgram("curl", [
      ...["-sS", "--cacert", ca, "-x", `http://vm:${token}@127.0.0.1:${site.daemon.httpPort}`],
      url,
    ]);
    for await (const _stored of proxy.audit({ follow: true, client: "curious", since: "5m" })) break;
    const { proposals } = await proxy.suggestions("curious", { since: "5m", exact: true });
    const rule = { host: "localhost", methods: ["GET"], paths: ["/v1/models"], ports: [site.upstream.port] };
    assertEquals(proposals.map((each) => each.rule), [rule]);
    const policy = await proxy.policy.export();
    await proxy.allows.add({ client: "curious", ...rule });
    const tested = await proxy.policy.test(await proxy.policy.export(), {
      since: new Date(Date.now() - 300_000),
    });
    const changed = tested.changes.filter(({ client }) => client === "curious");
    assertEquals(changed.map(({ kind, path }) => [kind, path]), [["allowed", "/v1/models"]]);
    await proxy.policy.apply(policy, { prune: true });
    assertEquals(await proxy.clients.rules("curious"), []);
    await proxy.clients.delete("curious");
  });

  await t.step("without a key it says so", async () => {
    const { code, stderr } = await runProgram(Deno.execPath(), ["run", "--quiet", ...rights, EXAMPLE], {
      cwd: ROOT,
    });
    assertEquals([code, stderr], [1, "error: Cannot start: LLM_KEY, the key of the API, is not set\n"]);
  });
});

Deno.test({ ignore: !hasCurl, name: "the example of stages runs over HTTP/2" }, async () => {
  await using site = await startSite();
  await using upstream = await startHttp2Upstream({ names: ["localhost"] });
  const base = `https://localhost:${upstream.port}`;
  const curl = (path: string, ...args: string[]) =>
    [
      "curl -sS -m 20 --http2 -w '%{http_version} %{http_code}\\n' -o /dev/null",
      `--cacert ${site.dir}/.slicer/ca/sbox/ca.crt`,
      ...args,
      base + path,
    ].join(" ");
  const rights = ["--allow-net", "--allow-read", "--allow-write", "--allow-env", "--allow-run"];
  const commands = [
    `${curl("/left-pad")}; ${curl("/publish", "-X PUT")}`,
    `${curl("/v1/messages", "-X POST")}; ${curl("/left-pad")}`,
  ];
  const { code, stdout, stderr } = await runProgram(
    Deno.execPath(),
    ["run", "--quiet", "--no-prompt", ...rights, EXAMPLE, ...commands],
    {
      env: {
        ...site.access.socket,
        ...{ REGISTRY: `localhost:${upstream.port}`, LLM: `localhost:${upstream.port}` },
        ...{ LLM_KEY: KEY, LLM_HEADER: "authorization" },
      },
      cwd: ROOT,
    },
  );
  assertEquals([code, stderr], [0, ""]);
  assertMatch(stdout, /== install: .*\n2 200\n2 403\n[^]*== run: .*\n2 200\n2 403\n[^]*== what was denied\n/);
  assertEquals(upstream.requests, ["GET /left-pad -", `POST /v1/messages ${KEY}`]);
});

Deno.test({ ignore: !hasNode || !hasCurl, name: "the packed package runs under Node" }, async (t) => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-sdk-package-" });
  try {
    await t.step("npm pack, npm install", async () => {
      // Deno compiles it.
      const env = { PATH: `${dirname(Deno.execPath())}:${Deno.env.get("PATH")}` };
      const packed = await runProgram("npm", ["pack", "--json", "--pack-destination", dir], {
        cwd: `${ROOT}sdk`,
        env,
        ms: 120_000,
      });
      assertEquals(packed.code, 0, packed.stderr);
      const [{ filename, files }] = JSON.parse(packed.stdout.slice(packed.stdout.indexOf("[")));
      const names: string[] = files.map(({ path }: { path: string }) => path);
      assertEquals(names.filter((name) => !/^dist\/\w+(\.d\.ts|\.js)$/.test(name)).sort(), [
        "LICENSE",
        "README.md",
        "examples/stages.ts",
        "package.json",
      ]);
      assert(names.includes("dist/slicer_proxy.js") && names.includes("dist/openapi.d.ts"));
      await Deno.writeTextFile(`${dir}/package.json`, `{"type":"module","private":true}`);
      const install = ["install", "--offline", "--no-audit", "--no-fund", `./${filename}`];
      const { code, stderr } = await runProgram("npm", install, { cwd: dir, ms: 120_000 });
      assertEquals(code, 0, stderr);
    });

    const found = await findTypeScript(dir);
    if (!found) return;
    await t.step("tsc checks it strictly, and compiles the example as it is", async () => {
      const { tsc, typeRoots } = found;
      await Deno.copyFile(EXAMPLE, `${dir}/stages.ts`);
      await Deno.writeTextFile(`${dir}/wrong.ts`, WRONG);
      await Deno.writeTextFile(`${dir}/probe.ts`, PROBE);
      const options = {
        strict: true,
        exactOptionalPropertyTypes: true,
        skipLibCheck: false,
        target: "es2022",
        lib: ["es2023", "esnext.disposable"],
        module: "nodenext",
        types: ["node"],
        typeRoots,
        preserveSymlinks: true,
      };
      const check = async (files: readonly string[], emit: boolean) => {
        await Deno.writeTextFile(
          `${dir}/tsconfig.json`,
          JSON.stringify({ files, compilerOptions: { ...options, noEmit: !emit } }),
        );
        return await runProgram("node", [tsc, "-p", dir], { ms: 120_000 });
      };
      assertEquals(await check(["stages.ts", "probe.ts"], true), { code: 0, stdout: "", stderr: "" });
      const { code, stdout } = await check(["wrong.ts"], false);
      const errors = stdout.match(/error TS\d+/g)?.map((each) => each.replace("TS2561", "TS2353"));
      assertEquals([code, errors], [2, ["error TS2353", "error TS2339", "error TS2322"]]); // 2561 also has a guess
    });

    await using site = await startSite();
    await testStages(t, site, (args, env) => runProgram("node", ["stages.js", ...args], { cwd: dir, env }));

    await t.step("every noun, errors, limits and signals", async () => {
      for (const env of Object.values(site.access)) {
        const { code, stdout, stderr } = await runProgram("node", ["probe.js"], { cwd: dir, env });
        assertEquals([code, stderr], [0, ""]);
        assertEquals(JSON.parse(stdout), {
          clients: ["node-1"],
          rules: ["*.example.com"],
          staged: ["*.example.com", "a.example"],
          after: ["*.example.com"],
          conflict: [409, "SlicerProxyError"],
          missing: 404,
          aborted: "enough",
          value: false,
          followed: ["auth-missing"],
        });
      }
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
    await Deno.remove(`${ROOT}sdk/dist`, { recursive: true }).catch(() => {});
  }
});

/** What must not compile: a field that no rule has, one that no secret shows, and a port that is text. */
const WRONG = `import { SlicerProxy } from "slicer-proxy-sdk";
const proxy = new SlicerProxy();
await proxy.allows.add({ client: "a", host: "b", pathes: ["/"] });
for (const secret of await proxy.secrets.list()) console.log(secret.value);
await proxy.stage("a", [{ host: "b", ports: ["443"] }]);
`;

const PROBE = `import { SlicerProxy, SlicerProxyError, type AllowRule } from "slicer-proxy-sdk";
import http from "node:http";

const proxy = SlicerProxy.fromEnv();
const hosts = (rules: readonly AllowRule[]) => rules.map(({ host }) => host);
const failure = async (call: Promise<unknown>): Promise<any> => await call.then(() => undefined, (error) => error);
const began = new Date();
await proxy.clients.create("node-1");
const clients = (await proxy.clients.list()).map(({ name }) => name);
await proxy.allows.add({ client: "node-1", host: "*.example.com", ttl_seconds: 60 });
const rules = hosts(await proxy.clients.rules("node-1"));
const stage = await proxy.stage("node-1", [{ host: "a.example", methods: ["GET"] }], { ttl: "5m" });
const staged = hosts(await proxy.clients.rules("node-1"));
await stage.end();
const after = hosts(await proxy.clients.rules("node-1"));
const conflict = await failure(proxy.clients.create("node-1"));
const missing = await failure(proxy.secrets.delete("none"));
const stop = new AbortController();
stop.abort(new Error("enough"));
const aborted = await failure(proxy.status({ signal: stop.signal }));
await proxy.secrets.create({ name: "s", host: "api.example.com", value: "hunter2" });
const value = JSON.stringify(await proxy.secrets.list()).includes("hunter2");
const { bind, http_port } = await proxy.status();
const followed: unknown[] = [];
const request = http.get({ host: bind, port: http_port, path: "http://a.example/", headers: { host: "a.example" }, agent: false }, (answer) => answer.resume());
request.on("error", () => {});
for await (const { reason } of proxy.audit({ follow: true, since: began })) {
  followed.push(reason);
  break;
}
await proxy.secrets.delete("s");
await proxy.clients.delete("node-1");
if (!(conflict instanceof SlicerProxyError)) throw conflict;
console.log(JSON.stringify({
  clients, rules, staged, after, conflict: [conflict.status, conflict.name], missing: missing.status, aborted: aborted.message,
  value, followed,
}));
`;

/** What a project for Node would install to check types. Not in deno.json: Deno would take these types for its own. */
const TYPES = "@types/node@20.19.43";

/** TypeScript, and links to the types of Node from `dir`; undefined, and said, where they cannot be fetched. */
async function findTypeScript(
  dir: string,
): Promise<{ readonly tsc: string; readonly typeRoots: readonly string[] } | undefined> {
  const [typescript, types] = await Promise.all(["typescript@5.9.3", TYPES].map(packagesOf));
  if (!typescript || !types) {
    console.log(`  skipped: typescript or ${TYPES} cannot be fetched`);
    return undefined;
  }
  await Deno.mkdir(`${dir}/node_modules/@types`, { recursive: true });
  await Deno.symlink(types["@types/node"] ?? "", `${dir}/node_modules/@types/node`);
  await Deno.symlink(types["undici-types"] ?? "", `${dir}/node_modules/undici-types`);
  return { tsc: `${typescript["typescript"]}/bin/tsc`, typeRoots: [`${dir}/node_modules/@types`] };
}

/** Where Deno keeps an npm package and those that it needs. */
async function packagesOf(name: string): Promise<Readonly<Record<string, string>> | undefined> {
  const alone = ["--no-config", "--no-lock"];
  const { code } = await runProgram(Deno.execPath(), ["cache", "--quiet", ...alone, `npm:${name}`]);
  if (code !== 0) return undefined;
  const { stdout } = await runProgram(Deno.execPath(), ["info", ...alone, "--json", `npm:${name}`]);
  const packages: readonly { readonly name: string; readonly localPath: string }[] = Object.values(
    JSON.parse(stdout).npmPackages,
  );
  return Object.fromEntries(packages.map((each) => [each.name, each.localPath]));
}
