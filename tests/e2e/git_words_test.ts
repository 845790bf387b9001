/** Rules that speak of git, with real git and git-lfs, against `git http-backend`: who may read cannot push. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { makeRepository, serveGit } from "../support/git_server.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { Replayer } from "../../policy/replay.ts";
import { parseRule, type RuleInput } from "../../policy/rule.ts";
import { startTestProxy, type TestProxy, TOKEN } from "../support/start_proxy.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

const canRun = hasProgram("git");
const hasLfs = hasProgram("git-lfs");

/** What the server was asked, and where to. */
class Stage implements AsyncDisposable {
  readonly asked: string[] = [];
  readonly port: number;
  readonly root: string;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #objects = new Map<string, Uint8Array<ArrayBuffer>>();

  private constructor(root: string, cert: string, key: string) {
    this.root = root;
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, cert, key, onListen: () => {} },
      (request) => this.#serve(request),
    );
    this.port = this.#server.addr.port;
  }

  static async start(): Promise<Stage> {
    const root = await Deno.makeTempDir({ prefix: "slicer-git-" });
    for (const owner of ["acme", "other"]) await Deno.mkdir(`${root}/${owner}`);
    for (const name of ["acme/web", "other/web"]) await makeRepository(root, name);
    const { certPem, keyPem } = await (await upstreamAuthority()).issue(["git.test", "objects.test"]);
    return new Stage(root, certPem, keyPem);
  }

  async head(name: string): Promise<string> {
    return (await runProgram("git", ["-C", `${this.root}/${name}`, "rev-parse", "main"])).stdout.trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
    await Deno.remove(this.root, { recursive: true });
  }

  async #serve(request: Request): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    const path = pathname.replace(/\.git\//, "/");
    this.asked.push(`${request.method} ${pathname}${search}`);
    if (path.startsWith("/moved/")) {
      await request.body?.cancel();
      const location = `https://git.test:${this.port}${path.slice("/moved".length)}?service=git-receive-pack`;
      return new Response(null, { status: 307, headers: { location } });
    }
    if (path.endsWith("/info/lfs/objects/batch")) return this.#batch(await request.json());
    if (path.endsWith("/info/lfs/locks/verify")) return Response.json({ ours: [], theirs: [] });
    const oid = /\/objects\/([0-9a-f]{64})$/.exec(path)?.[1];
    if (oid === undefined) {
      return await serveGit(this.root, new Request(new URL(path + search, request.url), request));
    }
    if (request.method === "PUT") this.#objects.set(oid, new Uint8Array(await request.arrayBuffer()));
    return new Response(this.#objects.get(oid) ?? null);
  }

  #batch({ operation, objects }: { operation: string; objects: { oid: string; size: number }[] }): Response {
    const href = (oid: string) => `https://objects.test:${this.port}/store/objects/${oid}`;
    return Response.json({
      transfer: "basic",
      objects: objects.map(({ oid, size }) => ({
        ...{ oid, size, authenticated: true },
        actions: { [operation]: { href: href(oid) } },
      })),
    }, { headers: { "content-type": "application/vnd.git-lfs+json" } });
  }
}

/** A folder with a client's git in it. */
class Home implements AsyncDisposable {
  readonly dir: string;
  readonly #env: Record<string, string>;

  private constructor(dir: string, proxy: TestProxy) {
    this.dir = dir;
    this.#env = {
      ...{ HOME: dir, GIT_CONFIG_NOSYSTEM: "1", GIT_TERMINAL_PROMPT: "0", GIT_SSL_CAINFO: `${dir}/ca.pem` },
      ...{ GIT_AUTHOR_NAME: "t", GIT_AUTHOR_EMAIL: "t@t.test" },
      ...{ GIT_COMMITTER_NAME: "t", GIT_COMMITTER_EMAIL: "t@t.test" },
      ...{ https_proxy: `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`, NO_PROXY: "" },
    };
  }

  static async make(proxy: TestProxy): Promise<Home> {
    const dir = await Deno.makeTempDir({ prefix: "slicer-git-home-" });
    await Deno.writeTextFile(`${dir}/ca.pem`, proxy.caPem);
    return new Home(dir, proxy);
  }

  async git(args: readonly string[], more: { cwd?: string; env?: Record<string, string> } = {}) {
    const hasty = ["-c", "lfs.transfer.maxretries=1", "-c", "lfs.transfer.maxretrydelay=1"];
    const { code, stdout, stderr } = await runProgram("git", [...hasty, ...args], {
      cwd: more.cwd ?? this.dir,
      env: { ...this.#env, ...more.env },
      ms: 60_000,
    });
    return { isDone: code === 0, text: stdout + stderr };
  }

  async commit(cwd: string, file: string): Promise<void> {
    await Deno.writeTextFile(`${cwd}/${file}`, "changed\n");
    await this.git(["add", "."], { cwd });
    const { isDone, text } = await this.git(["commit", "-qm", "change"], { cwd });
    assert(isDone, text);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Deno.remove(this.dir, { recursive: true });
  }
}

