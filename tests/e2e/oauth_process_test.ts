/** Adopted logins in the real program: through restarts and kills, and nowhere to be found afterwards. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { generateKeyPairSync } from "node:crypto";
import { quoteShell } from "../../core/escape.ts";
import { readRequest, type SeenRequest, startRawUpstream, type Upstream } from "../support/echo_upstream.ts";
import { FakeProvider, header } from "../support/fake_provider.ts";
import { everyByteIn, leaksIn } from "../support/leaks.ts";
import { answer, get } from "../support/login_stage.ts";
import { ACCESS_TOKEN, startOAuthProvider } from "../support/oauth_provider.ts";
import { type Daemon, Program, programCommand } from "../support/program.ts";
import { openTlsTunnel, RawPeer } from "../support/raw_peer.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

const UP = ["--allow-cidr", "127.0.0.0/8,::1/128", "--upstream-ca", "upstream.pem"];
const PROVIDER = "127.0.0.1";

/** A folder with the program in it, an upstream on `localhost`, and everything that was ever said. */
class Site implements AsyncDisposable {
  readonly dir: string;
  readonly program: Program;
  readonly upstream: Upstream;
  /** The only `Authorization` values that the upstream takes; any while it is undefined. */
  accepted: Set<string> | undefined;
  /** Whatever the program has said on any channel. */
  said = "";
  daemon: Daemon | undefined;
  #token = "";

  private constructor(dir: string, upstream: Upstream) {
    this.dir = dir;
    this.program = new Program(dir);
    this.upstream = upstream;
  }

  static async start(): Promise<Site> {
    const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-oauth-" }));
    await Deno.writeTextFile(`${dir}/upstream.pem`, (await upstreamAuthority()).caPem);
    const seen: SeenRequest[] = [];
    const upstream = await startRawUpstream(async (peer) => {
      for (;;) {
        const request = await readRequest(peer);
        if (!request) return;
        seen.push(request);
        const isRight = site.accepted?.has(header(request, "authorization")) ?? true;
        await peer.send(answer(isRight ? 200 : 401, isRight ? "welcome" : "who are you?").join(""));
      }
    }, { names: ["localhost"] });
    const site = new Site(dir, Object.defineProperty(upstream, "seen", { value: seen }));
    await site.up();
    site.#token = await site.run("client", "create", "one");
    return site;
  }

  async up(): Promise<void> {
    this.daemon = await this.program.up(UP);
  }

  /** Ends the daemon, and keeps what it has said. */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<void> {
    await this.daemon?.end(signal);
    this.said += (this.daemon?.stdout.text ?? "") + (this.daemon?.stderr.text ?? "");
    this.daemon = undefined;
  }

  /** A command that has to succeed. */
  async run(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.program.run(args);
    this.said += stdout + stderr;
    assertEquals(code, 0, `${args.join(" ")}: ${stderr}`);
    return stdout.trimEnd();
  }

  /** Adopts what a file holds, and lets the client use it on its path. */
  async adopt(name: string, type: string, value: unknown, ...flags: string[]): Promise<void> {
    const file = `${this.dir}/${name}.json`;
    await Deno.writeTextFile(file, typeof value === "string" ? value : JSON.stringify(value), {
      mode: 0o600,
    });
    await this.run(
      "secret",
      "create",
      name,
      "--host",
      "localhost",
      "--type",
      type,
      "--from-file",
      file,
      ...flags,
    );
    await Deno.remove(file);
  }

  async allow(name: string, path: string): Promise<void> {
    const port = String(this.upstream.port);
    await this.run("allow", "one", "--host", "localhost", "--port", port, "--path", path, "--secret", name);
  }

