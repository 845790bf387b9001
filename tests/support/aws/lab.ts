/** AWS as it is seen from a VM: the proxy with a secret of the type `aws`, and an upstream that verifies with botocore. */
import type { RuleInput } from "../../../policy/rule.ts";
import { Rig } from "../../unit/secrets/support.ts";
import { startTestProxy, type TestProxy, type TestProxyOptions, TOKEN } from "../start_proxy.ts";
import { upstreamAuthority } from "../test_authority.ts";

/** The real keys. Nothing that a VM sees may hold them. */
export const REAL = {
  access_key_id: "AKIAREALREALREALREAL",
  secret_access_key: "real/secret+access=key/that/nobody/in/a/VM/knows",
};
/** The role's. */
export const SESSION = {
  id: "ASIASESSIONSESSION00",
  secret: "session/secret+access=key/of/the/role",
  token: "FwoGZXIvYXdzEXAMPLE//session=token",
  session: true,
};

/** What the upstream says of a request. */
export interface Verified {
  readonly method: string;
  readonly path: string;
  readonly payload: string | null;
  readonly service?: string;
  readonly region?: string;
  readonly key?: string;
  /** Null when the signature was good. */
  readonly error: string | null;
}

export interface AwsUpstream extends AsyncDisposable {
  readonly port: number;
  readonly seen: readonly Verified[];
  /** Waits until it has said this of so many requests. */
  waitFor(count: number): Promise<readonly Verified[]>;
}

/** See each field. */
export interface AwsUpstreamOptions {
  /** Keys that it takes. */
  readonly keys?: readonly Record<string, unknown>[];
  /** Seconds that its clock is ahead. */
  readonly skew?: number;
  /** The only region that it takes. */
  readonly region?: string;
}

const HERE = new URL(".", import.meta.url).pathname;

/** A Python that has botocore; undefined where there is none. */
export function pythonWith(module: "botocore" | "boto3"): string | undefined {
  return pythonsWith(module)[0];
}

/** All of them: Debian's is older than what people install. */
export function pythonsWith(module: "botocore" | "boto3"): readonly string[] {
  const found = ["/usr/bin/python3", "python3"].filter((python) => {
    try {
      return new Deno.Command(python, { args: ["-c", `import ${module}`], stderr: "null" }).outputSync()
        .success;
    } catch {
      return false;
    }
  }).filter((python, i, all) => i === 0 || versionOf(python, module) !== versionOf(all[0] ?? "", module));
  if (found.length === 0) {
    Deno.stderr.writeSync(
      new TextEncoder().encode(`skipping tests that need python3-${module}: it is not here\n`),
    );
  }
  return found;
}

function versionOf(python: string, module: string): string {
  const args = ["-c", `import ${module}; print(${module}.__version__)`];
  return new TextDecoder().decode(new Deno.Command(python, { args }).outputSync().stdout).trim();
}

/** The services that tests ask, and the name that needs no resolver. */
const NAMES = [
  "localhost",
  ...["s3", "dynamodb", "bedrock-runtime", "lambda", "sts"].map((name) => `${name}.aws.test`),
];

