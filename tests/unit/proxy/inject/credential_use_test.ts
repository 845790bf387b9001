/** The credential of one request: where it goes, and when a request is sent once more with a newer one. */
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { Deadlines } from "../../../../core/deadlines.ts";
import { ProxyError } from "../../../../core/errors.ts";
import { CredentialUse } from "../../../../proxy/inject/credential_use.ts";
import { guardFor } from "../../../../proxy/inject/echo_watch.ts";
import { makeField } from "../../../../proxy/message/fields.ts";
import type { Upload } from "../../../../proxy/forward/upload.ts";
import type { AwsRequest } from "../../../../proxy/decide/aws_request.ts";
import type { Credential } from "../../../../secrets/credential.ts";
import { makeAnswer, makeCredential, makeExchange, makeLeg, NOW, type StageOptions } from "./stage.ts";

const KEYS = { accessKeyId: "AKIAREAL", secretAccessKey: "real/secret" };
const NEXT = makeCredential({ generation: "g2", headers: [["Authorization", "Bearer sk-planted-2"]] });

/** A use whose credential is there. */
function useOf(credential: Partial<Credential>, options: StageOptions = {}) {
  const stage = makeExchange({ credential: makeCredential(credential), ...options });
  const use = new CredentialUse(stage.exchange);
  assertEquals(use.fetch(), undefined);
  return { ...stage, use };
}

const signatureOf = (form: "header" | "query"): AwsRequest => ({
  signature: {
    form,
    ...{ service: "s3", region: "eu-west-1" },
    signedHeaders: new Set(["host"]),
    payload: { kind: "said", value: "UNSIGNED-PAYLOAD" },
    query: [],
  },
  payloads: undefined,
});

Deno.test("fetch() asks for the request's credential, and takes no other version than was admitted", async (t) => {
  await t.step("without a secret nothing is asked", () => {
    const { exchange, asked } = makeExchange({ secret: undefined });
    const use = new CredentialUse(exchange);
    assertEquals([use.fetch(), asked, use.secret, use.certificate, use.watch()], [
      undefined,
      [],
      undefined,
      undefined,
      undefined,
    ]);
    const fields = [makeField("A", "b")];
    assertStrictEquals(use.inject(fields), fields);
    assertEquals([use.target("/x"), use.isInTarget], ["/x", false]);
  });
  await t.step("at once", () => {
    const { use, asked } = useOf({});
    assertEquals(asked, [{ client: "ci-1", host: "api.test", method: "POST", path: "/a" }]);
    assertEquals([use.secret, use.isReplay, use.fault, use.kept], ["s", false, undefined, undefined]);
  });
  await t.step("later", async () => {
    const { exchange } = makeExchange({ credential: Promise.resolve(makeCredential({ generation: "g" })) });
    const use = new CredentialUse(exchange);
    await use.fetch();
    assertEquals([use.secret, use.kept?.isWhole], ["s", true]);
  });
  for (const credential of [undefined, makeCredential({ version: "v2" })]) {
    await t.step(`revoked: ${credential?.version}`, async () => {
      const at = new CredentialUse(makeExchange({ credential }).exchange);
      assertEquals(assertThrows(() => at.fetch(), ProxyError).code, "policy.revoked");
      const later = new CredentialUse(makeExchange({ credential: Promise.resolve(credential) }).exchange);
      const error = await assertRejects(async () => await later.fetch(), ProxyError);
      assertEquals([error.code, later.secret], ["policy.revoked", undefined]);
    });
  }
});

Deno.test("inject() puts the credential in the place of the client's own", () => {
  const { use } = useOf({});
  const fields = [makeField("authorization", "Bearer dummy"), makeField("A", "b")];
  assertEquals(use.inject(fields).map(({ line }) => line), ["Authorization: Bearer sk-planted-1", "A: b"]);
  const certificate = { certPem: "c", keyPem: "k" };
  assertStrictEquals(useOf({ clientCertificate: certificate }).use.certificate, certificate);
});

