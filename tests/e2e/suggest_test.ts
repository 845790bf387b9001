/** Learning a policy from a run, as typed: audit mode, a real client, `suggest --apply`, strict mode, the same client. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { startGitServer } from "../support/git_server.ts";
import { startNpmRegistry } from "../support/npm_registry.ts";
import { type Daemon, Program } from "../support/program.ts";
import { hasProgram, type Outcome, runProgram } from "../support/programs.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

const [hasNpm, hasGit] = [hasProgram("npm"), hasProgram("git")];

/** The program in a folder of its own with the client `ci-1`; the mode changes by a restart. */
class Site implements AsyncDisposable {
  readonly dir: string;
  readonly program: Program;
  readonly token: string;
  #daemon: Daemon;

  private constructor(program: Program, daemon: Daemon, token: string) {
    this.dir = program.dir;
    this.program = program;
    this.token = token;
    this.#daemon = daemon;
  }

  static async start(): Promise<Site> {
    const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-suggest-" }));
    await Deno.writeTextFile(`${dir}/upstream.pem`, (await upstreamAuthority()).caPem);
    const program = new Program(dir);
    const daemon = await program.up(upFlags("audit"));
    return new Site(program, daemon, await program.ok(["client", "create", "ci-1"]));
  }

  async restart(mode: "audit" | "strict"): Promise<void> {
    await this.#daemon.end();
    this.#daemon = await this.program.up(upFlags(mode));
  }

  /** `suggest ci-1 --apply`, which has to add `count` rules. */
  async apply(count: number, ...flags: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.program.run(["suggest", "ci-1", "--apply", ...flags]);
    assertEquals(code, 0, stderr);
    assertStringIncludes(stderr, `added ${count} rule`);
    return stdout;
  }

  /** Runs a client of the network with the proxy as its only way out. */
  async client(name: string, args: readonly string[], cwd = this.dir): Promise<Outcome> {
    const proxy = `http://proxy:${this.token}@127.0.0.1:${this.#daemon.httpPort}`;
    const ca = `${this.dir}/.slicer/ca/sbox/ca.crt`;
    return await runProgram(name, args, {
      cwd,
      ms: 60_000,
      env: {
        HOME: this.dir,
        HTTPS_PROXY: proxy,
        https_proxy: proxy,
        NODE_EXTRA_CA_CERTS: ca,
        npm_config_cafile: ca,
        GIT_SSL_CAINFO: ca,
        GIT_CONFIG_NOSYSTEM: "1",
        GIT_TERMINAL_PROMPT: "0",
        npm_config_update_notifier: "false",
        npm_config_fund: "false",
        npm_config_audit: "true", // npx hands its own settings on to what it runs, and they may say otherwise
        npm_config_fetch_retries: "0",
      },
    });
  }

  async status(url: string): Promise<string> {
    const args = [
      "-s",
      "-o",
      "/dev/null",
      "-w",
      "%{http_code}",
      "--cacert",
      `${this.dir}/.slicer/ca/sbox/ca.crt`,
    ];
    return (await this.client("curl", [...args, url])).stdout;
  }

  /** `npm install` in a new folder with an empty cache, so that nothing is there from the time before. */
  async npmInstall(
    registry: string,
    ...names: readonly string[]
  ): Promise<Outcome & { readonly folder: string }> {
    const folder = await Deno.makeTempDir({ dir: this.dir });
    await Deno.writeTextFile(`${folder}/package.json`, '{"name":"app","version":"1.0.0"}');
    const args = ["install", ...names, "--registry", registry, "--cache", `${folder}/.cache`];
    return { ...await this.client("npm", args, folder), folder };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon.end("SIGKILL");
    await Deno.remove(this.dir, { recursive: true });
  }
}

function upFlags(mode: "audit" | "strict"): readonly string[] {
  return ["--mode", mode, "--allow-cidr", "127.0.0.0/8,::1/128", "--upstream-ca", "upstream.pem"];
}

Deno.test(
  { ignore: !hasNpm, name: "npm install of one package: one pass of audit mode is enough" },
  async () => {
    await using registry = await startNpmRegistry([{ name: "left" }, { name: "right" }]);
    await using site = await Site.start();
    assertMatch((await site.npmInstall(registry.url, "left")).stderr, /E403/);
    assertEquals(registry.seen, []);
    const shown = await site.apply(1);
    assertEquals(shown.split("\n").slice(0, 3), [
      `slicer-proxy allow ci-1 --host localhost --port ${registry.port} --method GET --path /npm/left ` +
      "--path '/npm/left/-/*'",
      "#   GET /npm/left, once",
      "#   GET '/npm/left/-/*', implied by npm",
    ]);
    await site.restart("strict");
    const { code, stderr, folder } = await site.npmInstall(registry.url, "left");
    assertEquals(code, 0, stderr);
    assertEquals(
      await Deno.readTextFile(`${folder}/node_modules/left/index.js`),
      'module.exports = "left";\n',
    );
    // Everything else is denied: another package, another method, another host.
    assertMatch((await site.npmInstall(registry.url, "right")).stderr, /E403/);
    assertEquals(await site.status(registry.url), "403");
    assertEquals(await site.status("https://example.com/"), "000"); // CONNECT was refused
    assertEquals(new Set(registry.seen), new Set(["GET /npm/left", "GET /npm/left/-/left-1.0.0.tgz"]));
  },
);

