/** A login that a host CLI shares: its file is read, and never trusted further than it deserves. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { readTrustedFile } from "../../../secrets/source_file.ts";
import { FakeProvider } from "../../support/fake_provider.ts";
import { Rig } from "./support.ts";

const HOUR = 3_600_000;

async function withFile(run: (path: string, dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-source-" });
  try {
    await run(`${dir}/auth.json`, dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function codexLogin(provider: FakeProvider, expiresAt: number, more: Record<string, unknown> = {}) {
  return {
    access_token: provider.accessToken,
    refresh_token: provider.refreshToken,
    account_id: "acc-1",
    expires_at: expiresAt,
    token_endpoint: provider.tokenEndpoint,
    ...more,
  };
}

async function write(path: string, value: unknown): Promise<void> {
  await Deno.writeTextFile(path, typeof value === "string" ? value : JSON.stringify(value), { mode: 0o600 });
}

Deno.test("a source file that a host CLI has renewed is adopted instead of renewing", async () => {
  await withFile(async (path) => {
    await using provider = await FakeProvider.start();
    await using rig = await Rig.start();
    const login = codexLogin(provider, rig.clock.now() + HOUR);
    await write(path, login);
    const { version } = await rig.adopt("oauth-codex", login, { sourceFile: path });
    provider.rotateElsewhere();
    await write(path, codexLogin(provider, rig.clock.now() + 3 * HOUR));
    rig.clock.advance(HOUR);
    assertEquals(await rig.bearer(), provider.accessToken);
    assertEquals([provider.refreshes, rig.credentials.outcomes().adopted], [0, 1]);
    const record = rig.state.getSecret("login");
    assertEquals([record?.version, record?.adoptedAt, record?.refreshedAt], [
      version,
      rig.clock.now(),
      undefined,
    ]);
  });
});

Deno.test("a source file that has not changed never takes back our own renewal, across a restart", async () => {
  await withFile(async (path, dir) => {
    await using provider = await FakeProvider.start();
    const login = codexLogin(provider, 1);
    await write(path, login);
    const first = await Rig.start({ dir: `${dir}/state` });
    await first.adopt("oauth-codex", login, { sourceFile: path });
    await first.bearer();
    await first.close();
    await using second = await Rig.start({ dir: `${dir}/state`, clock: first.clock });
    second.clock.advance(2 * HOUR);
    assertEquals(await second.bearer(), provider.accessToken);
    assertEquals([provider.refreshes, second.credentials.outcomes().adopted], [2, 0]);
  });
});

Deno.test("a source file that does not say when its token ends never takes back our own renewal either", async () => {
  await withFile(async (path) => {
    await using provider = await FakeProvider.start();
    await using rig = await Rig.start();
    const login = { ...codexLogin(provider, 1), expires_at: undefined };
    await write(path, login);
    await rig.adopt("oauth-codex", login, { sourceFile: path });
    for (const renewals of [1, 2]) {
      assertEquals(
        await rig.credentials.rejected(await rig.credential(), { status: 401 }),
        await rig.credential(),
      );
      assertEquals([await rig.bearer(), provider.refreshes], [provider.accessToken, renewals]);
      rig.clock.advance(120_000);
    }
    assertEquals(rig.credentials.outcomes(), { renewed: 2, adopted: 0, failed: 0, refused: 0 });
  });
});

Deno.test("a refused login is taken up again as soon as its source file has a new one", async () => {
  await withFile(async (path) => {
    await using provider = await FakeProvider.start();
    await using rig = await Rig.start();
    const login = codexLogin(provider, rig.clock.now() + HOUR);
    await write(path, login);
    await rig.adopt("oauth-codex", login, { sourceFile: path });
    provider.rotateElsewhere();
    rig.clock.advance(2 * HOUR);
    await assertRejects(() => rig.bearer(), ProxyError, "must be renewed on the host");
    provider.rotateElsewhere(); // somebody logs in anew
    await write(path, codexLogin(provider, rig.clock.now() + HOUR));
    rig.clock.advance(30_000);
    await rig.until(() => rig.credentials.outcomes().adopted === 1, "the new login");
    assertEquals([await rig.bearer(), rig.state.getSecret("login")?.error], [
      provider.accessToken,
      undefined,
    ]);
    assertEquals(provider.refreshes, 1);
  });
});

Deno.test("aws: temporary keys are taken from their file again, whichever part of them is new", async (t) => {
  const keys = {
    access_key_id: "AKIAREALREALREALREAL",
    secret_access_key: "secret/1",
    session_token: "tok1",
  };
  const rows = [
    { access_key_id: "AKIAOTHEROTHEROTHERX" },
    { secret_access_key: "secret/2" },
    { session_token: "tok2" },
  ];
  for (const part of rows) {
    await t.step(Object.keys(part).join(), async () => {
      await withFile(async (path) => {
        await using rig = await Rig.start();
        const login = { ...keys, expires_at: rig.clock.now() + HOUR };
        await write(path, login);
        await rig.adopt("aws", login, { sourceFile: path });
        await write(path, { ...keys, ...part, expires_at: rig.clock.now() + 3 * HOUR });
        rig.clock.advance(HOUR);
        const { access_key_id, secret_access_key, session_token } = { ...keys, ...part };
        assertEquals((await rig.credential()).aws, {
          accessKeyId: access_key_id,
          secretAccessKey: secret_access_key,
          sessionToken: session_token,
        });
      });
    });
  }
});

Deno.test("a source file that is being written is read again", async () => {
  await withFile(async (path) => {
    await using provider = await FakeProvider.start();
    await using rig = await Rig.start();
    const login = codexLogin(provider, rig.clock.now() + HOUR);
    await rig.adopt("oauth-codex", login, { sourceFile: path });
    provider.rotateElsewhere();
    const text = JSON.stringify(codexLogin(provider, rig.clock.now() + 3 * HOUR));
    await write(path, text.slice(0, 20));
    rig.clock.advance(HOUR);
    const waiting = rig.bearer();
    await new Promise((resolve) => setTimeout(resolve, 20));
    await write(path, text);
    assertEquals([await waiting, provider.refreshes], [provider.accessToken, 0]);
  });
});

Deno.test("a source file is not used when it is another login or could be somebody else's work", async (t) => {
  const rows: readonly {
    readonly name: string;
    readonly make: (path: string, provider: FakeProvider, expiresAt: number) => Promise<void>;
    readonly words: string;
  }[] = [
    {
      name: "another account",
      make: (path, provider, at) => write(path, codexLogin(provider, at, { account_id: "acc-2" })),
      words: "another account or endpoint",
    },
    {
      name: "another endpoint",
      make: (path, provider, at) =>
        write(path, codexLogin(provider, at, { token_endpoint: "https://evil.test/" })),
      words: "another account or endpoint",
    },
    {
      name: "a link",
      make: async (path, provider, at) => {
        await write(`${path}.real`, codexLogin(provider, at));
        await Deno.symlink(`${path}.real`, path);
      },
      words: "it is a link",
    },
    {
      name: "writable by its group",
      make: async (path, provider, at) => {
        await write(path, codexLogin(provider, at));
        await Deno.chmod(path, 0o620);
      },
      words: "others can write to it",
    },
    { name: "a folder", make: (path) => Deno.mkdir(path), words: "no regular file" },
    { name: "nothing", make: () => Promise.resolve(), words: "no such file" },
    { name: "another file", make: (path) => write(path, { planted: 1 }), words: "no access_token" },
    {
      name: "an older copy",
      make: (path, provider, at) => write(path, codexLogin(provider, at - 9 * HOUR)),
      words: "",
    },
  ];
  for (const { name, make, words } of rows) {
    await t.step(name, async () => {
      await withFile(async (path) => {
        await using provider = await FakeProvider.start();
        await using rig = await Rig.start();
        await rig.adopt("oauth-codex", codexLogin(provider, rig.clock.now() + HOUR), { sourceFile: path });
        await using other = await FakeProvider.start();
        await make(
          path,
          { ...codexTokens(other), tokenEndpoint: provider.tokenEndpoint } as FakeProvider,
          rig.clock.now() + 5 * HOUR,
        );
        rig.clock.advance(HOUR);
        assertEquals(await rig.bearer(), provider.accessToken);
        assertEquals([provider.refreshes, rig.credentials.outcomes().adopted], [1, 0]);
        assertStringIncludes(rig.log.join("\n"), words);
        assertEquals(rig.log.join("\n").includes("planted"), false);
      });
    });
  }
});

function codexTokens({ accessToken, refreshToken }: FakeProvider) {
  return { accessToken, refreshToken };
}

Deno.test("readTrustedFile() refuses the files of other users unless an operator has vouched for them", async (t) => {
  if (Deno.uid() !== 0) return;
  await withFile(async (path) => {
    await write(path, "text\n");
    await Deno.chown(path, 4_242, 4_242);
    await t.step("another user's", async () => {
      await assertRejects(() => readTrustedFile(path, "file"), ProxyError, "belongs to another user");
      await assertRejects(() => readTrustedFile(path, "file", 4_243), ProxyError, "belongs to another user");
    });
    await t.step("vouched for", async () => assertEquals(await readTrustedFile(path, "file", 4_242), "text"));
    await t.step("too long", async () => {
      await write(path, "x".repeat(65_536));
      assertEquals((await readTrustedFile(path, "file", 4_242)).length, 65_536);
      await write(path, "x".repeat(65_537));
      await assertRejects(() => readTrustedFile(path, "file", 4_242), ProxyError, "above 65536 bytes");
    });
  });
});
