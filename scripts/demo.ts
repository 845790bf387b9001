/**
 * The demonstration, `deno task demo`: an HTTPS upstream, the proxy as a real process, its commands as real processes,
 * and a client that plays the microVM, all on loopback and in a temporary folder that is removed. Says what each step
 * showed, and exits with 0 only if all of it was as it should be.
 *
 * @module
 */
import { basic, dialRaw, openTlsTunnel, type RawPeer } from "../tests/support/raw_peer.ts";
import { startEchoUpstream, type Upstream } from "../tests/support/echo_upstream.ts";
import { upstreamAuthority } from "../tests/support/test_authority.ts";
import { type Daemon, Program } from "./demo_proxy.ts";
import { Report } from "./demo_report.ts";

const CLIENT = "demo-vm";
const SECRET = "llm-key";
/** Resolves without a network. */
const HOST = "localhost";
const TTL_SECONDS = 2;

/** What the steps share. */
interface Scene {
  readonly report: Report;
  readonly program: Program;
  readonly upstream: Upstream;
  readonly dir: string;
  readonly credential: string;
  proxy: Daemon;
  token: string;
  caPem: string;
}

async function main(): Promise<number> {
  const report = new Report((text) => Deno.stdout.writeSync(new TextEncoder().encode(text)));
  const dir = await Deno.makeTempDir({ prefix: "slicer-proxy-demo-" });
  try {
    await tell(report, dir);
  } catch (error) {
    report.fail(error);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
  return report.finish();
}

async function tell(report: Report, dir: string): Promise<void> {
  report.say("slicer-proxy on 127.0.0.1: no root, no network, and nothing is left behind");
  await using upstream = await startEchoUpstream({ names: [HOST] });
  await Deno.writeTextFile(`${dir}/upstream-ca.crt`, (await upstreamAuthority()).caPem);
  const program = new Program(dir);
  const proxy = await program.up(upArgs("strict"));
  const credential = `sk-${crypto.randomUUID()}`;
  const scene: Scene = { report, program, upstream, dir, credential, proxy, token: "", caPem: "" };
  try {
    await report.step("A client, a secret, and a rule that joins them", () => setUp(scene));
    await report.step("An allowed request gets the credential on its way out", () => allowed(scene));
    await report.step("A path that the rule does not name is denied", () => deniedByPath(scene));
    await report.step("A host that no rule names is denied", () => deniedByDefault(scene));
    await report.step(`A rule with --ttl ${TTL_SECONDS}s ends by itself`, () => expired(scene));
    await report.step("Revoking a rule ends the tunnel that it had opened", () => revoked(scene));
    await report.step("Audit mode shows what an unknown host would be asked", () => audited(scene));
    await report.step(
      "Neither the token nor the credential is in any log or file",
      () => nothingLeaked(scene),
    );
  } finally {
    await scene.proxy.stop();
  }
}

function upArgs(mode: "strict" | "audit"): readonly string[] {
  const loopback = ["--allow-cidr", "127.0.0.0/8,::1/128"];
  return [...loopback, "--upstream-ca", `${HOST}=upstream-ca.crt`, `--mode=${mode}`];
}

async function setUp(scene: Scene): Promise<void> {
  const { report, upstream } = scene;
  scene.token = await command(scene, ["client", "create", CLIENT]);
  report.show("prints", ["spi_…  (the token, shown only this once)"]);
  await command(scene, ["secret", "create", SECRET, "--host", HOST, "--value-file", "-"], scene.credential);
  const port = String(upstream.port);
  const rule = ["--host", HOST, "--port", port, "--method", "POST", "--path", "/v1/*", "--secret", SECRET];
  await command(scene, ["allow", CLIENT, ...rule]);
  scene.caPem = await Deno.readTextFile(`${scene.dir}/.slicer/ca/sbox/ca.crt`);
  report.expect("a token of 256 bits", /^spi_[\w-]{43}$/.test(scene.token));
}

async function allowed(scene: Scene): Promise<void> {
  const { report, upstream, credential, proxy } = scene;
  using vm = await tunnel(scene);
  const head = requestHead("POST /v1/messages", scene, [
    "Authorization: Bearer placeholder",
    "Content-Length: 5",
  ]);
  report.show("the VM sent", head);
  const { status } = await exchange(vm, head, "hello");
  const seen = upstream.seen.at(-1);
  report.show("upstream saw", [seen?.requestLine ?? "nothing", ...seen?.headers ?? []]);
  report.show("log", [await proxy.waitLine(/^allow .* path=\/v1\/messages /)]);
  report.expect("status 200", status === 200);
  report.expect(
    "the credential upstream",
    seen?.headers.includes(`Authorization: Bearer ${credential}`) === true,
  );
  report.expect("no placeholder upstream", seen?.headers.join().includes("placeholder") === false);
  report.expect("the body upstream", seen?.body === "hello");
}

async function deniedByPath(scene: Scene): Promise<void> {
  const { report, upstream, proxy } = scene;
  const before = upstream.seen.length;
  using vm = await tunnel(scene);
  const head = requestHead("POST /admin", scene);
  report.show("the VM sent", head.slice(0, 1));
  const { status, body } = await exchange(vm, head);
  report.show("was answered", [String(status), ...body.trimEnd().split("\n").filter((line) => line !== "")]);
  report.show("log", [await proxy.waitLine(/^deny .* path=\/admin /)]);
  report.expect("status 403", status === 403);
  report.expect("the command that would allow it", body.includes(`slicer-proxy allow ${CLIENT}`));
  report.expect("nothing upstream", upstream.seen.length === before);
}

async function deniedByDefault(scene: Scene): Promise<void> {
  const { report, proxy } = scene;
  using vm = await dialRaw(proxy.httpPort);
  const target = "exfiltration.example:443";
  const status = await connect(vm, target, scene.token);
  report.show("the VM sent", [`CONNECT ${target} HTTP/1.1`]);
  report.show("was answered", [String(status)]);
  report.show("log", [await proxy.waitLine(/^deny .* host=exfiltration\.example /)]);
  report.expect("status 403", status === 403);
}

async function expired(scene: Scene): Promise<void> {
  const { report, upstream, proxy } = scene;
  const rule = ["--host", HOST, "--port", String(upstream.port), "--path", "/report"];
  await command(scene, ["allow", CLIENT, ...rule, "--ttl", `${TTL_SECONDS}s`]);
  const head = requestHead("GET /report", scene);
  const ask = async () => {
    using vm = await tunnel(scene);
    return (await exchange(vm, head)).status;
  };
  const before = await ask();
  await new Promise((resolve) => setTimeout(resolve, TTL_SECONDS * 1_000));
  const after = await ask();
  report.show("answers", [`${before} at first, ${after} after ${TTL_SECONDS} seconds`]);
  report.show("log", [
    await proxy.waitLine(/^allow .* path=\/report /),
    await proxy.waitLine(/^deny .* path=\/report /),
  ]);
  report.expect("200 before the end", before === 200);
  report.expect("403 after it", after === 403);
}

async function revoked(scene: Scene): Promise<void> {
  const { report, proxy } = scene;
  using vm = await tunnel(scene);
  const { status } = await exchange(vm, requestHead("POST /v1/messages", scene));
  await command(scene, ["revoke", CLIENT, "--host", HOST]);
  const hasEnded = await endsSoon(vm);
  using again = await dialRaw(proxy.httpPort);
  const next = await connect(again, `${HOST}:${scene.upstream.port}`, scene.token);
  report.show("the tunnel", [`answered ${status}, and ${hasEnded ? "was ended" : "is still open"}`]);
  report.show("the next one", [`is answered ${next}`]);
  report.show("log", [await proxy.waitLine(/^deny .* method=CONNECT host=localhost /)]);
  report.expect("200 before", status === 200);
  report.expect("the tunnel to end", hasEnded);
  report.expect("403 for the next tunnel", next === 403);
}

async function audited(scene: Scene): Promise<void> {
  const { report, program } = scene;
  report.show("$", ["slicer-proxy up --mode=audit   (on the same state)"]);
  await scene.proxy.stop();
  scene.proxy = await program.up(upArgs("audit"));
  const target = "api.example.com:443";
  using vm = await openTlsTunnel(scene.proxy.httpPort, target, scene.token, scene.caPem);
  const { status } = await exchange(vm, ["GET /v1/models HTTP/1.1", "Host: api.example.com"]);
  report.show("the VM sent", ["GET https://api.example.com/v1/models"]);
  report.show("was answered", [String(status)]);
  const line = await scene.proxy.waitLine(/^deny .* host=api\.example\.com /);
  report.show("log", [line]);
  report.expect("status 403", status === 403);
  report.expect("the method and path in the log", / method=GET .* path=\/v1\/models mode=audit /.test(line));
}

async function nothingLeaked({ report, dir, token, credential, proxy }: Scene): Promise<void> {
  const texts = [...proxy.lines, ...await contents(`${dir}/.slicer`)];
  for (const [name, secret] of [["token", token], ["credential", credential]] as const) {
    report.expect(`no ${name} in ${texts.length} texts`, texts.every((text) => !text.includes(secret)));
  }
  // The search would find it: the client's name is there.
  report.expect("the client's name in some file", texts.some((text) => text.includes(CLIENT)));
}

/** Runs a command of the program and shows it. */
async function command({ report, program }: Scene, args: readonly string[], input?: string): Promise<string> {
  const words = args.map((arg) => /[*]/.test(arg) ? `'${arg}'` : arg);
  report.show("$", [`slicer-proxy ${words.join(" ")}`]);
  return await program.run(args, input);
}

function tunnel({ proxy, upstream, token, caPem }: Scene): Promise<RawPeer> {
  return openTlsTunnel(proxy.httpPort, `${HOST}:${upstream.port}`, token, caPem);
}

function requestHead(what: string, { upstream }: Scene, more: readonly string[] = []): readonly string[] {
  return [`${what} HTTP/1.1`, `Host: ${HOST}:${upstream.port}`, ...more];
}

async function exchange(vm: RawPeer, head: readonly string[], body = "") {
  await vm.send(`${head.join("\r\n")}\r\n\r\n${body}`);
  return await vm.readResponse();
}

async function connect(vm: RawPeer, target: string, token: string): Promise<number> {
  const lines = [`CONNECT ${target} HTTP/1.1`, `Host: ${target}`, `Proxy-Authorization: ${basic(token)}`];
  await vm.send(`${lines.join("\r\n")}\r\n\r\n`);
  return (await vm.readResponse()).status;
}

/** True when the connection is ended within two seconds. */
async function endsSoon(vm: RawPeer): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(false), 2_000));
  const hasEnded = await Promise.race([vm.isClosed(), late]);
  clearTimeout(timer);
  return hasEnded;
}

/** Every file below a folder, as text, a byte a character. */
async function contents(dir: string): Promise<string[]> {
  const texts: string[] = [];
  for await (const { name, isFile, isDirectory } of Deno.readDir(dir)) {
    const path = `${dir}/${name}`;
    if (isFile) texts.push(new TextDecoder("latin1").decode(await Deno.readFile(path)));
    if (isDirectory) texts.push(...await contents(path));
  }
  return texts;
}

if (import.meta.main) Deno.exit(await main());