  /** A request of the client; answers its status and body. */
  async ask(path: string): Promise<{ readonly status: number; readonly body: string }> {
    const target = `localhost:${this.upstream.port}`;
    const ca = await Deno.readTextFile(`${this.dir}/.slicer/ca/sbox/ca.crt`);
    using peer = await openTlsTunnel(this.daemon?.httpPort ?? 0, target, this.#token, ca);
    await peer.send(get(target).replace("/v1/messages", path));
    const { status, head, body } = await peer.readResponse();
    this.said += head + body;
    return { status, body };
  }

  /** What the last request carried. */
  get lastAuthorization(): string {
    const last = this.upstream.seen.at(-1);
    return last ? header(last, "authorization") : "";
  }

  async secret(name: string): Promise<Record<string, unknown>> {
    const list: Record<string, unknown>[] = JSON.parse(await this.run("secret", "list", "--json"));
    return list.find((each) => each.name === name) ?? {};
  }

  /** Everything that is on the disk and everything that was said. */
  async everything(): Promise<string> {
    return this.said + await everyByteIn(this.dir);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGKILL");
    await this.upstream[Symbol.asyncDispose]();
    await Deno.remove(this.dir, { recursive: true });
  }
}

async function until(isSo: () => boolean, what: string): Promise<void> {
  for (const end = performance.now() + 20_000; !isSo();) {
    if (performance.now() > end) throw new Error(`did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The metrics page, over the API's socket. */
async function metrics(site: Site): Promise<string> {
  using peer = new RawPeer(
    await Deno.connect({
      transport: "unix",
      path: `${site.dir}/.slicer/proxy/api.sock`,
    }) as unknown as Deno.Conn,
  );
  await peer.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  return await peer.readAll();
}

/** A login whose access token has ended. */
function ended({ accessToken, refreshToken, tokenEndpoint }: FakeProvider): Record<string, unknown> {
  return {
    access_token: accessToken,
    refresh_token: refreshToken,
    token_endpoint: tokenEndpoint,
    expires_at: "2020-01-01T00:00:00Z",
  };
}

interface Row {
  readonly name: string;
  readonly type: string;
  readonly value: (provider: FakeProvider) => unknown;
  /** What the request carries. */
  readonly carries: (provider: FakeProvider) => string;
  readonly path?: string;
  /** Its refresh tokens are used up, and new ones have to survive. */
  readonly rotates?: true;
}

const { publicKey, privateKey } = generateKeyPairSync("rsa", {
  modulusLength: 2_048,
  publicKeyEncoding: { type: "spki", format: "pem" },
  privateKeyEncoding: { type: "pkcs1", format: "pem" },
});
const CLIENT_SECRET = "planted secret+%";
const bearer = ({ accessToken }: FakeProvider) => `Bearer ${accessToken}`;
const ROWS: readonly Row[] = [
  {
    name: "claude",
    type: "oauth-claude",
    value: (provider) => ({
      claudeAiOauth: {
        accessToken: provider.accessToken,
        refreshToken: provider.refreshToken,
        expiresAt: 1_577_836_800_000,
        scopes: ["user:inference"],
      },
      token_endpoint: provider.tokenEndpoint,
    }),
    carries: bearer,
    rotates: true,
  },
  {
    name: "codex",
    type: "oauth-codex",
    value: (provider) => ({ ...ended(provider), account_id: "acct-1" }),
    carries: bearer,
    rotates: true,
  },
  { name: "xai", type: "oauth-xai", value: ended, carries: bearer, rotates: true },
  {
    name: "github-me",
    type: "github-app-user",
    value: (provider) => ({ ...ended(provider), client_id: "Iv1.x" }),
    carries: bearer,
    rotates: true,
  },
  {
    name: "copilot",
    type: "oauth-github-copilot",
    value: ({ origin }) => ({
      access_token: "ghu_planted_copilot",
      token_endpoint: `${origin}/copilot_internal/v2/token`,
    }),
    carries: ({ accessToken }) => `Bearer tid=${accessToken};exp=1`,
  },
  {
    name: "billing",
    type: "oauth-client-creds",
    value: ({ tokenEndpoint }) => ({
      token_endpoint: tokenEndpoint,
      client_id: "id:1",
      client_secret: CLIENT_SECRET,
    }),
    carries: bearer,
  },
  {
    name: "github-app",
    type: "github-app",
    value: ({ origin }) => `app_id: 12\nprivate_key_file: app.pem\napi_endpoint: ${origin}\n`,
    carries: ({ accessToken }) => `Basic ${btoa(`x-access-token:ghs_${accessToken}`)}`,
    path: "/acme/widgets.git/info/refs",
  },
];

Deno.test("every type of login, from a file, in use, after a restart, and in no byte of what is left", async () => {
  await using stack = new AsyncDisposableStack();
  const site = stack.use(await Site.start());
  const logins: { readonly row: Row; readonly provider: FakeProvider; readonly path: string }[] = [];
  const secrets = new Set([CLIENT_SECRET, "ghu_planted_copilot", privateKey.slice(200, 260)]);
  await Deno.writeTextFile(`${site.dir}/app.pem`, privateKey, { mode: 0o600 });
  for (const row of ROWS) {
    const provider = stack.use(await FakeProvider.start({ host: PROVIDER, appPublicKeyPem: publicKey }));
    const path = row.path ?? `/${row.name}/x`;
    logins.push({ row, provider, path });
    await site.adopt(row.name, row.type, row.value(provider));
    await site.allow(row.name, path);
  }
  const askAll = async () => {
    for (const { row, provider, path } of logins) {
      assertEquals((await site.ask(path)).status, 200, row.name);
      assertEquals(site.lastAuthorization, row.carries(provider), row.name);
    }
  };
  const asked = () => logins.map(({ row, provider }) => [row.name, provider.seen.length]);
  await askAll();
  const before = asked();
  for (const { row, provider } of logins) if (row.rotates) assertEquals(provider.seen.length, 1, row.name);

  await site.stop();
  await site.up();
  await askAll();
  // What rotates was on the disk; what does not is fetched again, and lives in memory alone.
  const again = logins.map(({ row }, i) => [row.name, Number(before[i]?.[1]) * (row.rotates ? 1 : 2)]);
  assertEquals(asked(), again);

  // The upstreams take these tokens back: what is renewed now is renewed with what survived.
  site.accepted = new Set();
  for (const { row, provider, path } of logins) {
    const old = provider.accessToken;
    assertEquals((await site.ask(path)).status, 401, row.name);
    assert(provider.accessToken !== old, `${row.name} was not renewed`);
    assertEquals(site.lastAuthorization, row.carries(provider), row.name);
  }
  // One login is used up elsewhere: the provider's refusal quotes it, and what we say must not.
  site.accepted = undefined;
  const [used] = logins;
  assert(used);
  const stale = used.row.value(used.provider);
  used.provider.rotateElsewhere();
  await site.adopt(used.row.name, used.row.type, stale, "--force");
  const { status, body } = await site.ask(used.path);
  assertEquals(status, 502);
  assertStringIncludes(body, "the login must be renewed on the host");

  for (const { row, provider } of logins) {
    const listed = await site.secret(row.name);
    assertEquals([listed.type, listed.error !== undefined], [row.type, row === used.row], row.name);
    assertEquals("refreshed_at" in listed, row.rotates === true && row !== used.row, row.name);
    assertEquals("value" in listed, false);
    for (const secret of provider.issued) secrets.add(secret);
  }
  await site.run("secret", "list");
  await site.run("rules", "one");
  await site.run("status");
  assertMatch(await site.run("status", "--json"), /"renewals"/);
  const page = await metrics(site);
  assertMatch(page, /^slicer_proxy_\w*renewals\w*\{[^}]*\} [1-9]/m);
  site.said += page;
  await site.stop();
  await Deno.remove(`${site.dir}/app.pem`); // where the key is, and nowhere else
  assertEquals(leaksIn(await site.everything(), secrets), []);
  assert(secrets.size > 30, `only ${secrets.size} secrets were searched for`);
});

const LOST =
  /the login must be renewed on the host: the token endpoint refused it \(invalid_grant\); the answer to a renewal of [\dT:.-]+Z was lost/;

Deno.test("kill -9 during a renewal: what the provider has not done and what we have written is not lost, and all else is said", async (t) => {
  await using stack = new AsyncDisposableStack();
  const provider = stack.use(await FakeProvider.start({ host: PROVIDER }));
  const site = stack.use(await Site.start());
  /** Somebody logs in on the host, and we adopt a login whose access token has ended: it is renewed at once. */
  const adopt = async (mood?: "stuck" | "slow") => {
    provider.rotateElsewhere();
    if (mood) provider.moods.push(mood);
    const before = provider.refreshes;
    await site.adopt("xai", "oauth-xai", ended(provider), "--force");
    await until(() => provider.refreshes === before + 1, "a renewal");
  };
  const killAndStart = async (delayMs = 0) => {
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
    await site.stop("SIGKILL");
    provider.release();
    assertEquals(leaksIn(await site.everything(), provider.issued), []);
    await site.up();
  };
  /** True when it goes on with the provider's newest token. */
  const works = async () => {
    const { status, body } = await site.ask("/x");
    if (status === 200) assertEquals(site.lastAuthorization, `Bearer ${provider.accessToken}`);
    else {
      assertEquals(status, 502);
      assertMatch(body, LOST);
    }
    return status === 200;
  };

  await t.step("before the provider has done anything: the next start asks with the same token", async () => {
    await adopt("stuck");
    await site.allow("xai", "/x");
    const before = provider.refreshes;
    await killAndStart();
    assert(await works());
    assertEquals(provider.refreshes, before + 1);
  });

  await t.step("after our commit: the next start goes on with it", async () => {
    await adopt();
    assert(await works());
    const before = provider.refreshes;
    await killAndStart();
    assert(await works());
    assertEquals(provider.refreshes, before);
  });

  await t.step(
    "after the provider's work and before our commit: the login is lost, and everybody is told",
    async () => {
      await adopt("slow");
      const before = provider.refreshes;
      await killAndStart();
      assertEquals(await works(), false);
      assertMatch(String((await site.secret("xai")).error), LOST);
      await killAndStart();
      assertEquals(await works(), false);
      assertEquals(provider.refreshes, before + 1); // once refused, not asked again, not after a restart either
    },
  );

  for (const delayMs of [1, 4, 8, 16, 32]) {
    await t.step(`${delayMs} ms after the answer: one or the other, and a new login works`, async () => {
      await adopt("slow");
      provider.release();
      await killAndStart(delayMs);
      const before = provider.refreshes;
      if (!await works()) return assertMatch(String((await site.secret("xai")).error), LOST);
      assertEquals(provider.refreshes, before);
    });
  }
});

Deno.test("what the logins print, secret create adopts from a pipe", async (t) => {
  await using stack = new AsyncDisposableStack();
  const provider = stack.use(await startOAuthProvider());
  const site = stack.use(await Site.start());
  const command = (...words: string[]) => {
    const { command, args } = programCommand(words);
    return [command, ...args].map(quoteShell).join(" ");
  };
  const rows = [
    { name: "xai", type: "oauth-xai", login: ["xai", "--device", "--issuer", provider.issuer] },
    {
      name: "github-me",
      type: "github-app-user",
      login: ["github-app-user", "--client-id", "Iv1.app", "--github-url", provider.issuer],
    },
  ];
  for (const { name, type, login } of rows) {
    await t.step(type, async () => {
      const from = command("oauth", ...login, "--ca-file", "upstream.pem");
      const to = command(
        "secret",
        "create",
        name,
        "--host",
        "localhost",
        "--type",
        type,
        "--value-file",
        "-",
      );
      const { code, stdout, stderr } = await new Deno.Command("sh", {
        args: ["-c", `${from} | ${to}`],
        cwd: site.dir,
        clearEnv: true,
        env: site.program.environment(),
      }).output();
      const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
      assertEquals(code, 0, said);
      assertStringIncludes(said, `stored secret ${name} for localhost\n`);
      site.said += said;
      await site.allow(name, `/${name}/x`);
      assertEquals((await site.ask(`/${name}/x`)).status, 200);
      assertEquals(site.lastAuthorization, `Bearer ${ACCESS_TOKEN}`);
      assertEquals((await site.secret(name)).error, undefined);
    });
  }
  await site.stop();
  assertEquals(leaksIn(await site.everything(), provider.secrets), []);
});

Deno.test("leaksIn() finds a secret in each form, and no secret that is not there", () => {
  const secret = "planted-secret+%-of-some-length";
  const rows = [
    secret,
    encodeURIComponent(secret),
    [...secret].join("\0"),
    ...["", "x", "xx"].map((before) => btoa(`${before}${secret}yy`)),
    [...secret].map((letter) => letter.charCodeAt(0).toString(16)).join(""),
  ];
  for (const row of rows) {
    assertEquals(leaksIn(`before ${row} after`, [secret, "another one"]), [secret], row);
  }
  assertEquals(leaksIn("planted-secret", [secret]), []);
});
