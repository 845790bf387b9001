import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { run } from "../../../../cli/run.ts";
import { TestApi } from "../../api/support.ts";
import { fakeIo } from "../terminal/fake_io.ts";

const NPM = "slicer-proxy deny ci-1 --host registry.npmjs.org --method GET --method HEAD --path '/-/*'\n" +
  "slicer-proxy allow ci-1 --host registry.npmjs.org --method GET --method HEAD --path '/*'\n";

/** Commands against a real API with the client `ci-1`. */
async function start() {
  const api = await TestApi.start();
  await api.control.createClient("ci-1");
  return {
    control: api.control,
    hosts: () => api.control.listRules("ci-1").map(({ host }) => host),
    run: async (args: readonly string[], typed?: string) => {
      const io = fakeIo(typed === undefined ? {} : { stdin: typed, isTerminal: true, pieceBytes: 1 });
      const code = await run([...args, "--url", api.socketPath], io);
      return { code, stdout: io.stdout(), stderr: io.stderr() };
    },
    [Symbol.asyncDispose]: () => api[Symbol.asyncDispose](),
  };
}

Deno.test("allow --profile shows the rules and adds them; on a terminal only after a yes", async (t) => {
  const rows: readonly (readonly [string, string | undefined, string[], boolean])[] = [
    ["no terminal", undefined, [], true],
    ["y", "y\n", [], true],
    ["YES", "YES\r\n", [], true],
    ["n", "n\n", [], false],
    ["Enter", "\n", [], false],
    ["yesterday", "yesterday\n", [], false],
    ["Ctrl-D", "", [], false],
    ["--yes", "", ["--yes"], true],
  ];
  for (const [name, typed, flags, isAdded] of rows) {
    await t.step(name, async () => {
      await using site = await start();
      const { code, stdout, stderr } = await site.run(["allow", "ci-1", "--profile", "npm", ...flags], typed);
      assertEquals([code, stdout], [isAdded ? 0 : 1, ""]);
      const question = typed === undefined || flags.length > 0 ? "" : "add 2 rules of npm@1 to ci-1? [y/N] ";
      assertEquals(
        stderr,
        `${NPM}${question}${isAdded ? "added 2 rules of npm@1 to ci-1" : "nothing was added"}\n`,
      );
      assertEquals(site.hosts().length, isAdded ? 2 : 0);
    });
  }
});

Deno.test("allow --profile --dry-run adds nothing and asks nothing", async () => {
  await using site = await start();
  const { code, stderr } = await site.run(
    ["allow", "ci-1", "--profile", "npm@1", "--ttl", "1h", "--dry-run"],
    "y\n",
  );
  assertEquals([code, stderr], [0, `${NPM}would add 2 rules of npm@1 to ci-1 for 1h\n`]);
  assertEquals(site.hosts(), []);
});

Deno.test("allow --profile: TTL, place and secrets are for all rules that take them", async () => {
  await using site = await start();
  for (const [name, host] of [["git", "github.com"], ["rest", "api.github.com"]] as const) {
    await site.control.putSecret({ name, host, type: "bearer", value: "v", cleartext: false }, {
      force: false,
    });
  }
  assertEquals((await site.run(["allow", "ci-1", "--host", "last.test"])).code, 0);
  const args = [
    "allow",
    "ci-1",
    "--profile",
    "github-read",
    "--secret",
    "git,rest",
    "--ttl",
    "2h",
    "--first",
  ];
  assertEquals((await site.run(args)).code, 0);
  const rules = site.control.listRules("ci-1");
  assertEquals(rules.map(({ host, secret = "-" }) => `${host} ${secret}`), [
    "github.com git",
    "github.com git",
    "codeload.github.com -",
    "raw.githubusercontent.com -",
    "media.githubusercontent.com -",
    "release-assets.githubusercontent.com -",
    "github-cloud.githubusercontent.com -",
    "api.github.com rest",
    "last.test -",
  ]);
  assertEquals(rules.map(({ expiresAt }) => expiresAt !== undefined), [...Array(8).fill(true), false]);
});

Deno.test("allow --profile: what cannot be is refused, and nothing is added", async (t) => {
  await using site = await start();
  await site.run(["allow", "ci-1", "--host", "other.test"]);
  await site.run([
    "allow",
    "ci-1",
    "--host",
    "files.pythonhosted.org",
    "--method",
    "HEAD,GET",
    "--path",
    "/packages/*",
  ]);
  const before = site.hosts();
  const rows: readonly (readonly [readonly string[], RegExp])[] = [
    [["--profile", "nmp"], /no such\nhint: did you mean npm\?/],
    [["--profile", "npm@7"], /npm@7: there is no such version\nhint: there are npm@1/],
    [["--profile", "pip"], /has this rule already, as rule 2 for files\.pythonhosted\.org/],
    [["--profile", "claude-code"], /without a secret\nhint: its rules take one for api\.anthropic\.com/],
    [["--profile", "npm", "--secret", "none"], /secret "none": unknown/],
    [["--profile", "npm", "--before", "9"], /before rule 9: the client has 2/],
    [["--profile", "npm", "--host", "a.test"], /cannot use --host with --profile/],
    [["--profile", "npm", "--deny"], /cannot use --deny with --profile/],
    [["--profile", "npm", "--query", "a=b"], /cannot use --query with --profile/],
    [["--host", "a.test", "--yes"], /cannot use --yes without --profile/],
    [["--host", "a.test", "--dry-run"], /cannot use --dry-run without --profile/],
    [["--host", "a.test", "--secret", "a", "--secret", "b"], /cannot use --secret more than once/],
    [[], /--host is missing\nhint: .*--profile PROFILE/],
  ];
  for (const [flags, message] of rows) {
    await t.step(flags.join(" "), async () => {
      const { code, stderr } = await site.run(["allow", "ci-1", ...flags]);
      assertMatch(stderr, message);
      assertEquals(code === 0, false);
      assertEquals(site.hosts(), before);
    });
  }
});

Deno.test("profiles list and profiles show say what there is", async () => {
  await using site = await start();
  const { stdout } = await site.run(["profiles", "list"]);
  assertMatch(stdout, /^PROFILE +RULES +SECRET FOR\n/);
  assertMatch(stdout, /^codex@1 +5 +chatgpt\.com, api\.openai\.com +Codex with/m);
  const shown = await site.run(["profiles", "show", "npm"]);
  assertEquals(shown.stdout.split("\n").slice(-9), [
    "- host: registry.npmjs.org",
    "  methods: [GET, HEAD]",
    "  paths: [/-/*]",
    "  deny: true",
    "# takes a secret for registry.npmjs.org",
    "- host: registry.npmjs.org",
    "  methods: [GET, HEAD]",
    "  paths: [/*]",
    "",
  ]);
  assertStringIncludes(shown.stdout, "# from https://docs.npmjs.com/");
  assertEquals((await site.run(["profiles", "show", "npm@1"])).stdout, shown.stdout);
  const json = JSON.parse((await site.run(["profiles", "show", "npm", "--json"])).stdout);
  assertEquals([json.profile, json.version, json.rules.length], ["npm@1", 1, 2]);
  assertMatch((await site.run(["profiles", "show", "carg"])).stderr, /did you mean cargo\?/);
  assertMatch((await site.run(["profiles", "show", "npm@3"])).stderr, /there is npm@1/);
});
