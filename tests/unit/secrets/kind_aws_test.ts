import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { AWS } from "../../../secrets/kind_aws.ts";
import { injectedForms } from "../../../secrets/injected_forms.ts";
import type { ProviderRequest, ProviderResponse } from "../../../secrets/provider_call.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { Rig } from "./support.ts";

const KEYS = { access_key_id: "AKIAREALREALREALREAL", secret_access_key: "real/secret+key" };
const ROLE = { ...KEYS, role_arn: "arn:aws:iam::123456789012:role/team/vm" };

Deno.test("aws: values in every documented form", async (t) => {
  const now = Date.UTC(2026, 0, 1);
  const rows: [name: string, value: unknown, login: unknown][] = [
    ["keys", KEYS, KEYS],
    ["temporary keys", { ...KEYS, session_token: "tok/en==" }, { ...KEYS, session_token: "tok/en==" }],
    [
      "a credential_process",
      {
        Version: 1,
        AccessKeyId: KEYS.access_key_id,
        SecretAccessKey: KEYS.secret_access_key,
        SessionToken: "t",
        Expiration: "2026-01-01T01:00:00Z",
        AccountId: "123456789012",
      },
      { ...KEYS, session_token: "t", expires_at: now + 3_600_000 },
    ],
    [
      "aws sts assume-role",
      {
        Credentials: { AccessKeyId: KEYS.access_key_id, SecretAccessKey: KEYS.secret_access_key },
        AssumedRoleUser: {},
        ResponseMetadata: {},
      },
      KEYS,
    ],
    ["a role", { ...ROLE, duration: "1h", external_id: "id-1" }, {
      ...ROLE,
      duration: 3_600,
      external_id: "id-1",
    }],
    ["a role's seconds", { ...ROLE, duration: 900, region: "eu-west-1" }, {
      ...ROLE,
      duration: 900,
      region: "eu-west-1",
    }],
  ];
  for (const [name, value, login] of rows) {
    await t.step(name, () => {
      const parsed = AWS.parse(JSON.stringify(value), now);
      assertEquals<unknown>(parsed, login);
      assertEquals(AWS.parse(JSON.stringify(parsed), now), parsed); // as it is stored
    });
  }
});

Deno.test("aws: a value of the wrong shape says which field, and never shows what is in it", async (t) => {
  const rows: [value: unknown, words: string][] = [
    [{}, "no access_key_id"],
    [{ access_key_id: "AKIASECRET" }, "no secret_access_key"],
    [{ ...KEYS, access_key_id: "a secret/with spaces" }, "its access_key_id"],
    [{ ...KEYS, secret_access_key: "with a space secret" }, "its secret_access_key"],
    [{ ...KEYS, session_token: "with\nsecret" }, "its session_token"],
    [{ ...KEYS, "external-id": "x" }, '"external-id"'],
    [{ Credentials: KEYS, role_arn: ROLE.role_arn }, '"role_arn"'],
    [{ ...KEYS, external_id: "xx" }, "its external_id is for a role"],
    [{ ...KEYS, duration: 900 }, "its duration is for a role"],
    [{ ...ROLE, role_arn: "vm-secret" }, "its role_arn"],
    [{ ...ROLE, external_id: "with spaces secret" }, "its external_id"],
    [{ ...ROLE, duration: 899 }, "its duration"],
    [{ ...ROLE, duration: 43_201 }, "its duration"],
    [{ ...ROLE, duration: "soon" }, "its duration"],
    [{ ...ROLE, region: "EU WEST" }, "its region"],
    [{ ...ROLE, sts_endpoint: "http://sts.example" }, "its sts_endpoint is no https URL"],
    [{ ...KEYS, access_key_id: "AKIASLICERPROXYDUMMY" }, "are the placeholders"],
    ["AKIA secret", "no JSON object"],
  ];
  for (const [value, words] of rows) {
    await t.step(words, () => {
      const text = typeof value === "string" ? value : JSON.stringify(value);
      const error = assertThrows(() => AWS.parse(text, 0), ProxyError);
      assertEquals(error.code, "input.invalid");
      assertStringIncludes(error.message, words);
      assert(!/secret[/ ]|AKIASECRET|vm-secret/.test(error.message), error.message);
    });
  }
});

/** STS as a function: counts, and gives out keys for a while. */
function fakeSts(answers: readonly Partial<ProviderResponse>[] = []) {
  const seen: ProviderRequest[] = [];
  const clock = new FakeClock();
  const call = (request: ProviderRequest): Promise<ProviderResponse> => {
    seen.push(request);
    const ends = new Date(clock.now() + 3_600_000).toISOString();
    const body =
      `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA${seen.length}</AccessKeyId>` +
      `<SecretAccessKey>session/${seen.length}</SecretAccessKey><SessionToken>token+${seen.length}</SessionToken>` +
      `<Expiration>${ends}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`;
    return Promise.resolve({ status: 200, headers: {}, body, ...answers[seen.length - 1] });
  };
  return { seen, clock, call };
}

