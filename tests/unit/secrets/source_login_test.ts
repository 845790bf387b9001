/** What makes a login in a source file another one: nobody's token goes where it was not meant to go. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { oauthKind } from "../../../secrets/kinds.ts";
import type { Login, OAuthKind } from "../../../secrets/oauth_kind.ts";
import { digestOf, isAnotherLogin, readSourceLogin, seenIn } from "../../../secrets/source_login.ts";
import { holdTimers } from "../../support/held_timers.ts";

/** By type of secret: whose a login is, and where it is renewed. */
const WHOSE: Readonly<Record<string, readonly string[]>> = {
  "oauth-claude": ["organization", "client_id", "token_endpoint"],
  "oauth-codex": ["account_id", "client_id", "token_endpoint"],
  "oauth-github-copilot": ["github_url", "token_endpoint"],
  "oauth-xai": ["subject", "principal_id", "client_id", "token_endpoint"],
  "oauth-client-creds": ["client_id", "token_endpoint"],
  "oauth-refresh": ["client_id", "token_endpoint"],
  "oauth-jwt-bearer": ["issuer", "subject", "token_endpoint"],
  "google-service-account": ["issuer", "subject", "token_endpoint"],
  "github-app-user": ["client_id", "github_url", "token_endpoint"],
  "github-app": ["app_id", "api_endpoint", "installation_id"],
  "aws": ["role_arn", "sts_endpoint", "region"],
};

Deno.test("isAnotherLogin() is true when any part of whose a login is, or of where it is renewed, differs", async (t) => {
  for (const [type, fields] of Object.entries(WHOSE)) {
    const kind = oauthKind(type);
    assert(kind, type);
    const ours: Login = Object.fromEntries(fields.map((field) => [field, `our-${field}`]));
    await t.step(`${type}: another token of the same login`, () => {
      assertEquals(isAnotherLogin(kind, ours, { ...ours, access_token: "x", refresh_token: "y" }), false);
    });
    for (const field of fields) {
      await t.step(`${type}: ${field}`, () => {
        assertEquals(isAnotherLogin(kind, ours, { ...ours, [field]: "theirs" }), true);
        // What one of them does not say is no difference: host CLIs leave fields out.
        assertEquals(isAnotherLogin(kind, ours, { ...ours, [field]: undefined }), false);
        assertEquals(isAnotherLogin(kind, { ...ours, [field]: undefined }, ours), false);
      });
    }
  }
});

Deno.test("seenIn() finds a digest only where there is one", () => {
  assertEquals(seenIn('{"source_digest":"d"}'), "d");
  for (const value of ["{}", "null", '"source_digest"', '{"source_digest":1}']) {
    assertEquals(seenIn(value), undefined, value);
  }
});

/** A file, and a kind that takes a text that begins with `ok` and says how it was asked. */
async function stageFile(text: string) {
  const dir = await Deno.realPath(await Deno.makeTempDir());
  const sourceFile = `${dir}/login`;
  const asked: string[] = [];
  const kind = {
    resolveFiles: (read: string, folder: string | undefined) => {
      asked.push(`${read} in ${folder}`);
      return Promise.resolve(`${read} resolved`);
    },
    parse: (read: string, nowMs: number) => {
      if (!read.startsWith("ok")) throw new ProxyError("input.invalid", `Cannot use it: ${read}`);
      return { access_token: `${read} at ${nowMs}` };
    },
  } as unknown as OAuthKind;
  const write = (content: string) => Deno.writeTextFile(sourceFile, content, { mode: 0o600 });
  await write(text);
  return {
    ...{ dir, asked, write },
    read: () => readSourceLogin(kind, { sourceFile }, () => 7),
    [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
  };
}

/** Ends a pause once somebody waits for it. */
async function passPause(
  timers: ReturnType<typeof holdTimers>,
  ms: number,
  meanwhile: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  for (let i = 0; timers.pending.length === 0; i++) {
    if (i > 5_000) throw new Error(`nobody waits for ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await meanwhile();
  timers.fire(ms);
}

Deno.test("readSourceLogin() takes what is there, with the files that it names made absolute", async () => {
  await using file = await stageFile("ok");
  assertEquals(await file.read(), { access_token: "ok resolved at 7" });
  assertEquals(file.asked, [`ok in ${file.dir}`]);
});

Deno.test("readSourceLogin() reads a file that is being written again after 50, 150 and 400 ms, and no more", async () => {
  await using file = await stageFile("half");
  using timers = holdTimers(50, 150, 400);
  const reading = file.read();
  for (const ms of [50, 150, 400]) await passPause(timers, ms);
  await assertRejects(() => reading, ProxyError, "Cannot use it: half resolved");
  assertEquals([file.asked.length, timers.pending], [4, []]);
  const second = file.read();
  await passPause(timers, 50);
  await passPause(timers, 150, () => file.write("ok now"));
  assertEquals(await second, { access_token: "ok now resolved at 7" });
});

Deno.test("digestOf() is another for each token, secret and key, and for nothing else", () => {
  const login: Login = { access_token: "a", refresh_token: "r", client_secret: "c", private_key: "k" };
  const aws: Login = { access_key_id: "i", secret_access_key: "s", session_token: "t" };
  const digests = [
    ...(["access_token", "refresh_token", "client_secret", "private_key"] as const).map((name) =>
      digestOf({ ...login, [name]: "x" })
    ),
    ...(["access_key_id", "secret_access_key", "session_token"] as const).map((name) =>
      digestOf({ ...aws, [name]: "x" })
    ),
    ...[digestOf(login), digestOf(aws), digestOf({}), digestOf({ private_key_file: "f" })],
  ];
  assertEquals(new Set(digests).size, digests.length);
  assertEquals(digests.every((digest) => /^[A-Za-z0-9_-]{43}$/.test(digest)), true);
  assertEquals(digestOf({ ...login, expires_at: 1, private_key_file: "f" } as Login), digestOf(login));
  assertEquals(digestOf({ access_key_id: "i" }), digestOf({})); // of keys that are none
});