Deno.test("target() fills in a segment where the rule pins its place, and a parameter", async (t) => {
  const segment = { headers: [], segment: "12:ab", material: ["12:ab"] };
  const paths = ["/bot{}/*"];
  await t.step("a segment", () => {
    const { use } = useOf(segment, { rule: { paths }, path: "/bot{}/send" });
    assertEquals([use.target("/bot{}/send?x={}"), use.isInTarget], ["/bot12:ab/send?x={}", true]);
  });
  const refused: readonly (readonly [name: string, paths: readonly string[], path: string])[] = [
    ["no place in the path", ["/bot{}/*", "/other"], "/other"],
    ["no place in the rule's path", ["/*"], "/bot{}/send"],
    ["no path of the rule", ["/bot{}/*"], "/x/bot{}/send"],
    ["the place of another path", ["/bot{}/*", "/x/*"], "/x/{}"],
  ];
  for (const [name, paths, path] of refused) {
    await t.step(name, () => {
      const { use } = useOf(segment, { rule: { paths: [...paths] }, path });
      const { code, reason, message } = assertThrows(() => use.target(path), ProxyError);
      assertEquals([code, reason, message], [
        "policy.placeholder",
        "placeholder",
        "Cannot forward the request of ci-1 under its rule for api.test: the secret " +
        '"s" goes where the path has {}, once, as a path of the rule does',
      ]);
    });
  }
  await t.step("a parameter", () => {
    const { use } = useOf({ headers: [], parameter: ["key", "a b"], material: ["a b"] });
    assertEquals([use.target("/x?KEY=1&y=2"), use.isInTarget], ["/x?key=a%20b&y=2", true]);
  });
  await t.step("keys, where a URL is presigned", () => {
    const isInTarget = (form: "header" | "query") =>
      useOf({ headers: [], aws: KEYS }, { aws: signatureOf(form) }).use.isInTarget;
    assertEquals([isInTarget("query"), isInTarget("header")], [true, false]);
    const withoutKeys = useOf({}, { aws: signatureOf("query") }).use;
    assertEquals([withoutKeys.isInTarget, useOf({}).use.isInTarget], [false, false]);
  });
});

Deno.test("sign() signs with keys only, and not a request that was admitted without", async () => {
  const head = { fields: [makeField("Host", "api.test")], target: "/a" };
  const upload = {} as Upload;
  assertEquals(useOf({}, { aws: signatureOf("header") }).use.sign(head, upload), undefined);
  const revoked = assertThrows(() => useOf({ aws: KEYS }).use.sign(head, upload), ProxyError);
  assertEquals(revoked.code, "policy.revoked");
  const { use } = useOf({ headers: [], aws: KEYS }, { aws: signatureOf("header") });
  const signed = await use.sign(head, upload);
  assert(
    signed?.fields.some(({ key, value }) => key === "authorization" && value.includes("AKIAREAL/20260102/")),
  );
});

Deno.test("noteAnswer() learns the time of an upstream that signatures go to, but not from a cache", () => {
  const date = (aheadMs: number) => new Date(NOW + aheadMs).toUTCString();
  const aws = useOf({ headers: [], aws: KEYS }, { aws: signatureOf("header") });
  const known = () => aws.awsClocks.offsetMs("api.test 443");
  aws.use.noteAnswer(makeAnswer(403, { Date: date(600_000), Age: "5" }));
  assertEquals(known(), 0);
  aws.use.noteAnswer(makeAnswer(403, { Date: date(600_000) }));
  assertEquals(known(), 600_000);
  const plain = useOf({});
  plain.use.noteAnswer(makeAnswer(403, { Date: date(600_000) }));
  assertEquals(plain.awsClocks.offsetMs("api.test 443"), 0);
});

Deno.test("isRefused() asks for a newer token after a refusal, and the request goes once more with it", async (t) => {
  const answers: readonly (readonly [status: number, bodyStart: string])[] = [
    [401, ""], // the body is not looked at
    [403, "said"],
  ];
  for (const [status, bodyStart] of answers) {
    await t.step(String(status), async () => {
      const { use, rejected } = useOf({ generation: "g1" }, { next: NEXT });
      const { leg, peeks } = makeLeg("said");
      assertEquals(await use.isRefused(leg, makeAnswer(status)), true);
      assertEquals(rejected.map(([{ generation }, answer]) => [generation, answer]), [["g1", {
        status,
        bodyStart,
      }]]);
      assertEquals([use.isReplay, peeks()], [true, status === 403 ? 1 : 0]);
      assertEquals(use.inject([]).map(({ value }) => value), ["Bearer sk-planted-2"]);
      // Once.
      assertEquals(await use.isRefused(leg, makeAnswer(status)), false);
      assertEquals(rejected.length, 1);
    });
  }
  for (const status of [200, 400, 402, 404, 500]) {
    await t.step(`${status} is no refusal`, async () => {
      const { use, rejected } = useOf({ generation: "g1" }, { next: NEXT });
      assertEquals(await use.isRefused(makeLeg().leg, makeAnswer(status)), false);
      assertEquals(rejected, []);
    });
  }
  const rows: readonly (readonly [name: string, credential: Partial<Credential>, options: StageOptions])[] = [
    ["nothing newer", { generation: "g1" }, {}],
    ["its body is not all sent", { generation: "g1" }, { next: NEXT, isReleased: false }],
    ["nothing to renew", {}, { next: NEXT }],
  ];
  for (const [name, credential, options] of rows) {
    await t.step(name, async () => {
      const { use } = useOf(credential, options);
      assertEquals([await use.isRefused(makeLeg().leg, makeAnswer(401)), use.isReplay], [false, false]);
      assertEquals(use.inject([]).map(({ value }) => value), ["Bearer sk-planted-1"]);
    });
  }
  await t.step("an upgrade, whose body follows its answer", async () => {
    const { use } = useOf({ generation: "g1" }, { next: NEXT, isReleased: false, isUpgrade: true });
    assertEquals(await use.isRefused(makeLeg().leg, makeAnswer(401)), true);
  });
  await t.step("a body that is not kept as a whole", async () => {
    const { use, room } = useOf({ generation: "g1" }, { next: NEXT });
    use.kept?.add(new Uint8Array(10));
    assertEquals(room.kept, 10);
    use.drop();
    assertEquals([room.kept, use.kept?.isWhole], [0, false]);
    assertEquals([await use.isRefused(makeLeg().leg, makeAnswer(401)), use.isReplay], [false, false]);
  });
});

