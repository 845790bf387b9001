/**
 * Clouds through the real program (with SLICER_PROXY_BIN the compiled binary): a stream of Bedrock's in AWS's own SDK, and a
 * Google service account that calls a service of its own. What a VM gets, what the program prints and what its API answers
 * has no secret in it.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Buffer } from "node:buffer";
import { generateKeyPairSync } from "node:crypto";
import { pythonWith, REAL, startAwsUpstream } from "../support/aws/lab.ts";
import { startEchoUpstream } from "../support/echo_upstream.ts";
import { FakeProvider } from "../support/fake_provider.ts";
import { plantedIn } from "../support/planted_search.ts";
import { Program } from "../support/program.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

const PACKAGES = [
  "@aws-sdk/client-bedrock-runtime@3.1164.0",
  "@smithy/node-http-handler@4.14.2",
  "https-proxy-agent@7.0.6",
];

const BEDROCK = `
import assert from "node:assert";
import { BedrockRuntimeClient, InvokeModelWithResponseStreamCommand } from "@aws-sdk/client-bedrock-runtime";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { HttpsProxyAgent } from "https-proxy-agent";

const bedrock = new BedrockRuntimeClient({
  endpoint: "https://localhost:" + process.argv[2],
  maxAttempts: 1,
  requestHandler: new NodeHttpHandler({ httpsAgent: new HttpsProxyAgent(process.env.HTTPS_PROXY) }),
});
const answer = await bedrock.send(new InvokeModelWithResponseStreamCommand({
  modelId: "anthropic.claude-v2:1", contentType: "application/json", body: JSON.stringify({ prompt: "hello there" }),
}));
const words = [];
for await (const { chunk } of answer.body) words.push(JSON.parse(Buffer.from(chunk.bytes).toString()).text);
console.log(words.join(" "));
`;

/** The program in a folder, with a client `vm` that may use the secret `cloud` at a port of `localhost`. */
async function startSite(port: number, { type, value, words = [] }: {
  readonly type: string;
  readonly value: unknown;
  /** More of the rule. */
  readonly words?: readonly string[];
}) {
  const stack = new AsyncDisposableStack();
  const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-cloud-" }));
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  await Deno.writeTextFile(`${dir}/upstream.pem`, (await upstreamAuthority()).caPem);
  const program = new Program(dir);
  const daemon = stack.use(
    await program.up(["--allow-cidr", "127.0.0.0/8,::1/128", "--upstream-ca", "upstream.pem"]),
  );
  await Deno.writeTextFile(`${dir}/token`, await program.ok(["client", "create", "vm"]), { mode: 0o600 });
  const create = ["secret", "create", "cloud", "--host", "localhost", "--type", type, "--value-file", "-"];
  await program.ok(create, { stdin: JSON.stringify(value) });
  const place = ["--host", "localhost", "--port", String(port)];
  await program.ok(["allow", "vm", ...place, "--secret", "cloud", ...words]);
  const [group] = await Array.fromAsync(Deno.readDir(`${dir}/.slicer/ca`));
  const ca = `${dir}/.slicer/ca/${group?.name}/ca.crt`;
  const inVm = ["--token-file", `${dir}/token`, "--ca", ca, "--ca-bundle", ca, "--plain", "--format", "json"];
  const { variables } = JSON.parse(await program.ok(["env", "vm", ...inVm]));
  const { NO_PROXY: _no, no_proxy: _none, ...env } = variables; // the upstream is localhost
  return {
    dir,
    ca,
    daemon,
    env: { ...env, HOME: dir },
    /** What of the secrets is in what the program has printed, in what its API says, and in more. */
    leaks: async (secrets: readonly string[], more: readonly string[]) => {
      const answers = [["secret", "list"], ["secret", "show", "cloud"], ["status"], ["rules", "vm"]];
      const said = await Promise.all(answers.map((words) => program.ok([...words, "--json"])));
      const all = [...said, ...more, daemon.stdout.text, daemon.stderr.text].join("\n");
      return plantedIn(Buffer.from(all), secrets);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const canStream = hasProgram("node") && hasProgram("npm") && pythonWith("botocore") !== undefined;

Deno.test({ name: "Bedrock's answers stream through the real program", ignore: !canStream }, async () => {
  await using upstream = await startAwsUpstream();
  const words = ["--aws-service", "bedrock", "--aws-region", "eu-*"];
  await using site = await startSite(upstream.port, { type: "aws", value: REAL, words });
  await Deno.writeTextFile(`${site.dir}/package.json`, "{}");
  await Deno.writeTextFile(`${site.dir}/main.mjs`, BEDROCK);
  const install = ["install", "--no-audit", "--no-fund", "--prefer-offline", "--silent", ...PACKAGES];
  const { code: failed, stderr: why } = await runProgram("npm", install, { cwd: site.dir, ms: 240_000 });
  if (failed !== 0) {
    Deno.stderr.writeSync(new TextEncoder().encode(`skipping the SDK for Bedrock: npm says ${why}\n`));
    return;
  }
  const { stdout, stderr } = await runProgram("node", [`${site.dir}/main.mjs`, String(upstream.port)], {
    env: { ...site.env, AWS_REGION: "eu-west-1", AWS_EC2_METADATA_DISABLED: "true" },
    ms: 60_000,
  });
  assertEquals(stdout, "hello there streams\n", `${stderr}\n${site.daemon.stdout.text}`);
  assertEquals(upstream.seen.map(({ key, service, error }) => [key, service, error]), [
    [REAL.access_key_id, "bedrock", null],
  ]);
  await site.daemon.waitLine(/^allow client=vm method=POST .*path=\/model\/.* status=200 secret=cloud/m);
  assertEquals(await site.leaks([REAL.secret_access_key], [stdout, stderr]), []);
});

Deno.test({
  name: "a Google service account calls its own service through the real program",
  ignore: !hasProgram("curl"),
  async fn() {
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2_048 });
    const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const appPublicKeyPem = publicKey.export({ type: "spki", format: "pem" }).toString();
    await using provider = await FakeProvider.start({ host: "127.0.0.1", appPublicKeyPem });
    await using upstream = await startEchoUpstream({ names: ["localhost"] });
    const value = {
      type: "service_account",
      private_key_id: "1",
      private_key: pem,
      client_email: "robot@p.iam.gserviceaccount.com",
      token_uri: provider.tokenEndpoint,
    };
    await using site = await startSite(upstream.port, { type: "google-service-account", value });
    const url = `https://localhost:${upstream.port}/v1/run`;
    const { stdout, stderr } = await runProgram("curl", [
      ...["-sS", "--max-time", "30", "--cacert", site.ca, "-H", "Authorization: Bearer dummy", url, url],
    ], { env: site.env });
    const idToken = provider.issued.at(-1) ?? "";
    const { aud } = JSON.parse(Buffer.from(idToken.split(".")[1] ?? "", "base64url").toString());
    assertEquals(aud, "https://localhost");
    assertEquals(
      upstream.seen.map(({ headers }) => headers.find((line) => /^authorization:/i.test(line))),
      Array(2).fill(`Authorization: Bearer ${idToken}`),
    );
    assertEquals(provider.refreshes, 1);
    assertStringIncludes(stdout, "Authorization: Bearer ****"); // the upstream has sent it back
    await site.daemon.waitLine(/^allow client=vm .*status=200 secret=cloud .*echoed=1/m);
    assert(site.daemon.stdout.text.includes("secret=cloud"));
    assertEquals(await site.leaks([pem, ...provider.issued], [stdout, stderr]), []);
  },
});
