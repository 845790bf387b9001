/**
 * The AWS CLI through the real program (with SLICER_PROXY_BIN the compiled binary), against an upstream that verifies each
 * signature with botocore: `env`'s placeholders, `s3 cp` of a large file up and down, denials in the CLI's own output.
 *
 * `SLICER_AWS_MB` is the size of the file; `deno task test:long` takes 200.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { pythonWith, REAL, startAwsUpstream } from "../support/aws/lab.ts";
import { Program } from "../support/program.ts";
import { hasProgram, type Outcome, runProgram } from "../support/programs.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

const AWS = "/usr/bin/aws";
const canRun = hasProgram(AWS) && pythonWith("botocore") !== undefined;
const MB = Number(Deno.env.get("SLICER_AWS_MB") ?? 20);

async function digestOf(path: string): Promise<string> {
  const { stdout } = await runProgram("sha256sum", [path]);
  return stdout.split(" ")[0] ?? "";
}

Deno.test({
  name: `the AWS CLI works with placeholder keys, and copies ${MB} MB up and down`,
  ignore: !canRun,
}, async (t) => {
  const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-aws-cli-" }));
  await using _ = { [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
  await using upstream = await startAwsUpstream();
  await Deno.writeTextFile(`${dir}/upstream.crt`, (await upstreamAuthority()).caPem);
  const program = new Program(dir);
  await using daemon = await program.up([
    "--allow-cidr",
    "127.0.0.0/8,::1/128",
    "--upstream-ca",
    "localhost=upstream.crt",
    "--workers", // keys cross to their threads
    "2",
  ]);
  const token = await program.ok(["client", "create", "vm"]);
  const create = ["secret", "create", "cloud", "--host", "localhost", "--type", "aws", "--value-file", "-"];
  await program.ok(create, { stdin: JSON.stringify(REAL) });
  const port = ["--port", String(upstream.port)];
  await program.ok([
    "allow",
    "vm",
    "--host",
    "localhost",
    ...port,
    "--secret",
    "cloud",
    "--aws-service",
    "s3,dynamodb",
    "--aws-region",
    "eu-*",
  ]);
  await Deno.writeTextFile(`${dir}/token`, token, { mode: 0o600 });
  const [group] = await Array.fromAsync(Deno.readDir(`${dir}/.slicer/ca`));
  const ca = `${dir}/.slicer/ca/${group?.name}/ca.crt`;
  const inVm = ["--token-file", `${dir}/token`, "--ca", ca, "--ca-bundle", ca, "--plain", "--format", "json"];
  const { variables } = JSON.parse(await program.ok(["env", "vm", ...inVm]));
  assertEquals(variables.AWS_ACCESS_KEY_ID, "AKIASLICERPROXYDUMMY");
  const { NO_PROXY: _no, no_proxy: _none, ...env } = variables; // the upstream is localhost
  const endpoint = ["--endpoint-url", `https://localhost:${upstream.port}`];
  const said: string[] = [];
  const aws = async (args: readonly string[], region = "eu-west-1"): Promise<Outcome> => {
    const outcome = await runProgram(AWS, [...args, ...endpoint], {
      cwd: dir,
      ms: 300_000,
      env: {
        ...env,
        HOME: dir,
        AWS_DEFAULT_REGION: region,
        AWS_EC2_METADATA_DISABLED: "true",
        AWS_MAX_ATTEMPTS: "1",
      },
    });
    said.push(outcome.stdout, outcome.stderr);
    return outcome;
  };
  await t.step("s3 cp up and down", async () => {
    const piece = crypto.getRandomValues(new Uint8Array(65_536));
    using file = await Deno.open(`${dir}/up`, { write: true, create: true });
    for (let i = 0; i < MB * 16; i++) {
      piece[i % piece.length] = i;
      await file.write(piece);
    }
    for (const args of [["up", "s3://b/large"], ["s3://b/large", "down"]]) {
      const { code, stderr } = await aws(["s3", "cp", "--no-progress", ...args]);
      assertEquals(code, 0, stderr);
    }
    assertEquals(await digestOf(`${dir}/up`), await digestOf(`${dir}/down`));
  });
  await t.step("another service", async () => {
    const { code, stdout, stderr } = await aws([
      "dynamodb",
      "get-item",
      "--table-name",
      "table",
      "--key",
      '{"id":{"S":"one"}}',
    ]);
    assertEquals(code, 0, stderr);
    assertEquals(JSON.parse(stdout).Item, { id: { S: "one" } });
  });
  await t.step("denied: region, service, keys of STS", async () => {
    const rows: [args: string[], region: string][] = [
      [["s3api", "get-object", "--bucket", "b", "--key", "large", "out"], "us-east-1"],
      [["lambda", "invoke", "--function-name", "f", "out"], "eu-west-1"],
      [["sts", "get-session-token"], "eu-west-1"],
    ];
    for (const [args, region] of rows) {
      const { code } = await aws(args, region);
      assert(code !== 0, args.join(" "));
    }
    await daemon.waitLine(/^deny client=vm method=POST .*path=\/2015-03-31.*reason=aws-scope/m);
  });
  assertEquals(upstream.seen.filter(({ error }) => error !== null), []);
  assert(upstream.seen.every(({ key, service }) => key === REAL.access_key_id && service !== "lambda"));
  const all = said.join("") + daemon.stdout.text + daemon.stderr.text +
    await program.ok(["secret", "list", "--json"]);
  assertMatch(all, /"aws"/);
  assertEquals(all.includes(REAL.secret_access_key), false);
  assertEquals(all.includes(REAL.access_key_id), false);
});
