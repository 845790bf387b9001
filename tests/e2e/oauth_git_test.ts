/** Real git through the proxy with a GitHub App's installation token, against a server that demands it. */
// deno-lint-ignore-file no-console
import { assert, assertEquals, assertNotMatch } from "@std/assert";
import { generateKeyPairSync } from "node:crypto";
import { FakeProvider } from "../support/fake_provider.ts";
import { serveGit } from "../support/git_server.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";
import { upstreamAuthority } from "../support/test_authority.ts";
import { Rig } from "../unit/secrets/support.ts";

async function run(command: string, args: readonly string[], env: Record<string, string> = {}, cwd?: string) {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    env: { GIT_CONFIG_NOSYSTEM: "1", GIT_TERMINAL_PROMPT: "0", GIT_SSL_CAINFO: "", ...env },
    ...(cwd === undefined ? {} : { cwd }),
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  return { success, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

/** A git server behind TLS, for requests that carry the token. */
async function startGitServer(root: string, authorization: () => string) {
  const { certPem, keyPem } = await (await upstreamAuthority()).issue(["git.test"]);
  const refused: string[] = [];
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    cert: certPem,
    key: keyPem,
    onListen: () => {},
  }, async (request) => {
    const url = new URL(request.url);
    if (request.headers.get("authorization") !== authorization()) {
      refused.push(url.pathname);
      return new Response("no", { status: 401, headers: { "www-authenticate": "Basic" } });
    }
    return await serveGit(root, request);
  });
  return { port: server.addr.port, refused, [Symbol.asyncDispose]: () => server.shutdown() };
}

Deno.test("git clone and git push with a github-app secret", async () => {
  if (!(await run("git", ["--version"]).catch(() => ({ success: false }))).success) {
    console.log("skipped: git is not installed");
    return;
  }
  const keys = generateKeyPairSync("rsa", { modulusLength: 2_048 });
  const pem = (
    key: { export(options: { type: string; format: "pem" }): string | Uint8Array },
    type: string,
  ) => key.export({ type, format: "pem" }).toString();
  const dir = await Deno.makeTempDir({ prefix: "slicer-git-" });
  try {
    await using provider = await FakeProvider.start({
      appPublicKeyPem: pem(keys.publicKey as never, "spki"),
    });
    await using rig = await Rig.start({ isStarted: false });
    await rig.adopt("github-app", {
      app_id: 12,
      private_key: pem(keys.privateKey as never, "pkcs1"),
      api_endpoint: provider.origin,
    }, { host: "git.test" });
    const bare = `${dir}/acme/widgets.git`;
    await Deno.mkdir(bare, { recursive: true });
    await run("git", ["init", "--bare", "--quiet", "-b", "main", bare]);
    await run("git", ["-C", bare, "config", "http.receivepack", "true"]);
    await using server = await startGitServer(
      dir,
      () => `Basic ${btoa(`x-access-token:ghs_${provider.accessToken}`)}`,
    );
    await using proxy = await startTestProxy({ credentials: rig.credentials });
    proxy.policy.allow("one", {
      host: "git.test",
      ports: [server.port],
      paths: ["/acme/*"],
      secret: "login",
    });
    await Deno.writeTextFile(`${dir}/ca.pem`, proxy.caPem);
    const env = {
      HOME: dir,
      GIT_SSL_CAINFO: `${dir}/ca.pem`,
      HTTPS_PROXY: `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`,
    };
    const url = `https://git.test:${server.port}/acme/widgets.git`;
    const clone = await run("git", ["clone", url, `${dir}/work`], env);
    assert(clone.success, clone.text);
    await Deno.writeTextFile(`${dir}/work/file`, "x".repeat(100_000));
    const author = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
    for (
      const args of [["add", "file"], [...author, "commit", "--quiet", "-m", "first"], [
        "push",
        "origin",
        "HEAD:main",
      ]]
    ) {
      const { success, text } = await run("git", args, env, `${dir}/work`);
      assert(success, text);
    }
    const again = await run("git", ["clone", url, `${dir}/again`], env);
    assert(again.success, again.text);
    assertEquals((await Deno.readTextFile(`${dir}/again/file`)).length, 100_000);
    // Injected from the first request on: git never sees the challenge.
    assertEquals(server.refused, []);
    assertEquals(provider.seen.map(({ requestLine }) => requestLine), [
      "GET /repos/acme/widgets/installation HTTP/1.1",
      "POST /app/installations/77/access_tokens HTTP/1.1",
    ]);
    assertNotMatch(proxy.lines.join("\n") + clone.text + again.text, /planted|ghs_/);
    const other = await run("git", ["ls-remote", `https://git.test:${server.port}/other/repo.git`], env);
    assert(!other.success && /403/.test(other.text), other.text);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
