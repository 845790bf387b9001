/** GitHub Apps: what a value may be, which token a request needs, and what GitHub is asked for it. */
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { generateKeyPairSync } from "node:crypto";
import { ProxyError } from "../../../core/errors.ts";
import { githubForm, githubInjection, githubLogin } from "../../../secrets/github.ts";
import { GITHUB_APP, type GithubApp } from "../../../secrets/kind_github_app.ts";
import { RenewalFailure } from "../../../secrets/token_answer.ts";
import { type ScriptedAnswer, scriptedContext } from "./scripted_call.ts";

const NOW = Date.UTC(2026, 0, 2) + 999;
const PEM = generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey
  .export({ type: "pkcs8", format: "pem" }).toString();
const APP: GithubApp = { app_id: "12", private_key: PEM, api_endpoint: "https://api.github.com" };
const HINT =
  "give app_id, private_key_file (or private_key), and where needed installation_id and api_endpoint";

const parse = (value: unknown) =>
  GITHUB_APP.parse(typeof value === "string" ? value : JSON.stringify(value), NOW);

Deno.test("GitHub App: parse() takes each id within its bounds and nothing else", async (t) => {
  const key = { private_key: PEM };
  const rows: readonly (readonly [name: string, value: Record<string, unknown>, app: Partial<GithubApp>])[] =
    [
      ["app_id before client_id", { app_id: 1, client_id: "Iv2" }, { app_id: "1" }],
      ["client_id", { client_id: "Iv23._-x" }, { app_id: "Iv23._-x" }],
      ["100 letters", { app_id: "a".repeat(100) }, { app_id: "a".repeat(100) }],
      ["20 digits", { app_id: 1, installation_id: "1".repeat(20) }, { installation_id: "1".repeat(20) }],
      ["slashes at the end", { app_id: 1, api_endpoint: "https://ghe.test/api/v3//" }, {
        api_endpoint: "https://ghe.test/api/v3",
      }],
    ];
  for (const [name, value, app] of rows) {
    await t.step(name, () => {
      const parsed: Record<string, unknown> = { ...parse({ ...key, ...value }) };
      for (const [field, expected] of Object.entries(app)) assertEquals(parsed[field], expected);
    });
  }
  const bad: readonly (readonly [value: unknown, words: string])[] = [
    [{ ...key }, "it has no app_id"],
    [{ ...key, app_id: "a".repeat(101) }, "its app_id is no id"],
    [{ ...key, app_id: "a b" }, "its app_id is no id"],
    [{ ...key, app_id: true }, "its app_id is no number"],
    [{ ...key, app_id: 1, installation_id: "1".repeat(21) }, "its installation_id is no number"],
    [{ ...key, app_id: 1, installation_id: "7x" }, "its installation_id is no number"],
    ["null", "it is neither YAML nor JSON with fields"],
    ["12", "it is neither YAML nor JSON with fields"],
    ["[1]", "it is no JSON object"],
  ];
  for (const [value, words] of bad) {
    await t.step(words, () => {
      const error = assertThrows(() => parse(value), ProxyError);
      assertEquals([error.code, error.hint], ["input.invalid", HINT]);
      assertStringIncludes(error.message, `Cannot use this GitHub App value: ${words}`);
    });
  }
  assertEquals([GITHUB_APP.rotates, GITHUB_APP.stored(APP), GITHUB_APP.isRenewable(APP)], [
    false,
    undefined,
    true,
  ]);
});

