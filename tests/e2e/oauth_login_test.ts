/** The logins as real processes against a provider over real TLS; the test plays the user and the browser. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import {
  ACCESS_TOKEN,
  type Answer,
  DEVICE_CODE,
  json,
  type OAuthProvider,
  REFRESH_TOKEN,
  startOAuthProvider,
} from "../support/oauth_provider.ts";
import { Collected, Program, type Result } from "../support/program.ts";
import { proxyAuthority } from "../support/test_authority.ts";

const WAIT_MS = 30_000;

/** A running login. */
interface Login extends AsyncDisposable {
  readonly process: Deno.ChildProcess;
  /** Waits until stderr holds the pattern, and gives its first group. */
  said(pattern: RegExp): Promise<string>;
  type(line: string): Promise<void>;
  /** What it came to. Standard input stays open. */
  end(): Promise<Result>;
}

async function startLogin(provider: OAuthProvider, ...args: readonly string[]): Promise<Login> {
  const dir = await Deno.makeTempDir();
  await Deno.writeTextFile(`${dir}/ca.pem`, provider.caPem);
  const process = new Program(dir).spawn(["oauth", ...args, "--ca-file", "ca.pem"]);
  const stdin = process.stdin.getWriter();
  const stdout = new Collected(process.stdout);
  const stderr = new Collected(process.stderr);
  const end = async () => {
    const { code } = await process.status;
    await Promise.all([stdout.ended, stderr.ended]);
    return { code, stdout: stdout.text, stderr: stderr.text };
  };
  return {
    process,
    async said(pattern) {
      await stderr.wait(pattern, WAIT_MS);
      return pattern.exec(stderr.text)?.[1] ?? "";
    },
    type: (line) => stdin.write(new TextEncoder().encode(`${line}\n`)),
    end,
    async [Symbol.asyncDispose]() {
      try {
        process.kill("SIGKILL");
      } catch {
        // It has ended, as it should.
      }
      await end();
      await stdin.close().catch(() => {});
      await Deno.remove(dir, { recursive: true });
    },
  };
}

function startXai(provider: OAuthProvider, ...args: readonly string[]): Promise<Login> {
  const port = args.includes("--device") || args.includes("--port") ? [] : ["--port", "0"];
  return startLogin(provider, "xai", "--issuer", provider.issuer, ...port, ...args);
}

function startGitHub(provider: OAuthProvider): Promise<Login> {
  return startLogin(provider, "github-app-user", "--client-id", "Iv1.app", "--github-url", provider.issuer);
}

/** Opens an address as the browser does; redirects lead to the callback. */
async function browse(provider: OAuthProvider, address: string): Promise<{ status: number; text: string }> {
  const response = await fetch(address, { client: provider.browser });
  return { status: response.status, text: await response.text() };
}

/** Where the browser would end, without going there. */
async function consent(provider: OAuthProvider, address: string): Promise<string> {
  const response = await fetch(address, { client: provider.browser, redirect: "manual" });
  await response.body?.cancel();
  return response.headers.get("location") ?? "";
}

const ADDRESS = /^ {4}(https:\S+)$/m;