Deno.test("isRefused(): what follows a file is read again after a 401, and not waited for", async () => {
  const { use, rejected } = useOf({ isFollowed: true }, { next: NEXT });
  assertEquals(await use.isRefused(makeLeg().leg, makeAnswer(403)), false);
  assertEquals(rejected, []);
  assertEquals(await use.isRefused(makeLeg().leg, makeAnswer(401)), false);
  assertEquals(rejected.map(([{ isFollowed }, answer]) => [isFollowed, answer]), [[true, { status: 401 }]]);
});

Deno.test("isRefused() reads what AWS has against a signature, and signs once more by its time", async (t) => {
  const keys = { headers: [], aws: KEYS, generation: "g1" };
  const aws = signatureOf("header");
  const skewed = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
  const date = { Date: new Date(NOW + 600_000).toUTCString() };
  for (const status of [400, 401, 403]) {
    await t.step(`${status}: its time is news`, async () => {
      const { use, rejected } = useOf(keys, { aws });
      const answer = makeAnswer(status, date);
      use.noteAnswer(answer);
      assertEquals(await use.isRefused(makeLeg(skewed).leg, answer), true);
      assertEquals([use.fault, use.isReplay, rejected], ["aws-clock", true, []]);
      use.noteAnswer(makeAnswer(200));
      assertEquals(use.fault, undefined);
    });
  }
  await t.step("nothing was said of its time", async () => {
    const { use, rejected } = useOf(keys, { aws });
    assertEquals(await use.isRefused(makeLeg(skewed).leg, makeAnswer(403)), false);
    assertEquals(rejected.length, 1);
  });
  await t.step("its time is known", async () => {
    const { use, rejected, awsClocks } = useOf(keys, { aws });
    awsClocks.learn("api.test 443", date.Date, NOW);
    use.noteAnswer(makeAnswer(403, date));
    assertEquals(await use.isRefused(makeLeg(skewed).leg, makeAnswer(403, date)), false);
    assertEquals([rejected.length, use.fault], [1, "aws-clock"]);
  });
  await t.step("keys that are gone, as a header says it", async () => {
    const { use, rejected } = useOf(keys, { aws, next: makeCredential({ ...keys, generation: "g2" }) });
    const answer = makeAnswer(403, { "x-amzn-ErrorType": "ExpiredTokenException" });
    use.noteAnswer(answer);
    assertEquals(await use.isRefused(makeLeg("{}").leg, answer), true);
    assertEquals(rejected[0]?.[1], { status: 403, bodyStart: "<Code>ExpiredTokenException</Code>{}" });
  });
  await t.step("the header means nothing to others", async () => {
    const { use, rejected } = useOf({ generation: "g1" }, { next: NEXT });
    await use.isRefused(makeLeg("{}").leg, makeAnswer(403, { "x-amzn-errortype": "ExpiredToken" }));
    assertEquals([rejected[0]?.[1].bodyStart, use.fault], ["{}", undefined]);
  });
});

Deno.test("guardFor() watches for what is in use, with the same needles for the same credential", () => {
  const context = { onEcho: "mask", deadlines: new Deadlines() } as const;
  const credential = makeCredential();
  const [one, two] = [guardFor(credential, context), guardFor(credential, context)];
  const fields = [makeField("A", "sk-planted-1")];
  assertEquals([one?.fields(fields)[0]?.value, two?.echoed, one?.echoed], ["************", 0, 1]);
  assertEquals(guardFor(undefined, context), undefined);
  assertEquals(guardFor(makeCredential({ headers: [], material: ["short"] }), context), undefined);
  assertEquals(useOf({}).use.watch()?.fields(fields)[0]?.value, "************");
});