Deno.test("GitHub App: resolveFiles() keeps every field of a value that names a key file", async () => {
  const dir = await Deno.realPath(await Deno.makeTempDir());
  try {
    await Deno.writeTextFile(`${dir}/key.pem`, PEM, { mode: 0o600 });
    const value = {
      client_id: "Iv2",
      installation_id: 7,
      api_endpoint: "https://ghe.test/",
      private_key_file: "key.pem",
    };
    const resolved = await GITHUB_APP.resolveFiles?.(JSON.stringify(value), dir);
    assertEquals(JSON.parse(resolved ?? ""), {
      client_id: "Iv2",
      installation_id: "7",
      api_endpoint: "https://ghe.test/",
      private_key_file: `${dir}/key.pem`,
      private_key_owner: Deno.uid(),
    });
    const byApp = await GITHUB_APP.resolveFiles?.(`app_id: 5\nprivate_key_file: ${dir}/key.pem`, undefined);
    assertEquals(JSON.parse(byApp ?? "").app_id, "5");
    const inline = JSON.stringify({ app_id: 1, private_key: PEM });
    assertEquals(await GITHUB_APP.resolveFiles?.(inline, dir), inline);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("githubForm() tells git from the API by host and path", async (t) => {
  const rows: readonly (readonly [host: string, path: string, form: string])[] = [
    ["api.github.com", "/acme/widgets/info/refs", "api"],
    ["api.ghe.test", "/acme/widgets.git/HEAD", "api"],
    ["github.com", "/", "git"],
    ["github.com", "/api/x", "api"],
    ["ghe.test", "/api/v3/repos/a/b", "api"],
    ["ghe.test", "/a/b.git/info/refs", "git"],
    ["ghe.test", "/a/b/info/refs", "git"],
    ["ghe.test", "/a/b/info/lfs", "git"],
    ["ghe.test", "/a/b/info/lfs/objects/batch", "git"],
    ["ghe.test", "/a/b/git-upload-pack", "git"],
    ["ghe.test", "/a/b/git-receive-pack", "git"],
    ["ghe.test", "/a/b/objects/info/packs", "git"],
    ["ghe.test", "/a/b/HEAD", "git"],
    ["ghe.test", "/a/b/info/other", "api"],
    ["ghe.test", "/a/b/HEADS", "api"],
    ["ghe.test", "/a/info/refs", "api"],
    ["ghe.test", "/", "api"],
  ];
  for (const [host, path, form] of rows) {
    await t.step(host + path, () => assertEquals(githubForm({ host, method: "GET", path }), form));
  }
  assertEquals(githubInjection("T", "git").headers, [["Authorization", "Basic eC1hY2Nlc3MtdG9rZW46VA=="]]);
  for (const form of ["api", ""]) {
    assertEquals(githubInjection("T", form), { headers: [["Authorization", "Bearer T"]] });
  }
  assertEquals(githubLogin("https://ghe.test"), [
    { url: "https://ghe.test/login/*", scope: "path" },
    { url: "https://ghe.test/session/*", scope: "path" },
  ]);
});

Deno.test("GitHub App: slotOf() names the narrowest place that a path names in plain", async (t) => {
  const long = "a".repeat(100);
  const rows: readonly (readonly [host: string, path: string, slot: string])[] = [
    ["api.github.com", `/repos/${long}/${long}`, `repo/${long}/${long}`],
    ["api.github.com", `/repos/${long}a/x`, "app"],
    ["api.github.com", `/repos/x/${long}a`, "app"],
    ["api.github.com", "/repos/-x/y", "app"],
    ["api.github.com", "/repos/x/.", "app"],
    ["api.github.com", "/repos/x/..", "app"],
    ["api.github.com", "/repos/x/...", "repo/x/..."],
    ["api.github.com", "/repos/x/.git", "repo/x/.git"],
    ["api.github.com", "/repos/x", "app"],
    ["api.github.com", "/REPOS/Acme/Widgets", "repo/acme/widgets"],
    ["api.github.com", "/Orgs/Acme", "orgs/acme"],
    ["api.github.com", "/users/Jo_e", "users/jo_e"],
    ["api.github.com", "/teams/acme", "app"],
    ["api.github.com", "/", "app"],
    ["ghe.test", "/api/v3/orgs/acme", "orgs/acme"],
    ["ghe.test", "/api/v3", "app"],
    ["ghe.test", "/api/graphql", "app"],
    ["ghe.test", "/api/v35/repos/a/b", "app"],
    ["github.com", "/orgs/acme", "repo/orgs/acme"],
    ["github.com", "/users", "none"],
    ["github.com", `/${long}a/x`, "none"],
    ["github.com", "/acme/w.GIT/info/refs", "repo/acme/w.git"],
    ["github.com", "/acme/.git", "none"],
  ];
  for (const [host, path, slot] of rows) {
    await t.step(host + path, () => {
      assertEquals(GITHUB_APP.slotOf?.(APP, { host, method: "GET", path }), slot);
      assertEquals(GITHUB_APP.slotOf?.({ ...APP, installation_id: "7" }, { host, method: "GET", path }), "");
    });
  }
});

const MINTED: ScriptedAnswer = {
  status: 201,
  body: { token: "ghs_1", expires_at: "2026-01-02T01:00:00Z" },
};
const EXPIRES = Date.UTC(2026, 0, 2, 1);

Deno.test("GitHub App: renew() asks for the installation of the place, and for a token of one repository at most", async (t) => {
  const rows: readonly (readonly [
    slot: string,
    app: Partial<GithubApp>,
    answers: readonly ScriptedAnswer[],
    asked: readonly (readonly [string, string | undefined])[],
  ])[] = [
    ["repo/acme/w", {}, [{ body: { id: 7 } }, MINTED], [
      ["GET https://api.github.com/repos/acme/w/installation", undefined],
      ["POST https://api.github.com/app/installations/7/access_tokens", '{"repositories":["w"]}'],
    ]],
    ["orgs/acme", {}, [{ body: { id: 8 } }, MINTED], [
      ["GET https://api.github.com/orgs/acme/installation", undefined],
      ["POST https://api.github.com/app/installations/8/access_tokens", undefined],
    ]],
    ["users/jo", { api_endpoint: "https://ghe.test/api/v3" }, [{ body: { id: 9 } }, MINTED], [
      ["GET https://ghe.test/api/v3/users/jo/installation", undefined],
      ["POST https://ghe.test/api/v3/app/installations/9/access_tokens", undefined],
    ]],
    ["app", {}, [{ body: [{ id: 3 }] }, MINTED], [
      ["GET https://api.github.com/app/installations?per_page=2", undefined],
      ["POST https://api.github.com/app/installations/3/access_tokens", undefined],
    ]],
    ["", { installation_id: "5" }, [MINTED], [
      ["POST https://api.github.com/app/installations/5/access_tokens", undefined],
    ]],
  ];
  for (const [slot, app, answers, asked] of rows) {
    await t.step(slot || "set", async () => {
      const context = scriptedContext(NOW, ...answers);
      const renewed = await GITHUB_APP.renew({ ...APP, ...app }, context, slot);
      assertEquals(renewed, { token: { token: "ghs_1", expiresAtMs: EXPIRES, obtainedAtMs: NOW } });
      assertEquals(
        context.asked.map(({ method, url, body }) => [`${method} ${url}`, body]),
        asked.map((x) => [...x]),
      );
      for (const { headers, body } of context.asked) {
        const { Authorization: jwt = "", ...rest } = headers;
        assertEquals(rest, {
          "Accept": "application/vnd.github+json",
          "X-GitHub-Api-Version": "2022-11-28",
          ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        });
        const seconds = Math.floor(NOW / 1_000);
        assertEquals(JSON.parse(atob(jwt.split(".")[1] ?? "")), {
          iat: seconds - 60,
          exp: seconds + 540,
          iss: 12,
        });
      }
    });
  }
  await t.step(
    "a client id is no number, and a token without a time goes on until it is refused",
    async () => {
      for (const expires_at of [undefined, "soon", 5]) {
        const context = scriptedContext(NOW, { status: 201, body: { token: "ghs_1", expires_at } });
        const app = { ...APP, app_id: "12a", installation_id: "5" };
        const { token } = await GITHUB_APP.renew(app, context, "");
        assertEquals(token, { token: "ghs_1", obtainedAtMs: NOW });
        const jwt = context.asked[0]?.headers["Authorization"] ?? "";
        assertEquals(JSON.parse(atob(jwt.split(".")[1] ?? "")).iss, "12a");
      }
    },
  );
});

Deno.test("GitHub App: what GitHub does not give is a failure that says what, and whether asking again helps", async (t) => {
  const many =
    "the path names no repository, and the app does not have exactly one installation: set installation_id";
  const which = "GitHub does not say which installation this is";
  const rows: readonly (readonly [
    slot: string,
    answers: readonly ScriptedAnswer[],
    words: string,
    is?: Partial<RenewalFailure>,
  ])[] = [
    ["none", [], "the path names no repository", { retryAfterMs: 60_000 }],
    ["app", [{ body: [] }], many, { retryAfterMs: 60_000 }],
    ["app", [{ body: [{ id: 1 }, { id: 2 }] }], many, { retryAfterMs: 60_000 }],
    ["app", [{ body: "[{" }], many, { retryAfterMs: 60_000 }],
    ["app", [{ body: { id: 1 } }], `${which} (HTTP status 200)`],
    [
      "app",
      [{ status: 403, body: [{ id: 1 }] }],
      "GitHub does not list this app's installations (HTTP status 403)",
    ],
    ["app", [{ status: 401, body: [] }], "GitHub does not list this app's installations (HTTP status 401)", {
      isFinal: true,
    }],
    ["app", [{ body: [null] }], `${which} (HTTP status 200)`],
    ["app", [{ body: [5] }], `${which} (HTTP status 200)`],
    ["repo/a/b", [{ status: 404 }], "the app is not installed for a/b", { retryAfterMs: 60_000 }],
    ["orgs/a", [{ status: 404 }], "the app is not installed for a", { retryAfterMs: 60_000 }],
    ["orgs/a", [{ status: 201, body: { id: 1 } }], `${which} (HTTP status 201)`],
    ["orgs/a", [{ body: { id: "1" } }], `${which} (HTTP status 200)`],
    ["orgs/a", [{ body: { id: 1.5 } }], `${which} (HTTP status 200)`],
    ["orgs/a", [{ status: 503, headers: { "retry-after": "9" } }], `${which} (HTTP status 503)`, {
      retryAfterMs: 9_000,
    }],
    [
      "orgs/a",
      [{ body: { id: 1 } }, { ...MINTED, status: 200 }],
      "GitHub gives this app no installation token (HTTP status 200)",
    ],
    [
      "orgs/a",
      [{ body: { id: 1 } }, { status: 201, body: { token: "a b" } }],
      "GitHub's answer holds no installation token",
    ],
    [
      "orgs/a",
      [{ body: { id: 1 } }, { status: 201, body: { token: 5 } }],
      "GitHub's answer holds no installation token",
    ],
  ];
  for (const [slot, answers, words, is = {}] of rows) {
    await t.step(words, async () => {
      const context = scriptedContext(NOW, ...answers);
      const failure = await assertRejects(
        async () => await GITHUB_APP.renew(APP, context, slot),
        RenewalFailure,
      );
      const { message, isFinal, isAnswered, retryAfterMs } = failure;
      assertEquals({ message, isFinal, isAnswered, retryAfterMs }, {
        message: words,
        isFinal: false,
        isAnswered: true,
        retryAfterMs: undefined,
        ...is,
      });
      assertEquals(context.asked.length, answers.length);
    });
  }
});

Deno.test("GitHub App: where tokens are minted is closed, and its identity is the app, its server and its installation", () => {
  const app = { ...APP, installation_id: "7" };
  assertEquals(GITHUB_APP.endpoints(app), [
    { url: "https://api.github.com/app/installations/*", scope: "path" },
    { url: "https://api.github.com/app/installations", scope: "path" },
  ]);
  assertEquals(GITHUB_APP.identity(app), ["12", "https://api.github.com", "7"]);
  assert(GITHUB_APP.formOf?.(app, { host: "github.com", method: "GET", path: "/" }) === "git");
});
