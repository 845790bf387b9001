/**
 * AWS's SDK for JavaScript through the proxy, in Node, against an upstream that verifies each signature with botocore. It comes
 * from the npm registry; where that cannot be reached the test is left out.
 */
import { assert, assertEquals } from "@std/assert";
import { pythonWith, REAL, runIn, setUpAws } from "../support/aws/lab.ts";
import { hasProgram, runProgram } from "../support/programs.ts";

const PACKAGES = [
  "@aws-sdk/client-s3@3.1175.0",
  "@aws-sdk/client-dynamodb@3.1169.0",
  "@aws-sdk/client-bedrock-runtime@3.1164.0",
  "@aws-sdk/client-sts@3.1174.0",
  "@aws-sdk/lib-storage@3.1175.0",
  "@smithy/node-http-handler@4.14.2",
  "https-proxy-agent@7.0.6",
];

const PROGRAM = `
import assert from "node:assert";
import { Readable } from "node:stream";
import * as s3sdk from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { DynamoDBClient, GetItemCommand } from "@aws-sdk/client-dynamodb";
import { BedrockRuntimeClient, InvokeModelWithResponseStreamCommand } from "@aws-sdk/client-bedrock-runtime";
import { STSClient, GetCallerIdentityCommand, GetSessionTokenCommand } from "@aws-sdk/client-sts";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { HttpsProxyAgent } from "https-proxy-agent";

const options = (name) => ({
  endpoint: "https://" + name + ".aws.test:" + process.argv[2],
  maxAttempts: 1,
  requestHandler: new NodeHttpHandler({ httpsAgent: new HttpsProxyAgent(process.env.HTTPS_PROXY) }),
});
const s3 = new s3sdk.S3Client({ ...options("s3"), forcePathStyle: true });
const Bucket = "b", Key = "dir/a key+(1)~ü!*'.bin";
const body = Buffer.alloc(300_000, "0123456789");
await s3.send(new s3sdk.PutObjectCommand({ Bucket, Key, Body: body, Metadata: { note: "x" } }));
const got = await s3.send(new s3sdk.GetObjectCommand({ Bucket, Key }));
assert.deepEqual(Buffer.from(await got.Body.transformToByteArray()), body);
// A stream: STREAMING-UNSIGNED-PAYLOAD-TRAILER.
await s3.send(new s3sdk.PutObjectCommand({ Bucket, Key: "stream", Body: Readable.from([body, body]), ContentLength: 600_000 }));
assert.equal((await s3.send(new s3sdk.HeadObjectCommand({ Bucket, Key: "stream" }))).ContentLength, 600_000);
await new Upload({ client: s3, params: { Bucket, Key: "parts", Body: Buffer.alloc(12_000_000, "x") }, partSize: 5_242_880 }).done();
assert.equal((await s3.send(new s3sdk.HeadObjectCommand({ Bucket, Key: "parts" }))).ContentLength, 12_000_000);
const found = await new DynamoDBClient(options("dynamodb")).send(new GetItemCommand({ TableName: "table", Key: { id: { S: "one" } } }));
assert.equal(found.Item.id.S, "one");
const bedrock = new BedrockRuntimeClient(options("bedrock-runtime"));
const answer = await bedrock.send(new InvokeModelWithResponseStreamCommand({
  modelId: "anthropic.claude-v2:1", contentType: "application/json", body: JSON.stringify({ prompt: "hello there" }),
}));
const words = [];
for await (const { chunk } of answer.body) words.push(JSON.parse(Buffer.from(chunk.bytes).toString()).text);
assert.deepEqual(words, ["hello", "there", "streams"]);
const sts = new STSClient(options("sts"));
assert.equal((await sts.send(new GetCallerIdentityCommand({}))).Account, "123456789012");
await assert.rejects(sts.send(new GetSessionTokenCommand({})));
`;

const canRun = hasProgram("node") && hasProgram("npm") && pythonWith("botocore") !== undefined;

Deno.test({ name: "the SDK for JavaScript works with placeholder keys", ignore: !canRun }, async () => {
  await using lab = await setUpAws();
  const dir = await Deno.makeTempDir({ prefix: "slicer-aws-js-" });
  await using _ = { [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
  await Deno.writeTextFile(`${dir}/package.json`, "{}");
  await Deno.writeTextFile(`${dir}/main.mjs`, PROGRAM);
  const install = ["install", "--no-audit", "--no-fund", "--prefer-offline", "--silent", ...PACKAGES];
  const { code: failed, stderr: npmSaid } = await runProgram("npm", install, { cwd: dir, ms: 240_000 });
  if (failed !== 0) {
    Deno.stderr.writeSync(
      new TextEncoder().encode(`skipping the SDK for JavaScript: npm says ${npmSaid}\n`),
    );
    return;
  }
  const { code, stdout, stderr } = await runIn(lab, "node", [`${dir}/main.mjs`, String(lab.upstream.port)]);
  const why = `${stdout}\n${stderr}\n${lab.proxy.lines.join("\n")}\n${JSON.stringify(lab.upstream.seen)}`;
  assertEquals(code, 0, why);
  assertEquals(lab.upstream.seen.filter(({ error }) => error !== null), []);
  assert(lab.upstream.seen.every(({ key }) => key === REAL.access_key_id));
  const payloads = new Set(lab.upstream.seen.map(({ payload }) => payload));
  assert(payloads.has("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), why);
  await lab.proxy.waitLine(/^deny .*host=sts.*reason=aws-scope/);
});