/** How many lines of the proxy would be decided otherwise under another rule. */
function replayed(proxy: TestProxy, rule: RuleInput) {
  const replayer = new Replayer(new Map([["one", [parseRule(rule)]]]));
  for (const record of proxy.records) if (record.path !== undefined) replayer.add(record);
  return replayer.result();
}

Deno.test(
  { name: "git read clones and fetches in every version, and cannot push", ignore: !canRun },
  async (t) => {
    await using stage = await Stage.start();
    await using proxy = await startTestProxy();
    await using home = await Home.make(proxy);
    const rule = { host: "git.test", ports: [stage.port], git: "read", repo: ["acme/*", "moved/*"] } as const;
    proxy.policy.allow("one", rule);
    const url = `https://git.test:${stage.port}`;
    const before = await stage.head("acme/web");

    for (const version of ["0", "1", "2"]) {
      await t.step(`clone with version ${version}`, async () => {
        const { isDone, text } = await home.git([
          ...["-c", `protocol.version=${version}`, "clone", "-q", `${url}/acme/web.git`, `v${version}`],
        ]);
        assert(isDone, text);
        assertEquals(await Deno.readTextFile(`${home.dir}/v${version}/README`), "of acme/web\n");
      });
    }
    await t.step("clone by the dumb protocol", async () => {
      await runProgram("git", ["-C", `${stage.root}/acme/web`, "update-server-info"]);
      const { isDone, text } = await home.git(["clone", "-q", `${url}/acme/web`, "dumb"], {
        env: { GIT_SMART_HTTP: "0" },
      });
      assert(isDone, text);
    });
    await t.step("another repository", async () => {
      assertMatch((await home.git(["clone", `${url}/other/web`, "no"])).text, /403/);
    });

    const cwd = `${home.dir}/v2`;
    await home.commit(cwd, "README");
    for (const version of ["0", "2"]) {
      await t.step(`push with version ${version}`, async () => {
        const { isDone, text } = await home.git([
          "-c",
          `protocol.version=${version}`,
          "push",
          "origin",
          "main",
        ], { cwd });
        assert(!isDone);
        assertMatch(text, /403/);
      });
    }
    await t.step("push to where the server leads on to", async () => {
      await home.git(["remote", "add", "moved", `${url}/moved/acme/web`], { cwd });
      assert(!(await home.git(["-c", "http.followRedirects=true", "push", "moved", "main"], { cwd })).isDone);
      assert(!(await home.git(["-c", "http.followRedirects=true", "fetch", "moved"], { cwd })).isDone);
    });
    await t.step("a push's bytes to the service that reads", async () => {
      using client = Deno.createHttpClient({
        proxy: { url: `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}` },
        caCerts: [proxy.caPem],
      });
      const { stdout: to } = await runProgram("git", ["-C", cwd, "rev-parse", "HEAD"]);
      const line = `${before} ${to.trim()} refs/heads/main\0 report-status delete-refs side-band-64k`;
      const body = `${(line.length + 4).toString(16).padStart(4, "0")}${line}0000`;
      for (const type of ["git-receive-pack", "git-upload-pack"]) {
        const response = await fetch(`${url}/acme/web/git-upload-pack`, {
          ...{ client, method: "POST", body },
          headers: { "content-type": `application/x-${type}-request`, "git-protocol": "version=2" },
        });
        await response.body?.cancel();
      }
      for (
        const query of ["service=git-upload-pack&service=git-receive-pack", "service=git-receive-pack&a"]
      ) {
        const response = await fetch(`${url}/acme/web/info/refs?${query}`, { client });
        assertEquals([response.status, response.headers.get("x-slicer-proxy-reason")], [403, "no-rule"]);
        await response.body?.cancel();
      }
    });
    assertEquals(await stage.head("acme/web"), before);
    assertEquals(stage.asked.filter((line) => /^(?:PUT|.*receive-pack)/.test(line)), []);

    await t.step("and the log says enough to decide it again", async () => {
      await proxy.waitLine(/deny .* says=query:service=git-receive-pack/);
      const same = replayed(proxy, rule);
      assertEquals([same.denied, same.allowed, same.notJudged], [0, 0, 0]);
      const write = replayed(proxy, { ...rule, git: "write" });
      assert(write.allowed > 0 && write.denied === 0, JSON.stringify(write));
    });
  },
);

