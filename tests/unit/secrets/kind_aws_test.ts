import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { createHash } from "node:crypto";
import { ProxyError } from "../../../core/errors.ts";
import { signHead } from "../../../secrets/aws/signer.ts";
import { AWS } from "../../../secrets/kind_aws.ts";
import { injectedForms } from "../../../secrets/injected_forms.ts";
import type { ProviderRequest, ProviderResponse } from "../../../secrets/provider_call.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { type ScriptedAnswer, scriptedContext } from "./scripted_call.ts";
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
    ["a role's shortest and its longest time", { ...ROLE, duration: "43200" }, { ...ROLE, duration: 43_200 }],
    ["every field of its own", {
      ...{ ...ROLE, session_token: "t", expires_at: now + 1_000, external_id: "ab", duration: "15m" },
      ...{ region: "eu-west-1", sts_endpoint: "https://sts.test/x" },
    }, {
      ...{ ...ROLE, session_token: "t", expires_at: now + 1_000, external_id: "ab", duration: 900 },
      ...{ region: "eu-west-1", sts_endpoint: "https://sts.test/x" },
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
    [{ ...ROLE, duration: 900.5 }, "its duration is not from 15m to 12h"],
    [{ ...ROLE, duration: "1000000" }, "its duration is not from 15m to 12h"],
    [{ ...ROLE, external_id: "x" }, "its external_id is not of the form"],
    [{ ...KEYS, secret_access_key: "slicerproxydummy/AKIASLICERPROXYDUMMY" }, "are the placeholders"],
    [{ ...KEYS, region: "eu-west-1" }, "its region is for a role"],
    [{ ...KEYS, sts_endpoint: "https://sts.test/" }, "its sts_endpoint is for a role"],
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

const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);
const xmlOf = (parts: Readonly<Record<string, string>>) =>
  Object.entries(parts).map(([name, value]) => `<${name}> ${value} </${name}>`).join("");
const ANSWER = { AccessKeyId: "ASIA1", SecretAccessKey: "s/1", SessionToken: "t+1" };

/** One renewal of a role's keys. */
async function assume(login: object, ...answers: readonly ScriptedAnswer[]) {
  const context = scriptedContext(NOW, ...answers);
  const parsed = AWS.parse(JSON.stringify({ ...ROLE, ...login }), NOW);
  const made = await AWS.renew(parsed, context, "").then(({ token }) => token, (error) => error);
  return { made, asked: context.asked };
}

Deno.test("aws: AssumeRole is asked for at the role's STS, signed for its region and with the session's keys", async () => {
  const { asked } = await assume({ session_token: "tok" }, { body: xmlOf(ANSWER) });
  const { authorization, ...headers } = Object.fromEntries(new Headers(asked[0]?.headers));
  assertEquals([asked[0]?.method, asked[0]?.url, asked[0]?.body], [
    "POST",
    "https://sts.amazonaws.com/",
    "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fteam%2Fvm&" +
    "RoleSessionName=slicer-proxy&DurationSeconds=3600",
  ]);
  assertEquals(headers, {
    "content-type": "application/x-www-form-urlencoded",
    "x-amz-date": "20260102T030405Z",
    "x-amz-security-token": "tok",
  });
  assertStringIncludes(authorization ?? "", "/20260102/us-east-1/sts/aws4_request");
  const own = await assume({ region: "eu-west-1", sts_endpoint: "https://sts.test/x?y=1", duration: 900 }, {
    body: xmlOf(ANSWER),
  });
  assertEquals(own.asked[0]?.url, "https://sts.test/x?y=1");
  assertStringIncludes(own.asked[0]?.body ?? "", "DurationSeconds=900");
  assertStringIncludes(new Headers(own.asked[0]?.headers).get("authorization") ?? "", "/eu-west-1/sts/");
});

Deno.test("aws: a role's keys end when STS says so, by our clock, and not after what was asked for", async (t) => {
  const at = (ms: number) => new Date(NOW + ms).toISOString();
  const date = (ms: number) => ({ date: new Date(NOW + ms).toUTCString() });
  const rows: readonly (readonly [
    name: string,
    expiration: string,
    headers: Record<string, string>,
    leftMs: number,
  ])[] = [
    ["sooner", at(1_800_000), {}, 1_800_000],
    ["later", at(7_200_000), {}, 3_600_000],
    ["not said", "", {}, 3_600_000],
    ["by a clock that is ahead", at(2_400_000), date(600_000), 1_800_000],
    ["by one that is behind", at(1_200_000), date(-600_000), 1_800_000],
  ];
  for (const [name, Expiration, headers, leftMs] of rows) {
    await t.step(name, async () => {
      const { made } = await assume({}, { headers, body: xmlOf({ ...ANSWER, Expiration }) });
      assertEquals(made.expiresAtMs, NOW + leftMs);
      assertEquals(JSON.parse(made.token), {
        accessKeyId: "ASIA1",
        secretAccessKey: "s/1",
        sessionToken: "t+1",
      });
    });
  }
  const { made } = await assume({ duration: 900 }, { body: xmlOf({ ...ANSWER, Expiration: at(7_200_000) }) });
  assertEquals(made.expiresAtMs, NOW + 900_000);
});

Deno.test("aws: STS is asked once more by its own time, and no more than once", async () => {
  const skewed = {
    status: 403,
    headers: { date: new Date(NOW + 600_000).toUTCString() },
    body: "<Code>RequestTimeTooSkewed</Code>",
  };
  const good = await assume({}, skewed, { body: xmlOf(ANSWER) });
  assertEquals(good.asked.map(({ headers }) => new Headers(headers).get("x-amz-date")), [
    "20260102T030405Z",
    "20260102T031405Z",
  ]);
  assertEquals(JSON.parse(good.made.token).accessKeyId, "ASIA1");
  assertEquals((await assume({}, skewed, skewed, skewed)).asked.length, 2);
  for (const headers of [{}, { date: new Date(NOW).toUTCString() }]) {
    assertEquals((await assume({}, { ...skewed, headers })).asked.length, 1);
  }
  assertEquals((await assume({}, { ...skewed, body: "<Code>AccessDenied</Code>" })).asked.length, 1);
});

Deno.test("aws: a refusal is for good below 500 with a code that says so, and Retry-After is honoured", async () => {
  const denied = "<Code>AccessDenied</Code>";
  const rows = [[400, denied, true], [499, denied, true], [500, denied, false], [
    400,
    "<Code>Throttling</Code>",
    false,
  ], [
    400,
    "",
    false,
  ]] as const;
  for (const [status, body, isFinal] of rows) {
    const { made } = await assume({}, { status, body, headers: { "retry-after": "7" } });
    assertEquals([made.isFinal, made.isAnswered, made.retryAfterMs], [isFinal, true, 7_000]);
  }
  const { made } = await assume({}, { body: "" });
  assertEquals([made.isFinal, made.isAnswered], [false, false]);
});

Deno.test("aws: keys without a role are the token themselves; the material is what of them is secret", () => {
  const now = Date.UTC(2026, 0, 1);
  const plain = AWS.parse(JSON.stringify(KEYS), now);
  assertEquals([AWS.rotates, AWS.isRenewable(plain), AWS.isRenewable(AWS.parse(JSON.stringify(ROLE), now))], [
    false,
    false,
    true,
  ]);
  assertEquals(AWS.stored(AWS.parse(JSON.stringify(ROLE), now)), undefined);
  const stored = AWS.stored(
    AWS.parse(JSON.stringify({ ...KEYS, session_token: "t", expires_at: now + 5 }), now),
  );
  const { headers, aws, material } = AWS.inject(plain, stored?.token ?? "", "");
  assertEquals([stored?.expiresAtMs, headers, material], [now + 5, [], [KEYS.secret_access_key, "t"]]);
  assertEquals(aws, {
    accessKeyId: KEYS.access_key_id,
    secretAccessKey: KEYS.secret_access_key,
    sessionToken: "t",
  });
  assertEquals(AWS.inject(plain, AWS.stored(plain)?.token ?? "", "").material, [KEYS.secret_access_key]);
});

Deno.test("aws: what is signed for STS is what it is sent, an endpoint's own query too", async () => {
  const { asked } = await assume(
    { session_token: "tok", sts_endpoint: "https://sts.test:8443/x?y=a%20b&z" },
    {
      body: xmlOf(ANSWER),
    },
  );
  const type = "application/x-www-form-urlencoded";
  const signed = await signHead({
    method: "POST",
    path: "/x",
    query: [{ raw: "y=a%20b", name: "y", value: "a b" }, { raw: "z", name: "z", value: "" }],
    fields: [{ key: "host", value: "sts.test:8443" }, { key: "content-type", value: type }],
    signedHeaders: new Set(),
    payload: createHash("sha256").update(asked[0]?.body ?? "").digest("hex"),
  }, {
    keys: {
      accessKeyId: KEYS.access_key_id,
      secretAccessKey: KEYS.secret_access_key,
      sessionToken: "tok",
    },
    scope: { service: "sts", region: "us-east-1" },
    nowMs: NOW,
  });
  const { "Content-Type": sentType, ...headers } = asked[0]?.headers ?? {};
  assertEquals([sentType, headers], [type, Object.fromEntries(signed.headers)]);
});

Deno.test("aws: a role, its STS and its region say whose login it is, and keys alone nothing", () => {
  const of = (login: object) => AWS.identity(AWS.parse(JSON.stringify({ ...KEYS, ...login }), NOW));
  const { role_arn } = ROLE;
  assertEquals(of({}), [undefined, undefined, undefined]);
  assertEquals(of({ role_arn, sts_endpoint: "https://sts.test/", region: "eu-west-1" }), [
    role_arn,
    "https://sts.test/",
    "eu-west-1",
  ]);
});
