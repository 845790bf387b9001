import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { decideRequest } from "../../../policy/decide.ts";
import {
  allProfiles,
  expandProfile,
  findPinnedProfile,
  findProfile,
  PROFILES,
} from "../../../policy/profile.ts";
import { isLimited, type RuleSpec } from "../../../policy/rule.ts";

function refusal(call: () => unknown): string {
  const error = assertThrows(call, ProxyError);
  assertEquals(error.code, "input.invalid");
  return `${error.message} | ${error.hint}`;
}

/** What released versions say. A row here never changes: policies pin it. Another rule is another version. */
const RELEASED: Readonly<Record<string, string>> = {
  "apt@1": "f2d68e7c9dd34c9c",
  "cargo@1": "daf370d0bbf0d6e1",
  "claude-code@1": "9aafc5f3243916f5",
  "codex@1": "e634b562269c07b1",
  "docker-hub@1": "1c0fdec76e40fbed",
  "github-read@1": "2723c612aa41679c",
  "go@1": "d26676210e75d13b",
  "npm@1": "272822d6a5a0bfbd",
  "pip@1": "ba30b9297e696f08",
};

Deno.test("a released version of a profile names the public pages that it was made from", () => {
  const pages: Readonly<Record<string, number>> = {
    ...{ "apt@1": 3, "cargo@1": 2, "claude-code@1": 4, "codex@1": 3, "docker-hub@1": 3 },
    ...{ "github-read@1": 4, "go@1": 3, "npm@1": 2, "pip@1": 2 },
  };
  const named = allProfiles().map(({ label, sources }) => [label, new Set(sources).size] as const);
  assertEquals(Object.fromEntries(named), pages);
  for (const { sources } of allProfiles()) {
    for (const page of sources) assertEquals(new URL(page).protocol, "https:");
  }
});

Deno.test("expandProfile() is content with one rule", () => {
  const one = { ...findProfile("pip"), rules: [{ host: "a.test" }] };
  assertEquals(expandProfile(one, []).map(({ host }) => host), ["a.test"]);
});

Deno.test("a released version of a profile has the rules that it had", async () => {
  const digests = await Promise.all(
    allProfiles().map(async ({ label, rules }) => {
      const bytes = new TextEncoder().encode(JSON.stringify(rules));
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
      return [label, digest.toHex().slice(0, 16)] as const;
    }),
  );
  assertEquals(Object.fromEntries(digests), RELEASED);
});

Deno.test("profiles are in order, sourced and narrow: exact hosts, and no rule for any request", () => {
  assertEquals(PROFILES.map(({ name }) => name), PROFILES.map(({ name }) => name).toSorted());
  for (const { label, sources, summary, rules } of allProfiles()) {
    assert(summary.length <= 100 && !summary.endsWith("."), label);
    assert(sources.length > 0, label);
    for (const source of sources) assertEquals(new URL(source).protocol, "https:", label);
    for (const { host, passthrough } of rules) {
      assertMatch(host, /^[a-z0-9-]+(?:\.[a-z0-9-]+)+$/, label);
      assertEquals(passthrough, undefined, label);
    }
    const secrets = [...new Set(rules.flatMap(({ host, secret }) => secret ? [host] : []))];
    const specs = expandProfile(findProfile(label), secrets.map((host) => ({ name: host, host })));
    for (const spec of specs) assert(isLimited(spec), `${label} ${spec.host}`);
  }
});

Deno.test("findProfile() takes a name or a pinned one, and names what is near", () => {
  assertEquals(findProfile("npm").label, "npm@1");
  assertEquals(findProfile("npm@1"), findProfile("npm"));
  assertEquals(
    refusal(() => findProfile("nmp")),
    'Cannot use "nmp" as a profile: there is no such | did you mean npm?',
  );
  assertEquals(
    refusal(() => findProfile("github-raed@1")),
    'Cannot use "github-raed@1" as a profile: there is no such | did you mean github-read?',
  );
  assertMatch(refusal(() => findProfile("zzzzzzzz")), /there are apt, cargo, .*, pip$/);
  assertEquals(
    refusal(() => findProfile("npm@2")),
    "Cannot use profile npm@2: there is no such version | there are npm@1",
  );
  for (
    const text of ["", "npm@", "npm@0", "npm@1.0", "npm@01", "NPM", "npm@1 ", "toString", "a".repeat(99)]
  ) {
    refusal(() => findProfile(text));
  }
  assertEquals(
    refusal(() => findPinnedProfile("npm")),
    "Cannot use profile npm without a version | write npm@1, so that it means the same rules after an update",
  );
  assertEquals(findPinnedProfile("npm@1").version, 1);
});

