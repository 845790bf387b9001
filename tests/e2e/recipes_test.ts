/**
 * The commands of docs/RECIPES.md, as typed, in a host and a VM of their own, against stand-ins that take only the real
 * credential. Tools that are not on the PATH are replaced by the calls that they make.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { CLAUDE_LOGIN, CODEX_ACCOUNT, REAL } from "../support/outside_world.ts";
import { makeRepository } from "../support/git_server.ts";
import { hasProgram } from "../support/programs.ts";
import { RecipeLab, whyNoLab } from "../support/recipe_lab.ts";

const DOCUMENT = new URL("../../docs/RECIPES.md", import.meta.url);
const ANSWER = "hello from the stand-in";

/**
 * Not the others, even where they are here: there is no Docker daemon, and before their first message Codex and Copilot want
 * answers about the account that only their providers can give.
 */
const RUN_FOR_REAL: readonly string[] = ["claude", "opencode", "gh"];

/** The calls of each tool, in its order, with its headers. */
const CALLS: Readonly<Record<string, string>> = {
  // What dockerd asks for: the realm without a login, the manifest, its blobs, each redirected to the CDN.
  docker: `repository=\${2%:*} registry=https://registry-1.docker.io/v2
    realm=$(curl -s -i $registry/ | tr -d '\\r' | sed -n 's/^www-authenticate: Bearer realm="\\([^"]*\\)",service="\\([^"]*\\)"$/\\1?service=\\2/Ip')
    token=$(curl -sSf "$realm&scope=repository:$repository:pull" | sed 's/.*"token":"\\([^"]*\\)".*/\\1/')
    get() { curl -sSf -H "Authorization: Bearer $token" "$@"; }
    get -I $registry/$repository/manifests/\${2#*:} > /dev/null
    for digest in $(get $registry/$repository/manifests/\${2#*:} | grep -o 'sha256:[0-9a-f]*'); do
      get -L $registry/$repository/blobs/$digest | sha256sum | sed "s/^/sha256:/; s/ .*//" | grep -x $digest
    done`,
  claude: `if [ -n "\${ANTHROPIC_API_KEY:-}" ]; then credential="x-api-key: $ANTHROPIC_API_KEY"
    else credential="Authorization: Bearer $(sed -n 's/.*"accessToken":"\\([^"]*\\)".*/\\1/p' ~/.claude/.credentials.json)"; fi
    curl -sSf "https://api.anthropic.com/v1/messages?beta=true" -H "$credential" -H 'anthropic-version: 2023-06-01' \\
      -H 'content-type: application/json' -d '{"model":"m","max_tokens":9,"messages":[]}'`,
  codex: `if [ -n "\${CODEX_API_KEY:-}" ]; then url=https://api.openai.com/v1 token=$CODEX_API_KEY
    else url=https://chatgpt.com/backend-api/codex token=$(sed -n 's/.*"access_token":"\\([^"]*\\)".*/\\1/p' ~/.codex/auth.json); fi
    curl -sSf $url/responses -H "Authorization: Bearer $token" -H 'content-type: application/json' -d '{"model":"m"}'`,
  copilot: `token="Authorization: Bearer $COPILOT_GITHUB_TOKEN"
    api=$(curl -sSf https://api.github.com/copilot_internal/user -H "$token" | sed 's/.*"api":"\\([^"]*\\)".*/\\1/')
    curl -sSf $api/chat/completions -H "$token" -H 'content-type: application/json' -d '{"messages":[]}'`,
  opencode: `curl -sSf https://api.anthropic.com/v1/messages -H "x-api-key: $ANTHROPIC_API_KEY" \\
      -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' -d '{"model":"m","stream":true}'`,
  gh: `curl -sSf https://api.github.com/$2 -H "Authorization: token $GH_TOKEN" | grep -o 'acme/widgets'`,
};