Deno.test(
  { ignore: !hasNpm, name: "npm install with dependencies: passes until nothing new is denied" },
  async () => {
    await using registry = await startNpmRegistry([
      { name: "app-kit", needs: ["@acme/core", "left"] },
      { name: "@acme/core", needs: ["deep"] },
      { name: "left" },
      { name: "deep" },
    ]);
    await using site = await Site.start();
    let passes = 0;
    while ((await site.npmInstall(registry.url, "app-kit")).code !== 0) {
      assert(++passes < 8, "does not converge");
      const { code, stderr } = await site.program.run(["suggest", "ci-1", "--apply", "--ttl", "1h"]);
      assertEquals(code, 0, stderr);
      assertMatch(stderr, /added 1 rule to ci-1\. Run what was denied once more/);
      assertMatch(stderr, /one more pass is expected for npm at localhost for each level/); // it is none that is known
    }
    // Each pass sees one level further down: app-kit, its two dependencies, deep.
    assertEquals(passes, 3);
    await site.apply(1); // the audit call that npm makes last: a POST, which no rule for GET covers
    await site.restart("strict");
    const { code, stderr, stdout } = await site.npmInstall(registry.url, "app-kit");
    assertEquals(code, 0, stderr);
    assertMatch(stdout, /added 4 packages, and audited/);
    const rules: Record<string, unknown>[] = JSON.parse(await site.program.ok(["rules", "ci-1", "--json"]));
    assertEquals(
      new Set(rules.map(({ methods }) => JSON.stringify(methods))),
      new Set(['["GET"]', '["POST"]']),
    );
    assert(rules.filter(({ expires }) => expires !== undefined).length === 3);
    assertEquals(await site.program.ok(["suggest", "ci-1"]), "");
  },
);

Deno.test(
  { ignore: !hasNpm, name: "npm install of a scope's packages under one rule: /npm/@acme/*" },
  async () => {
    await using registry = await startNpmRegistry([{ name: "@acme/core" }, { name: "@other/core" }]);
    await using site = await Site.start();
    const { port } = registry;
    await site.program.ok(
      ["allow", "ci-1", "--host", "localhost", "--port", `${port}`, "--method", "GET,POST"].concat(
        ...["/npm/@acme/*", "/npm/-/*"].map((path) => ["--path", path]),
      ),
    );
    await site.restart("strict");
    const { code, stderr } = await site.npmInstall(registry.url, "@acme/core");
    assertEquals(code, 0, stderr);
    assertMatch((await site.npmInstall(registry.url, "@other/core")).stderr, /E403/);
    assertEquals(
      new Set(registry.seen.filter((line) => line.startsWith("GET"))),
      new Set(["GET /npm/@acme%2fcore", "GET /npm/@acme/core/-/core-1.0.0.tgz"]),
    );
  },
);

Deno.test({ ignore: !hasGit, name: "git clone: one pass of audit mode is enough" }, async () => {
  await using site = await Site.start();
  await using server = await startGitServer(["acme/widgets.git", "acme/other.git"]);
  const clone = (repository: string, into: string) =>
    site.client("git", ["clone", "-q", `${server.url}${repository}`, into]);
  assertMatch((await clone("acme/widgets.git", "first")).stderr, /403/);
  const shown = await site.apply(1);
  assertEquals(shown.split("\n"), [
    `slicer-proxy allow ci-1 --host localhost --port ${server.port} --git read --repo acme/widgets`,
    "#   GET /acme/widgets.git/info/refs, once",
    "#   POST /acme/widgets/git-upload-pack, implied by git",
    "",
  ]);
  await site.restart("strict");
  const { code, stderr } = await clone("acme/widgets.git", "second");
  assertEquals(code, 0, stderr);
  assertEquals(await Deno.readTextFile(`${site.dir}/second/README`), "of acme/widgets.git\n");
  assertMatch((await clone("acme/other.git", "third")).stderr, /403/);
  // Reading was learned, writing was not.
  const push = await site.client(
    "git",
    ["push", "-q", "origin", "HEAD:refs/heads/new"],
    `${site.dir}/second`,
  );
  assert(push.code !== 0, push.stderr);

  // The log of this run, tested against the policy that was learned, and against one with less in it.
  const log = ".slicer/proxy/audit.jsonl";
  const yaml = (paths: string) =>
    `version: 1\nclients:\n  ci-1:\n    allow:\n      - { host: localhost, ports: [${server.port}], paths: [${paths}] }\n`;
  await Deno.writeTextFile(`${site.dir}/same.yaml`, yaml("/acme/widgets.git/*"));
  await Deno.writeTextFile(`${site.dir}/less.yaml`, yaml("/acme/widgets.git/info/*"));
  for (const against of [["--against", log], []]) {
    const same = await site.program.run(["test", "-f", "same.yaml", ...against]);
    assertEquals([same.code, same.stderr.includes("now denied")], [0, false], same.stderr);
    const less = await site.program.run(["test", "-f", "less.yaml", ...against]);
    assertEquals(less.code, 1, less.stderr);
    assertMatch(
      less.stdout,
      /^now denied +ci-1 +POST +localhost:\d+\/acme\/widgets\.git\/git-upload-pack +no-rule +2$/m,
    );
  }
});