Deno.test("expandProfile() gives secrets to the rules for their hosts, and refuses what fits none", () => {
  const codex = findProfile("codex");
  const login = { name: "login", host: "chatgpt.com" };
  const key = { name: "key", host: "*.openai.com" };
  const hosts = (rules: readonly RuleSpec[]) => rules.map(({ host, secret }) => `${host} ${secret}`);
  assertEquals(new Set(hosts(expandProfile(codex, [login]))), new Set(["chatgpt.com login"]));
  assertEquals(new Set(hosts(expandProfile(codex, [key]))), new Set(["api.openai.com key"]));
  assertEquals(
    new Set(hosts(expandProfile(codex, [key, login]))),
    new Set(["chatgpt.com login", "api.openai.com key"]),
  );
  assertEquals(
    refusal(() => expandProfile(codex, [])),
    "Cannot use profile codex@1 without a secret | its rules take one for chatgpt.com or api.openai.com",
  );
  assertEquals(
    refusal(() => expandProfile(codex, [login, { name: "gh", host: "github.com" }])),
    "Cannot use profile codex@1 with secret gh: no rule of it takes one for github.com | " +
      "its rules take one for chatgpt.com or api.openai.com",
  );
  assertEquals(
    refusal(() => expandProfile(codex, [login, { name: "other", host: "chatgpt.com" }])),
    "Cannot use profile codex@1 with secrets login and other: both are for chatgpt.com | give one of them",
  );
  assertEquals(
    refusal(() => expandProfile(findProfile("go"), [key])),
    "Cannot use profile go@1 with secret key: no rule of it takes one for *.openai.com | its rules take none",
  );
  assertEquals(hosts(expandProfile(findProfile("npm"), [])), [
    "registry.npmjs.org undefined",
    "registry.npmjs.org undefined",
  ]);
});