/** The blocks below each heading, in order. */
function blocksOf(text: string): Map<string, { readonly place: string; readonly script: string }[]> {
  const sections = new Map<string, { readonly place: string; readonly script: string }[]>();
  for (const section of text.split(/^##? (?!on the host|in the VM)/m).slice(1)) {
    const blocks = [...section.matchAll(/^```sh\n# (on the host|in the VM)\n([^]*?)^```/gm)];
    sections.set(
      section.slice(0, section.indexOf("\n")),
      blocks.map(([, place = "", script = ""]) => ({ place, script })),
    );
  }
  return sections;
}

/** What lies on the host before: a repository outside, the two logins, and the tools that are missing. */
async function prepare(dir: string): Promise<void> {
  await Deno.mkdir(`${dir}/out/git/acme`, { recursive: true });
  await makeRepository(`${dir}/out/git`, "acme/widgets.git");
  const claims = btoa(JSON.stringify({ exp: Math.floor(Date.now() / 1_000) + 86_400 })).replaceAll("=", "");
  const jwt = `${btoa('{"alg":"none"}').replaceAll("=", "")}.${claims}.real-signature`;
  const files: Record<string, unknown> = {
    ".claude/.credentials.json": {
      claudeAiOauth: {
        accessToken: CLAUDE_LOGIN,
        refreshToken: "sk-ant-ort01-real-of-the-host",
        expiresAt: Date.now() + 86_400_000,
        scopes: ["user:inference"],
      },
    },
    ".codex/auth.json": {
      tokens: { id_token: jwt, access_token: jwt, refresh_token: "rt_real", account_id: CODEX_ACCOUNT },
      last_refresh: new Date().toISOString(),
    },
  };
  for (const [name, value] of Object.entries(files)) {
    await Deno.mkdir(`${dir}/host/${name}`.replace(/\/[^/]*$/, ""));
    await Deno.writeTextFile(`${dir}/host/${name}`, JSON.stringify(value), { mode: 0o600 });
  }
  for (const [name, calls] of Object.entries(CALLS)) {
    if (RUN_FOR_REAL.includes(name) && hasProgram(name)) continue;
    await Deno.writeTextFile(`${dir}/tools/${name}`, `#!/bin/bash\nset -euo pipefail\n${calls}\n`, {
      mode: 0o755,
    });
  }
}

const reason = await whyNoLab();
if (reason !== undefined) {
  Deno.stderr.writeSync(new TextEncoder().encode(`skipping the recipes: ${reason}\n`));
}

Deno.test({
  ignore: reason !== undefined,
  name:
    "the commands of docs/RECIPES.md work as typed, each with the real credential outside and none in the VM",
}, async (t) => {
  const sections = blocksOf(await Deno.readTextFile(DOCUMENT));
  await using lab = await RecipeLab.start(prepare);
  const ok = async (place: string, script: string, client = "vm-1") => {
    const run = place === "on the host" ? lab.host(script) : lab.vm(script, client);
    const { code, stdout, stderr } = await run;
    const seen = code === 0 ? [] : await lab.takeSeen();
    assertEquals(code, 0, [place, script, stdout, stderr, ...seen].join("\n"));
    return stdout;
  };
  /** Runs a section and gives what its commands in the VM said, and what reached the outside. */
  const run = async (heading: string) => {
    const blocks = sections.get(heading) ?? [];
    assert(blocks.length > 0, `${heading} has no commands`);
    await lab.takeSeen();
    let said = "";
    for (const { place, script } of blocks) {
      const text = await ok(place, script);
      if (place === "in the VM") said += text;
    }
    return { said, seen: await lab.takeSeen() };
  };

  await run("Recipes");

  await t.step("git: clone and push; a reader cannot push", async () => {
    const { seen } = await run("git with a personal access token");
    assert(seen.every((line) => line.endsWith(" 200")), seen.join("\n"));
    assertStringIncludes(seen.join("\n"), "POST github.com/acme/widgets.git/git-receive-pack 200");
    await ok("in the VM", "git clone -q https://github.com/acme/widgets.git read", "reader");
    assertEquals(await ok("in the VM", "cat read/README"), "of acme/widgets.git\nfrom the VM\n");
    const push = await lab.vm(
      "cd read && git -c user.name=r -c user.email=r@r.test commit -q --allow-empty -m x && git push -q",
      "reader",
    );
    assert(push.code !== 0, "a reader has pushed");
    assertEquals((await lab.takeSeen()).filter((line) => line.includes("receive-pack ")), []);
  });

  await t.step("docker: the realm gets the login, the CDN none", async () => {
    const { seen } = await run("docker pull with a registry's login");
    assertEquals(seen.filter((line) => / (auth|production)\./.test(line)).map((line) => line.slice(-3)), [
      "200",
      "200",
      "200",
    ]);
    const other = await lab.vm("docker pull acme/other:1", "vm-1");
    assert(other.code !== 0, "another repository was pulled");
  });

  await t.step("Claude Code: a key, and a login", async () => {
    const { said, seen } = await run("Claude Code");
    assertStringIncludes(said, ANSWER);
    assertStringIncludes(seen.join("\n"), "POST api.anthropic.com/v1/messages 200");
    const text = await ok("in the VM", "claude -p 'say hello'", "vm-2");
    assertStringIncludes(text, ANSWER);
  });

  await t.step("Codex: a login, and a key", async () => {
    const { said, seen } = await run("Codex");
    assertStringIncludes(said, ANSWER);
    assertStringIncludes(seen.join("\n"), "POST chatgpt.com/backend-api/codex/responses 200");
    const text = await ok("in the VM", "codex exec --skip-git-repo-check 'say hello'", "vm-3");
    assertStringIncludes(text, ANSWER);
    assertStringIncludes((await lab.takeSeen()).join("\n"), "POST api.openai.com/v1/responses 200");
  });

  await t.step("Copilot CLI: GitHub tells the host, which gets the token too", async () => {
    const { said, seen } = await run("Copilot CLI");
    assertStringIncludes(said, ANSWER);
    assertStringIncludes(seen.join("\n"), "GET api.github.com/copilot_internal/user 200");
    assertMatch(seen.join("\n"), /^POST api\.individual\.githubcopilot\.com\/\S+ 200$/m);
  });

  await t.step("opencode: the key of Claude Code's recipe", async () => {
    const { said, seen } = await run("opencode");
    assertStringIncludes(said, ANSWER);
    assertStringIncludes(seen.join("\n"), "POST api.anthropic.com/v1/messages 200");
  });

  await t.step("gh: reads what the rule allows", async () => {
    const { said, seen } = await run("gh");
    assertEquals(said, "acme/widgets\n");
    assertEquals(seen, ["GET api.github.com/repos/acme/widgets 200"]);
  });

  await t.step("forks: a token each; one ends without the other", async () => {
    const [make, rotate, end] = sections.get("Forks of one snapshot") ?? [];
    const ask =
      "curl -s -o answer -w '%{http_connect} %{http_code}' https://api.anthropic.com/v1/messages -d '{}'";
    const status = async (client: string) =>
      (await lab.vm(`${ask} || true; rm -f answer`, client)).stdout.trim();
    await ok("on the host", make?.script ?? "");
    assertEquals([await status("fork-1"), await status("fork-2")], ["200 200", "200 200"]);
    await ok("on the host", `cp fork-2.env old.env\n${rotate?.script ?? ""}`);
    assertEquals([await status("old"), await status("fork-2")], ["407 000", "200 200"]);
    await ok("on the host", end?.script ?? "");
    assertEquals([await status("fork-1"), await status("fork-2")], ["407 000", "200 200"]);
  });

  await t.step("no credential of the host is in the VM, or in the proxy's log", async () => {
    const found = await lab.host("cat .slicer/proxy/audit.log; grep -rh . ../vm || true");
    for (const secret of [...Object.values(REAL), CLAUDE_LOGIN].filter((value) => value.length > 8)) {
      assert(!found.stdout.includes(secret), secret.slice(0, 8));
    }
  });
});
