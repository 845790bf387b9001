/** What makes a login in a source file another one: nobody's token goes where it was not meant to go. */
import { assert, assertEquals } from "@std/assert";
import { oauthKind } from "../../../secrets/kinds.ts";
import type { Login } from "../../../secrets/oauth_kind.ts";
import { isAnotherLogin, seenIn } from "../../../secrets/source_login.ts";

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