Deno.test("oauth xai prints adoptable JSON when the browser comes back", async () => {
  await using provider = await startOAuthProvider();
  await using login = await startXai(provider);
  const address = await login.said(ADDRESS);
  const before = Date.now();
  const page = await browse(provider, address);
  assertEquals(page, {
    status: 200,
    text: "The answer has arrived. You can close this page and go back to the terminal.\n",
  });
  const { code, stdout, stderr } = await login.end();
  assertEquals(code, 0, stderr);

  const { id_token, expires_at, obtained_at, ...rest } = JSON.parse(stdout);
  assertEquals(rest, {
    type: "oauth-xai",
    access_token: ACCESS_TOKEN,
    refresh_token: REFRESH_TOKEN,
    token_type: "Bearer",
    token_endpoint: `${provider.issuer}/oauth2/token`,
  });
  assertEquals(id_token.split(".").length, 3);
  assertMatch(obtained_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert(Math.abs(Date.parse(obtained_at) - before) < 30_000, obtained_at);
  assertEquals(Date.parse(expires_at) - Date.parse(obtained_at), 21_600_000);

  for (const secret of provider.secrets) {
    assert(!stderr.includes(secret), `stderr holds ${secret}: ${stderr}`);
  }
  assertStringIncludes(
    stderr,
    "slicer-proxy secret create xai --host api.x.ai --type oauth-xai --value-file FILE\n",
  );
  assertStringIncludes(stderr, "warning: keep this login for one proxy alone");

  const asked = new URL(address).searchParams;
  const { redirect_uri, state, nonce, code_challenge, ...fixed } = Object.fromEntries(asked);
  assertMatch(redirect_uri ?? "", /^http:\/\/127\.0\.0\.1:\d+\/callback$/);
  for (const random of [state, nonce, code_challenge]) assertMatch(random ?? "", /^[\w-]{43}$/);
  assertEquals(fixed, {
    response_type: "code",
    client_id: "b1a00492-073a-47ea-816f-4c329264a828",
    scope: "openid profile email offline_access grok-cli:access api:access",
    code_challenge_method: "S256",
    plan: "generic",
    referrer: "slicer-proxy",
  });
  const traded = provider.calls.at(-1);
  assertEquals(Object.keys(traded?.form ?? {}).sort(), [
    "client_id",
    "code",
    "code_verifier",
    "grant_type",
    "redirect_uri",
  ]);
  assertMatch(traded?.userAgent ?? "", /^slicer-proxy\//);
});

Deno.test("oauth xai takes a pasted address or a pasted code", async (t) => {
  const rows: readonly [name: string, paste: (address: string) => string][] = [
    ["the whole address", (address) => address],
    ["the code alone", (address) => new URL(address).searchParams.get("code") ?? ""],
  ];
  for (const [name, paste] of rows) {
    await t.step(name, async () => {
      await using provider = await startOAuthProvider();
      await using login = await startXai(provider);
      const ended = await consent(provider, await login.said(ADDRESS));
      await login.type("hello?");
      await login.said(/(neither a code nor an address)/);
      await login.type(ended.replace(/state=[^&]*/, "state=of-another-login"));
      await login.said(/(belongs to another login)/);
      await login.type(paste(ended));
      const { code, stdout, stderr } = await login.end();
      assertEquals(code, 0, stderr);
      assertEquals(JSON.parse(stdout).access_token, ACCESS_TOKEN);
      for (const secret of provider.secrets) assert(!stderr.includes(secret), stderr);
    });
  }
});

Deno.test("oauth xai refuses a callback of another login and goes on waiting", async () => {
  await using provider = await startOAuthProvider();
  await using login = await startXai(provider);
  const address = await login.said(ADDRESS);
  const ended = new URL(await consent(provider, address));
  ended.searchParams.set("state", "of-another-login");
  assertEquals((await browse(provider, ended.href)).status, 400);
  ended.search = "?error=access_denied&state=of-another-login";
  assertEquals((await browse(provider, ended.href)).status, 400);
  await login.said(/(warning: an answer of another login)/);
  assertEquals(provider.calls.filter(({ path }) => path === "/oauth2/token"), []);
  assertEquals((await browse(provider, address)).status, 200);
  const { code, stderr } = await login.end();
  assertEquals([code, stderr.split("an answer of another login").length - 1], [0, 1], stderr);
});

Deno.test("oauth xai fails clearly", async (t) => {
  const rows: readonly [name: string, path: string, answer: Answer, error: string][] = [
    [
      "when consent is denied",
      "/oauth2/authorize",
      (_, url) => {
        const { redirect_uri, state } = Object.fromEntries(url.searchParams);
        const location = `${redirect_uri}?error=access_denied&error_description=secret&state=${state}`;
        return new Response(null, { status: 302, headers: { location } });
      },
      "error: cannot log in to xAI: it was refused in the browser\nhint: run the command again and confirm it there\n",
    ],
    [
      "when the code is refused, without repeating it",
      "/oauth2/token",
      ({ form }) => json(400, { error: "invalid_grant", error_description: form.code }),
      "error: cannot log in to xAI: the code is used up, expired, or of another login\n",
    ],
    [
      "when the token endpoint redirects",
      "/oauth2/token",
      (_, url) => Response.redirect(`${url.origin}/elsewhere`, 307),
      "it answered with a redirect (307)\n",
    ],
  ];
  for (const [name, path, answer, error] of rows) {
    await t.step(name, async () => {
      await using provider = await startOAuthProvider({ answers: { [path]: answer } });
      await using login = await startXai(provider);
      await browse(provider, await login.said(ADDRESS));
      const { code, stdout, stderr } = await login.end();
      assertEquals([code, stdout], [1, ""]);
      assertStringIncludes(stderr, error);
      assert(!stderr.includes("secret"), stderr);
      for (const secret of provider.secrets) assert(!stderr.includes(secret), stderr);
      assertEquals(provider.calls.filter((call) => call.path === "/elsewhere"), []);
    });
  }
});

Deno.test("oauth xai says --port when the port is in use", async () => {
  await using provider = await startOAuthProvider();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr;
  await using login = await startXai(provider, "--port", String(port));
  const { code, stdout, stderr } = await login.end();
  assertEquals([code, stdout], [1, ""]);
  assertStringIncludes(stderr, `error: cannot listen on 127.0.0.1:${port}: the port is in use\n`);
  assertStringIncludes(stderr, "--port");
});

Deno.test("an interrupted login ends with 1, one line and nothing on stdout", async (t) => {
  const rows: readonly [name: string, start: (provider: OAuthProvider) => Promise<Login>, what: string][] = [
    ["waiting for the browser", (provider) => startXai(provider), "xAI"],
    ["waiting for a device", startGitHub, "GitHub"],
  ];
  for (const [name, start, what] of rows) {
    await t.step(name, async () => {
      await using provider = await startOAuthProvider({
        device: { interval: 600 },
      });
      await using login = await start(provider);
      await login.said(/(Waiting)/);
      login.process.kill("SIGINT");
      const { code, stdout, stderr } = await login.end();
      assertEquals([code, stdout], [1, ""]);
      assertStringIncludes(stderr, `error: cannot log in to ${what}: it was interrupted\n`);
    });
  }
});

Deno.test("oauth xai --device logs in without a callback", async () => {
  await using provider = await startOAuthProvider({
    device: { verification_uri_complete: "https://accounts.x.ai/device?user_code=WDJB-MJHT" },
  });
  await using login = await startXai(provider, "--device");
  const { code, stdout, stderr } = await login.end();
  assertEquals(code, 0, stderr);
  const { type, access_token, refresh_token, id_token } = JSON.parse(stdout);
  assertEquals([type, access_token, refresh_token, id_token], [
    "oauth-xai",
    ACCESS_TOKEN,
    REFRESH_TOKEN,
    undefined,
  ]);
  assertStringIncludes(stderr, "    WDJB-MJHT\n");
  assertStringIncludes(stderr, "    https://accounts.x.ai/device?user_code=WDJB-MJHT\n");
  assert(!stderr.includes(DEVICE_CODE), stderr);
  assertEquals(provider.calls.map(({ path }) => path), [
    "/.well-known/openid-configuration",
    "/oauth2/device/code",
    "/oauth2/token",
  ]);
});

Deno.test("oauth github-app-user prints adoptable JSON after pending answers with status 200", async () => {
  let polls = 0;
  await using provider = await startOAuthProvider({
    answers: {
      "/login/oauth/access_token": () =>
        ++polls === 1 ? json(200, { error: "authorization_pending" }) : undefined,
    },
  });
  await using login = await startGitHub(provider);
  const { code, stdout, stderr } = await login.end();
  assertEquals(code, 0, stderr);
  const { expires_at, refresh_token_expires_at, obtained_at, ...rest } = JSON.parse(stdout);
  assertEquals(rest, {
    type: "github-app-user",
    client_id: "Iv1.app",
    access_token: ACCESS_TOKEN,
    refresh_token: REFRESH_TOKEN,
    token_type: "bearer",
    token_endpoint: `${provider.issuer}/login/oauth/access_token`,
  });
  const obtainedMs = Date.parse(obtained_at);
  assertEquals(Date.parse(expires_at) - obtainedMs, 28_800_000);
  assertEquals(Date.parse(refresh_token_expires_at) - obtainedMs, 15_811_200_000);
  assertStringIncludes(stderr, `Open ${provider.issuer}/device in a browser`);
  assertStringIncludes(stderr, "    WDJB-MJHT\n");
  // On GHES the API is on the server's own host.
  assertStringIncludes(
    stderr,
    "secret create github --host 127.0.0.1 --type github-app-user --value-file FILE\n",
  );
  for (const secret of provider.secrets) assert(!stderr.includes(secret), stderr);
  const [started, ...asked] = provider.calls;
  assertEquals(started?.form, { client_id: "Iv1.app" });
  assertEquals(
    asked.map(({ form }) => form),
    [1, 2].map(() => ({
      client_id: "Iv1.app",
      device_code: DEVICE_CODE,
      grant_type: "urn:ietf:params:oauth:grant-type:device_code",
    })),
  );
});

Deno.test("a login refuses a provider whose certificate nobody vouches for", async () => {
  await using provider = await startOAuthProvider();
  const { caPem } = await proxyAuthority();
  await using login = await startXai({ ...provider, caPem });
  const { code, stdout, stderr } = await login.end();
  assertEquals([code, stdout], [1, ""]);
  assertEquals(
    stderr,
    `error: cannot reach ${new URL(provider.issuer).host}: its certificate is not trusted\n` +
      "hint: name the CA that signed it with --ca-file\n",
  );
  assertEquals(provider.calls, []);
});
