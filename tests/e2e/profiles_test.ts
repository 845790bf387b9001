/**
 * Profiles with the programs that they are for, as typed, in a host and a VM of their own: each does its work under the rules
 * of its profile alone, and what changes something does not reach the outside.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { makeRepository } from "../support/git_server.ts";
import { hasProgram } from "../support/programs.ts";
import { RecipeLab, whyNoLab } from "../support/recipe_lab.ts";
import { makeRegistries } from "../support/registry_files.ts";

/** A program at work. */
interface Run {
  readonly profile: string;
  readonly needs: readonly string[];
  /** In the VM, in an empty folder: it has to end well. */
  readonly works: string;
  /** The same: it has to end badly, for what the proxy then says that it denied. */
  readonly fails: string;
  readonly denied: string;
  /** With the file of variables for programs that speak no TLS to a proxy. */
  readonly isPlain?: true;
  /** What has to reach the outside. */
  readonly asks: readonly string[];
}

const rustup = Deno.env.get("RUSTUP_HOME") ?? `${Deno.env.get("HOME")}/.rustup`;
const APT = "apt-get -qq -o APT::Sandbox::User=root -o Dir::State=$PWD/state -o Dir::Cache=$PWD/cache " +
  "-o Dir::State::status=$PWD/status -o Dir::Etc::sourcelist=$PWD/sources.list -o Dir::Etc::sourceparts=/dev/null " +
  "-o Acquire::Languages=none -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false";

const RUNS: readonly Run[] = [
  {
    profile: "npm",
    needs: ["npm"],
    works: `export npm_config_update_notifier=false npm_config_fund=false
      echo '{"name":"app","version":"1.0.0"}' > package.json
      npm install demo
      node -e 'if (require("demo") !== "demo") process.exit(1)'`,
    fails: `npm_config_fetch_retries=0 npm publish --//registry.npmjs.org/:_authToken=any`,
    denied: "PUT https registry.npmjs.org /app",
    asks: ["GET registry.npmjs.org/demo 200", "GET registry.npmjs.org/demo/-/demo-1.0.0.tgz 200"],
  },
  {
    profile: "pip",
    needs: ["python3"],
    works: `python3 -m pip install --disable-pip-version-check --no-cache-dir --target lib demo
      PYTHONPATH=lib python3 -c 'import demo; assert demo.NAME == "demo"'`,
    fails: `curl -sSf https://pypi.org/simple/demo/ -d x || curl -sSf https://upload.pypi.org/legacy/ -d x`,
    denied: "CONNECT - upload.pypi.org -",
    asks: [
      "GET pypi.org/simple/demo/ 200",
      "GET files.pythonhosted.org/packages/aa/bb/demo-1.0.0-py3-none-any.whl 200",
    ],
  },
  {
    profile: "cargo",
    needs: ["cargo"],
    works: `export RUSTUP_HOME=${rustup} CARGO_HOME=$PWD/cargo
      mkdir -p app/src && touch app/src/lib.rs && cd app
      printf '[package]\\nname = "app"\\nversion = "1.0.0"\\nedition = "2021"\\n[dependencies]\\ndemo = "1"\\n' > Cargo.toml
      cargo fetch`,
    fails: `export RUSTUP_HOME=${rustup} CARGO_HOME=$PWD/cargo
      cd app && sed -i '/demo/d' Cargo.toml && cargo publish --no-verify --allow-dirty --token any`,
    denied: "CONNECT - crates.io -",
    asks: ["GET index.crates.io/de/mo/demo 200", "GET static.crates.io/crates/demo/1.0.0/download 200"],
  },
  {
    profile: "go",
    needs: ["go"],
    // A stand-in cannot sign for the checksum database: its paths are in the table of tests/unit/policy/profile_test.ts.
    works: `export GOPATH=$PWD/go GOCACHE=$PWD/cache GOSUMDB=off GOFLAGS=-modcacherw
      go mod download -json demo.test/mod@v1.0.0`,
    fails: `curl -sSf -X PUT https://proxy.golang.org/demo.test/mod/@v/v1.0.1.zip -d x`,
    denied: "PUT https proxy.golang.org /demo.test/mod/@v/v1.0.1.zip",
    asks: [
      "GET proxy.golang.org/demo.test/mod/@v/v1.0.0.info 200",
      "GET proxy.golang.org/demo.test/mod/@v/v1.0.0.zip 200",
    ],
  },
  {
    profile: "apt",
    needs: ["apt-get", "dpkg-deb"],
    isPlain: true,
    works: `mkdir -p state/lists/partial cache/archives/partial && touch status
      echo 'deb [trusted=yes] http://deb.debian.org/debian stable main' > sources.list
      ${APT} update
      ${APT} download demo
      dpkg-deb --info demo_1.0.0_all.deb`,
    fails: `curl -sSf http://deb.debian.org/debian/pool/main/d/demo/x.deb -d x`,
    denied: "POST http deb.debian.org /debian/pool/main/d/demo/x.deb",
    asks: [
      "GET deb.debian.org/debian/dists/stable/Release 200",
      "GET deb.debian.org/debian/pool/main/d/demo/demo_1.0.0_all.deb 200",
    ],
  },
];