Deno.test("aws: a role's keys are fetched once, renewed before they end, and known again in answers", async () => {
  const { seen, clock, call } = fakeSts();
  await using rig = await Rig.start({ clock, call });
  await rig.adopt("aws", { ...ROLE, region: "eu-west-1", external_id: "ext" });
  const [first, again] = await Promise.all([rig.credential(), rig.credential()]);
  assertEquals(first.aws, { accessKeyId: "ASIA1", secretAccessKey: "session/1", sessionToken: "token+1" });
  assertEquals(again, first);
  assertEquals(await rig.credential(), first); // only what is used is renewed in the background
  assertEquals(first.headers, []);
  assertEquals(injectedForms(first), ["session/1", "token+1", "token%2B1"]);
  assertEquals(seen[0]?.url, "https://sts.eu-west-1.amazonaws.com/");
  assertStringIncludes(seen[0]?.body ?? "", "RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fteam%2Fvm");
  assertStringIncludes(seen[0]?.body ?? "", "ExternalId=ext");
  assert(!JSON.stringify(seen).includes(KEYS.secret_access_key));
  assertStringIncludes(
    new Headers(seen[0]?.headers).get("authorization") ?? "",
    "SignedHeaders=content-type;host;x-amz-date,",
  );
  clock.advance(3_400_000);
  await rig.until(() => seen.length === 2, "a renewal before the end");
  assertEquals((await rig.credential()).aws?.accessKeyId, "ASIA2");
  assert(!JSON.stringify(rig.state.listSecrets()).includes("session/"));
});

Deno.test("aws: keys that the upstream takes no more are fetched anew, at a bounded rate", async () => {
  const { seen, clock, call } = fakeSts();
  await using rig = await Rig.start({ clock, call });
  await rig.adopt("aws", ROLE);
  const first = await rig.credential();
  const refused = (bodyStart: string) => rig.credentials.rejected(first, { status: 403, bodyStart });
  assertEquals(await refused("<Error><Code>AccessDenied</Code></Error>"), undefined);
  assertEquals(seen.length, 1);
  assertEquals((await refused("<Error><Code>ExpiredToken</Code></Error>"))?.aws?.accessKeyId, "ASIA2");
  const second = await rig.credential();
  assertEquals(
    await rig.credentials.rejected(second, { status: 403, bodyStart: "<Code>ExpiredToken</Code>" }),
    undefined,
  );
  assertEquals(seen.length, 2);
});

Deno.test("aws: what STS says decides whether it is asked again", async (t) => {
  const xml = (code: string) =>
    `<ErrorResponse><Error><Code>${code}</Code><Message>secret words</Message></Error></ErrorResponse>`;
  const rows: [name: string, answer: Partial<ProviderResponse>, words: string][] = [
    ...[
      "AccessDenied",
      "InvalidClientTokenId",
      "UnrecognizedClientException",
      "SignatureDoesNotMatch",
      "ExpiredToken",
      "ExpiredTokenException",
      "ValidationError",
      "MalformedPolicyDocument",
      "RegionDisabledException",
    ].map((
      code,
    ): (typeof rows)[number] => [code, { status: 403, body: xml(code) }, `STS refused the role (${code})`]),
    ["refused while it is down", { status: 500, body: xml("AccessDenied") }, "STS answered HTTP status 500"],
    ["throttled", { status: 400, body: xml("Throttling") }, "STS answered HTTP status 400"],
    ["down", { status: 503, body: "" }, "STS answered HTTP status 503"],
    ["an answer without keys", { body: "<AssumeRoleResponse/>" }, "holds no keys"],
    ...["AccessKeyId", "SecretAccessKey", "SessionToken"].map((part): (typeof rows)[number] => {
      const parts = ["AccessKeyId", "SecretAccessKey", "SessionToken"].filter((each) => each !== part);
      return [
        `an answer without ${part}`,
        { body: parts.map((each) => `<${each}>x</${each}>`).join("") },
        "holds no keys",
      ];
    }),
  ];
  for (const [name, answer, words] of rows) {
    await t.step(name, async () => {
      const { clock, call } = fakeSts([answer, answer]);
      await using rig = await Rig.start({ clock, call });
      await rig.adopt("aws", ROLE);
      const error = await assertRejects(() => rig.credential(), ProxyError);
      assertStringIncludes(error.message, words);
      assert(!error.message.includes("secret words"));
    });
  }
});

Deno.test("aws: what is stored beside the keys of a source file is no unknown field", () => {
  const stored = JSON.stringify({ ...KEYS, source_digest: "digest" });
  assertEquals<unknown>(AWS.parse(stored, 0), KEYS);
});

Deno.test("aws: only where a role's keys are fetched is closed to clients", () => {
  const closed = (login: object) => AWS.endpoints(AWS.parse(JSON.stringify({ ...KEYS, ...login }), 0));
  const { role_arn } = ROLE;
  const path = (url: string) => [{ url, scope: "path" }];
  assertEquals<unknown>(closed({}), []);
  assertEquals<unknown>(closed({ role_arn }), path("https://sts.amazonaws.com/"));
  assertEquals<unknown>(
    closed({ role_arn, region: "eu-west-1" }),
    path("https://sts.eu-west-1.amazonaws.com/"),
  );
  assertEquals<unknown>(
    closed({ role_arn, region: "cn-north-1" }),
    path("https://sts.cn-north-1.amazonaws.com.cn/"),
  );
});