Deno.test({ name: "git write pushes", ignore: !canRun }, async () => {
  await using stage = await Stage.start();
  await using proxy = await startTestProxy();
  await using home = await Home.make(proxy);
  proxy.policy.allow("one", { host: "git.test", ports: [stage.port], git: "write", repo: ["acme/web"] });
  const { isDone, text } = await home.git([
    "clone",
    "-q",
    `https://git.test:${stage.port}/acme/web.git`,
    "web",
  ]);
  assert(isDone, text);
  const cwd = `${home.dir}/web`;
  const before = await stage.head("acme/web");
  await home.commit(cwd, "README");
  const pushed = await home.git(["push", "origin", "main"], { cwd });
  assert(pushed.isDone, pushed.text);
  assert(await stage.head("acme/web") !== before);
});

Deno.test({
  name: "git-lfs downloads under git read, and uploads only under git write",
  ignore: !canRun || !hasLfs,
}, async (t) => {
  await using stage = await Stage.start();
  await using proxy = await startTestProxy();
  await using home = await Home.make(proxy);
  const git = { host: "git.test", ports: [stage.port], repo: ["acme/web"] };
  const objects = { host: "objects.test", ports: [stage.port], paths: ["/store/*"] };
  const url = `https://git.test:${stage.port}/acme/web.git`;
  const cwd = `${home.dir}/web`;
  const put = async () => {
    await home.git(["lfs", "install"]);
    await home.git(["lfs", "track", "*.bin"], { cwd });
    await home.commit(cwd, "a.bin");
    return await home.git(["push", "origin", "main"], { cwd });
  };

  const read = proxy.policy.allow("one", { ...git, git: "read" });
  assert((await home.git(["clone", "-q", url, "web"])).isDone);
  await t.step("an upload is denied for reading alone", async () => {
    assert(!(await put()).isDone);
    const { text } = await home.git(["lfs", "push", "--all", "origin"], { cwd });
    assertMatch(text, /403|Authorization error|may not/i);
    await proxy.waitLine(/deny .*objects\/batch .*reason=no-rule .*says=lfs:upload/);
    assertEquals(stage.asked.filter((line) => /batch|PUT/.test(line)), []);
  });
  proxy.policy.revoke(read);
  const write = proxy.policy.allow("one", { ...git, git: "write" });
  const store = proxy.policy.allow("one", objects);
  await t.step("an upload for writing", async () => {
    const { isDone, text } = await home.git(["push", "origin", "main"], { cwd });
    assert(isDone, text);
    assert(stage.asked.some((line) => line.startsWith("PUT /store/objects/")), stage.asked.join("\n"));
  });
  proxy.policy.revoke(write);
  proxy.policy.revoke(store);
  proxy.policy.allow("one", { ...git, git: "read" });
  await t.step("objects on another host need a rule of their own, which the denial names", async () => {
    const { isDone } = await home.git(["clone", "-q", url, "again"]);
    assert(!isDone);
    await proxy.waitLine(/allow .*objects\/batch .*says=lfs:download/);
    await proxy.waitLine(/deny .*host=objects\.test .*reason=no-rule/);
  });
  await t.step("and with it a clone has them", async () => {
    proxy.policy.allow("one", objects);
    const { isDone, text } = await home.git(["clone", "-q", url, "last"]);
    assert(isDone, text);
    assertEquals(await Deno.readTextFile(`${home.dir}/last/a.bin`), "changed\n");
  });
});