async function prepare(dir: string): Promise<void> {
  await makeRegistries(`${dir}/out/registries`);
  await Deno.mkdir(`${dir}/out/git/acme`, { recursive: true });
  await makeRepository(`${dir}/out/git`, "acme/widgets.git");
}

const missing = ["dpkg-deb", "python3", "tar"].find((name) => !hasProgram(name));
const reason = await whyNoLab() ?? (missing && `${missing} is not installed`);
if (reason !== undefined) {
  Deno.stderr.writeSync(new TextEncoder().encode(`skipping the profiles: ${reason}\n`));
}

Deno.test({
  ignore: reason !== undefined,
  name: "each profile is all that its program needs, and lets it change nothing",
}, async (t) => {
  await using lab = await RecipeLab.start(prepare);
  const host = async (script: string) => {
    const { code, stdout, stderr } = await lab.host(script);
    assertEquals(code, 0, stderr);
    return stdout + stderr;
  };
  /** A client under one profile alone. */
  /** What the log says that a client was denied, as `METHOD scheme host path`. */
  const denied = async (client: string) => {
    const records = (await host(`slicer-proxy logs --denied --client ${client} --json`)).trim().split("\n")
      .map((line) => JSON.parse(line));
    return records.map(({ method, scheme, host, path }) =>
      [method, scheme, host, path].map((each) => each ?? "-").join(" ")
    ).join("\n");
  };
  const begin = async (profile: string, flags = "") => {
    const said = await host(`umask 077
      slicer-proxy client create ${profile} > ${profile}.token
      slicer-proxy allow ${profile} --profile ${profile} ${flags}
      slicer-proxy env ${profile} --token-file ${profile}.token > ${profile}.env
      slicer-proxy env ${profile} --token-file ${profile}.token --plain > ${profile}-plain.env`);
    assertMatch(said, new RegExp(`^added \\d rules of ${profile}@1 to ${profile}$`, "m"));
    await lab.takeSeen();
  };

  for (const { profile, needs, works, fails, isPlain, asks, ...run } of RUNS) {
    if (!needs.every((name) => hasProgram(name))) continue;
    await t.step(profile, async () => {
      await begin(profile);
      const client = isPlain ? `${profile}-plain` : profile;
      const folder = `mkdir -p at-${profile} && cd at-${profile}`;
      const done = await lab.vm(`${folder}\n${works}`, client);
      const seen = await lab.takeSeen();
      assertEquals(done.code, 0, [done.stdout, done.stderr, ...seen].join("\n"));
      for (const line of asks) assertStringIncludes(seen.join("\n"), line);
      const refused = await lab.vm(`${folder}\n${fails}`, client);
      assert(refused.code !== 0, refused.stdout);
      assertStringIncludes(await denied(profile), run.denied);
      const changed = [...seen, ...await lab.takeSeen()].filter((line) => !/^(?:GET|HEAD) /.test(line));
      assertEquals(changed, []);
    });
  }

  await t.step("github-read: a clone, and no push", async () => {
    await host(`printf 'x-access-token:%s' "$GITHUB_PAT" > git.txt
      slicer-proxy secret create github-git --host github.com --type basic --value-file git.txt`);
    await begin("github-read", "--secret github-git");
    const clone = await lab.vm(
      "git clone -q https://github.com/acme/widgets.git clone && cat clone/README",
      "github-read",
    );
    assertEquals([clone.code, clone.stdout], [0, "of acme/widgets.git\n"], clone.stderr);
    const seen = await lab.takeSeen();
    assertStringIncludes(seen.join("\n"), "POST github.com/acme/widgets.git/git-upload-pack 200");
    const push = await lab.vm(
      "cd clone && git -c user.name=r -c user.email=r@r.test commit -q --allow-empty -m x && git push -q",
      "github-read",
    );
    assert(push.code !== 0, "a reader has pushed");
    assertEquals(await lab.takeSeen(), []);
    assertEquals(await denied("github-read"), "GET https github.com /acme/widgets.git/info/refs");
  });

  await t.step("docker-hub: a pull, and no push", async () => {
    if (!hasProgram("skopeo")) return;
    await host(`printf '%s:%s' "$DOCKER_USER" "$DOCKER_PAT" > docker.txt
      slicer-proxy secret create docker-hub --host auth.docker.io --type basic --value-file docker.txt`);
    await begin("docker-hub", "--secret docker-hub");
    const skopeo = "skopeo --insecure-policy copy -q";
    const pull = await lab.vm(`${skopeo} docker://acme/app:1 dir:image && ls image`, "docker-hub");
    const seen = await lab.takeSeen();
    assertEquals(pull.code, 0, pull.stderr + seen.join("\n"));
    assertMatch(seen.join("\n"), /^GET production\.cloudflare\.docker\.com\/\S+ 200$/m);
    // Skopeo would ask the realm for more first, which the stand-in refuses.
    const upload = "curl -sSf https://registry-1.docker.io/v2/acme/app/blobs/uploads/ -d x";
    const push = await lab.vm(upload, "docker-hub");
    assert(push.code !== 0, "an image was pushed");
    assertStringIncludes(
      await denied("docker-hub"),
      "POST https registry-1.docker.io /v2/acme/app/blobs/uploads/",
    );
    assertEquals((await lab.takeSeen()).filter((line) => !/^(?:GET|HEAD) /.test(line)), []);
  });

  await t.step("claude-code: its calls with the key, and no other", async () => {
    await host(`printf 'x-api-key: %s' "$ANTHROPIC_API_KEY" > anthropic.txt
      slicer-proxy secret create anthropic --host api.anthropic.com --type header --value-file anthropic.txt`);
    await begin("claude-code", "--secret anthropic");
    const ask = (path: string) =>
      lab.vm(
        `curl -sSf "https://api.anthropic.com${path}" -H "x-api-key: $ANTHROPIC_API_KEY" -d '{}'`,
        "claude-code",
      );
    const { code, stdout, stderr } = await ask("/v1/messages?beta=true");
    assertEquals(code, 0, stderr);
    assertStringIncludes(stdout, "hello from the stand-in");
    assert((await ask("/v1/files")).code !== 0, "a file was kept at the provider");
    assertEquals(await lab.takeSeen(), ["POST api.anthropic.com/v1/messages 200"]);
    assertEquals(await denied("claude-code"), "POST https api.anthropic.com /v1/files");
  });
});