/** Starts it, with a certificate for the services of `aws.test`. */
export async function startAwsUpstream(options: AwsUpstreamOptions = {}): Promise<AwsUpstream> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-aws-" });
  const { certPem, keyPem } = await (await upstreamAuthority()).issue(NAMES);
  await Deno.writeTextFile(`${dir}/cert.pem`, certPem);
  await Deno.writeTextFile(`${dir}/key.pem`, keyPem, { mode: 0o600 });
  await Deno.mkdir(`${dir}/objects`);
  const process = new Deno.Command(pythonWith("botocore") ?? "python3", {
    args: ["-u", `${HERE}upstream.py`, `${dir}/cert.pem`, `${dir}/key.pem`, `${dir}/objects`],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const keys = options.keys ?? [{ id: REAL.access_key_id, secret: REAL.secret_access_key }];
  const stdin = process.stdin.getWriter();
  await stdin.write(new TextEncoder().encode(JSON.stringify({ ...options, keys }) + "\n"));
  const seen: Verified[] = [];
  const port = Promise.withResolvers<number>();
  const reading = (async () => {
    let text = "";
    for await (const piece of process.stdout.pipeThrough(new TextDecoderStream())) {
      text += piece;
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        const said: unknown = JSON.parse(line);
        if (typeof said === "number") port.resolve(said);
        else seen.push(said as Verified);
      }
    }
    port.reject(new Error("the upstream did not start"));
  })();
  const close = async () => {
    await stdin.close();
    await reading;
    await process.status;
    await Deno.remove(dir, { recursive: true });
  };
  try {
    const waitFor = async (count: number) => {
      for (let i = 0; seen.length < count; i++) {
        if (i > 500) throw new Error(`the upstream saw only ${JSON.stringify(seen)}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return [...seen];
    };
    return { port: await port.promise, seen, waitFor, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

export interface AwsLab extends AsyncDisposable {
  readonly upstream: AwsUpstream;
  readonly proxy: TestProxy;
  readonly rig: Rig;
  /** Variables of a VM that an SDK needs. */
  readonly env: Readonly<Record<string, string>>;
  /** `https://NAME.aws.test:PORT` */
  endpoint(name: string): string;
}

/** See each field. */
export interface AwsLabOptions extends AwsUpstreamOptions {
  /** Of the secret; {@linkcode REAL} unless given. */
  readonly value?: unknown;
  /** Of the rule, beside host, port and secret. */
  readonly rule?: Partial<RuleInput>;
  readonly proxy?: TestProxyOptions;
}

/** Sets it up. */
export async function setUpAws(options: AwsLabOptions = {}): Promise<AwsLab> {
  await using stack = new AsyncDisposableStack();
  const upstream = stack.use(await startAwsUpstream(options));
  const rig = stack.use(await Rig.start({ isStarted: false }));
  const { value = REAL } = options;
  const text = JSON.stringify(value).replaceAll("STS_PORT", String(upstream.port));
  await rig.adopt("aws", text, { host: "*.aws.test" });
  const proxy = stack.use(
    await startTestProxy({
      ...options.proxy,
      credentials: rig.credentials,
      onSecretChange: (listener) => rig.state.onChange(listener),
    }),
  );
  proxy.policy.allow("one", { host: "*.aws.test", ports: [upstream.port], secret: "login", ...options.rule });
  const dir = await Deno.makeTempDir({ prefix: "slicer-aws-vm-" });
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  await Deno.writeTextFile(`${dir}/ca.pem`, proxy.caPem);
  const url = `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`;
  const moved = stack.move();
  return {
    upstream,
    proxy,
    rig,
    env: {
      HOME: dir,
      PATH: Deno.env.get("PATH") ?? "",
      HTTPS_PROXY: url,
      https_proxy: url,
      AWS_CA_BUNDLE: `${dir}/ca.pem`,
      NODE_EXTRA_CA_CERTS: `${dir}/ca.pem`,
      AWS_ACCESS_KEY_ID: "AKIASLICERPROXYDUMMY",
      AWS_SECRET_ACCESS_KEY: "slicerproxydummy000000000000000000000000",
      AWS_DEFAULT_REGION: "eu-west-1",
      AWS_REGION: "eu-west-1",
      AWS_EC2_METADATA_DISABLED: "true",
      AWS_MAX_ATTEMPTS: "1",
    },
    endpoint: (name) => `https://${name}.aws.test:${upstream.port}`,
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

/** Runs a program in the VM. */
export async function runIn(
  lab: AwsLab,
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    clearEnv: true,
    env: { ...lab.env, ...env },
    cwd: lab.env["HOME"] ?? "/",
  }).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}