/** `METHOD URL` by profile: `+` has to be allowed, `-` denied. The secret is one for each host that takes one. */
const REQUESTS: Readonly<Record<string, string>> = {
  apt: `
    + GET http://deb.debian.org/debian/dists/trixie/InRelease
    + GET http://deb.debian.org/debian/pool/main/c/curl/curl_8.14.1-2_amd64.deb
    + GET https://deb.debian.org/debian-security/dists/trixie-security/InRelease
    + GET http://archive.ubuntu.com/ubuntu/dists/noble/main/binary-amd64/by-hash/SHA256/00
    + GET http://ports.ubuntu.com/ubuntu-ports/dists/noble/InRelease
    - POST http://deb.debian.org/debian/dists/trixie/InRelease
    - GET http://deb.debian.org/debian/pool/../../elsewhere
    - GET http://deb.debian.org/other
    - GET http://mirror.debian.org/debian/dists/trixie/InRelease
    - GET http://archive.ubuntu.com:8080/ubuntu/dists/noble/InRelease`,
  cargo: `
    + GET https://index.crates.io/config.json
    + GET https://index.crates.io/se/rd/serde
    + GET https://static.crates.io/crates/serde/serde-1.0.0.crate
    - GET https://crates.io/api/v1/me
    - PUT https://crates.io/api/v1/crates/new
    - GET https://static.crates.io/readmes/serde
    - DELETE https://index.crates.io/se/rd/serde`,
  "claude-code": `
    + POST https://api.anthropic.com/v1/messages?beta=true
    + POST https://api.anthropic.com/v1/messages/count_tokens
    + GET https://api.anthropic.com/v1/models/claude
    + GET https://api.anthropic.com/api/oauth/profile
    + GET https://api.anthropic.com/api/claude_cli/bootstrap?entrypoint=cli
    - POST https://api.anthropic.com/v1/messages/batches
    - GET https://api.anthropic.com/v1/files
    - POST https://api.anthropic.com/v1/files
    - POST https://api.anthropic.com/v1/oauth/token
    - POST https://api.anthropic.com/api/event_logging/batch
    - POST https://api.anthropic.com/api/oauth/claude_cli/create_api_key
    - GET https://api.anthropic.com/v1/organizations/api_keys
    - POST https://api.anthropic.com/v1/messages%2f..%2ffiles
    - POST https://statsig.anthropic.com/v1/rgstr
    - GET https://claude.ai/`,
  codex: `
    + POST https://chatgpt.com/backend-api/codex/responses
    + GET https://chatgpt.com/backend-api/codex/models?client_version=1
    + GET https://chatgpt.com/backend-api/wham/usage
    + POST https://api.openai.com/v1/responses
    + GET https://api.openai.com/v1/models
    - POST https://chatgpt.com/backend-api/wham/tasks
    - GET https://chatgpt.com/backend-api/conversations
    - GET https://chatgpt.com/backend-api/codex/../conversations
    - DELETE https://chatgpt.com/backend-api/codex/responses
    - POST https://api.openai.com/v1/files
    - GET https://api.openai.com/v1/responses/resp_1
    - POST https://auth.openai.com/oauth/token`,
  "docker-hub": `
    + GET https://auth.docker.io/token?service=registry.docker.io&scope=repository:library/alpine:pull
    + GET https://registry-1.docker.io/v2/
    + HEAD https://registry-1.docker.io/v2/library/alpine/manifests/latest
    + GET https://registry-1.docker.io/v2/library/alpine/blobs/sha256:00
    + GET https://production.cloudflare.docker.com/registry-v2/docker/registry/v2/blobs/sha256/00/data?verify=1
    - POST https://registry-1.docker.io/v2/acme/app/blobs/uploads/
    - PUT https://registry-1.docker.io/v2/acme/app/manifests/latest
    - DELETE https://registry-1.docker.io/v2/acme/app/manifests/latest
    - POST https://auth.docker.io/token
    - GET https://hub.docker.com/v2/users/acme`,
  "github-read": `
    + GET https://github.com/acme/web.git/info/refs?service=git-upload-pack
    + POST https://github.com/acme/web.git/git-upload-pack
    + GET https://github.com/acme/web/archive/refs/heads/main.tar.gz
    + GET https://github.com/acme/web/releases/download/v1/web.tgz
    + GET https://codeload.github.com/acme/web/tar.gz/refs/heads/main
    + GET https://raw.githubusercontent.com/acme/web/main/README.md
    + GET https://release-assets.githubusercontent.com/github-production-release-asset/1/x?sig=y
    + GET https://api.github.com/repos/acme/web/pulls
    - GET https://github.com/acme/web.git/info/refs?service=git-receive-pack
    - GET https://github.com/acme/web.git/info/refs?service=git-upload-pack&service=git-receive-pack
    - POST https://github.com/acme/web.git/git-receive-pack
    - POST https://github.com/acme/web/releases/download/v1/web.tgz
    - GET https://github.com/acme/web/settings
    - GET https://github.com/acme/web/releases/download/../../settings
    - POST https://github.com/session
    - POST https://api.github.com/repos/acme/web/issues
    - PATCH https://api.github.com/repos/acme/web
    - POST https://api.github.com/graphql
    - GET https://api.github.com/user
    - GET https://gist.github.com/acme/1
    - POST https://uploads.github.com/repos/acme/web/releases/1/assets`,
  go: `
    + GET https://proxy.golang.org/golang.org/x/text/@v/list
    + GET https://proxy.golang.org/github.com/!acme/web/@v/v1.0.0.zip
    + GET https://proxy.golang.org/sumdb/sum.golang.org/supported
    + GET https://sum.golang.org/lookup/golang.org/x/text@v0.1.0
    + GET https://sum.golang.org/tile/8/0/000
    - POST https://proxy.golang.org/golang.org/x/text/@v/list
    - GET https://sum.golang.org/other
    - GET https://goproxy.io/golang.org/x/text/@v/list`,
  npm: `
    + GET https://registry.npmjs.org/left-pad
    + GET https://registry.npmjs.org/@types%2fnode
    + GET https://registry.npmjs.org/@types/node/-/node-1.0.0.tgz
    + GET https://registry.npmjs.org/left-pad/-/left-pad-1.3.0.tgz
    - PUT https://registry.npmjs.org/left-pad
    - DELETE https://registry.npmjs.org/left-pad/-rev/1
    - GET https://registry.npmjs.org/-/whoami
    - GET https://registry.npmjs.org/-/npm/v1/tokens
    - GET https://registry.npmjs.org/-%2fwhoami
    - GET https://registry.npmjs.org/left-pad/../-/whoami
    - GET https://registry.npmjs.org//-/whoami
    - POST https://registry.npmjs.org/-/npm/v1/security/advisories/bulk
    - GET https://www.npmjs.com/package/left-pad`,
  pip: `
    + GET https://pypi.org/simple/requests/
    + HEAD https://files.pythonhosted.org/packages/00/00/00/requests-1.0-py3-none-any.whl
    + GET https://files.pythonhosted.org/packages/00/00/00/requests-1.0-py3-none-any.whl.metadata
    - GET https://pypi.org/manage/account/
    - POST https://upload.pypi.org/legacy/
    - POST https://pypi.org/simple/requests/
    - POST https://pypi.org/pypi
    - GET https://pypi.org/simple/../manage/account/`,
};

Deno.test("each profile allows what its program asks for, and not what is near it", async (t) => {
  assertEquals(Object.keys(REQUESTS), PROFILES.map(({ name }) => name).toSorted());
  for (const profile of allProfiles()) {
    const hosts = [...new Set(profile.rules.flatMap(({ host, secret }) => secret ? [host] : []))];
    const specs = expandProfile(profile, hosts.map((host) => ({ name: host, host })));
    const rules = specs.map((spec, i) => ({ ...spec, id: `${i}`, client: "ci-1" }));
    for (const row of REQUESTS[profile.name]?.trim().split(/\n\s+/) ?? []) {
      await t.step(`${profile.label} ${row}`, () => {
        const [, sign, method = "", scheme, host = "", port, path = "", query] =
          /^([+-]) (\w+) (https?):\/\/([^/:]+)(?::(\d+))?(\/[^?]*)(?:\?(.*))?$/.exec(row) ?? [];
        const target = { host, port: Number(port ?? (scheme === "https" ? 443 : 80)), method, path, query };
        const decision = decideRequest(rules, target);
        assertEquals(decision.verdict, sign === "+" ? "allow" : "deny");
      });
    }
  }
});
