/** The commands of docs/CREDENTIALS.md, as typed, against the real program; and no credential is found anywhere after. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { upstreamAuthority } from "../support/test_authority.ts";
import { Program } from "../support/program.ts";

const DOCUMENT = new URL("../../docs/CREDENTIALS.md", import.meta.url);

/** A JWT that ends in a day, unsigned. */
function jwt(claims: Record<string, unknown>): string {
  const part = (value: unknown) =>
    btoa(JSON.stringify(value)).replace(/=+$/, "").replaceAll("+", "-").replaceAll("/", "_");
  return `${part({ alg: "none" })}.${
    part({ exp: Math.floor(Date.now() / 1_000) + 86_400, ...claims })
  }.planted-signature`;
}

/** The files that the examples name, in their documented shapes. */
async function sourceFiles(): Promise<Record<string, string>> {
  const inADay = Date.now() + 86_400_000;
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2_048 });
  const pem = privateKey.export({ type: "pkcs1", format: "pem" }).toString();
  const { certPem, keyPem } = await (await upstreamAuthority()).issue(["client.test"]);
  const locked = createPrivateKey(keyPem).export({
    ...{ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "planted-passphrase" },
  });
  return {
    "client.pem": certPem + keyPem,
    "locked.pem": `${certPem}${locked}`,
    "passphrase.txt": "planted-passphrase\n",
    "llm-key.txt": "planted-llm-key\n",
    "model-key.txt": "planted-model-key\n",
    "registry.txt": "robot:planted-password\n",
    "search.txt": "X-Api-Key: planted-search-key\n",
    "maps.txt": "key=planted-maps-key\n",
    "bot.txt": "123:planted-bot\n",
    ".claude/.credentials.json": JSON.stringify({
      claudeAiOauth: {
        accessToken: "sk-ant-oat01-planted-claude",
        refreshToken: "sk-ant-ort01-planted-claude",
        expiresAt: inADay,
        scopes: ["user:inference"],
      },
      organizationUuid: "11111111-2222-3333-4444-555555555555",
    }),
    ".codex/auth.json": JSON.stringify({
      tokens: {
        id_token: jwt({ sub: "planted-id" }),
        access_token: jwt({ sub: "planted-access" }),
        refresh_token: "planted-codex-refresh",
        account_id: "acct-1",
      },
      last_refresh: new Date().toISOString(),
    }),
    ".local/share/opencode/auth.json": JSON.stringify({
      "github-copilot": {
        type: "oauth",
        refresh: "gho_plantedcopilot",
        access: "gho_plantedcopilot",
        expires: 0,
      },
    }),
    "xai.json": JSON.stringify({
      type: "oauth-xai",
      access_token: jwt({ sub: "planted-xai" }),
      refresh_token: "planted-xai-refresh",
      token_endpoint: "https://auth.x.ai/oauth2/token",
      obtained_at: new Date().toISOString(),
    }),
    "billing.json": JSON.stringify({
      token_endpoint: "https://login.example.com/token",
      client_id: "id",
      client_secret: "planted-client-secret",
    }),
    "crm.json": JSON.stringify({
      token_endpoint: "https://login.example.com/token",
      client_id: "id",
      refresh_token: "planted-crm-refresh",
    }),
    "signer.json": JSON.stringify({
      token_endpoint: "https://login.example.com/token",
      issuer: "me",
      private_key: pem,
    }),
    "gcp-key.json": JSON.stringify({
      type: "service_account",
      private_key_id: "1",
      private_key: pem,
      client_email: "robot@p.iam.gserviceaccount.com",
      token_uri: "https://oauth2.googleapis.com/token",
    }),
    "github.json": JSON.stringify({
      access_token: "ghu_plantedme",
      refresh_token: "ghr_plantedme",
      client_id: "Iv1.x",
      expires_at: new Date(inADay).toISOString(),
    }),
    "aws.json": JSON.stringify({
      access_key_id: "AKIAPLANTED000000000",
      secret_access_key: "planted/aws+secret/access/key",
      role_arn: "arn:aws:iam::123456789012:role/vm",
    }),
    "app.pem": pem,
    "app.yaml": "app_id: 12\nprivate_key_file: app.pem\n",
  };
}

async function everyByteIn(dir: string): Promise<string> {
  let text = "";
  for await (const entry of Deno.readDir(dir)) {
    const path = `${dir}/${entry.name}`;
    if (entry.isDirectory) text += await everyByteIn(path);
    else if (entry.isFile) text += new TextDecoder("latin1").decode(await Deno.readFile(path));
  }
  return text;
}

Deno.test("the commands of docs/CREDENTIALS.md work as typed, and no credential is found in state, log or list", async () => {
  const commands = (await Deno.readTextFile(DOCUMENT)).split("\n").filter((line) =>
    /^slicer-proxy (secret|allow) /.test(line)
  );
  assert(commands.length >= 32, "the examples are gone");
  const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-credentials-" }));
  try {
    const files = await sourceFiles();
    for (const [name, text] of Object.entries(files)) {
      await Deno.mkdir(`${dir}/${name}`.replace(/\/[^/]*$/, ""), { recursive: true });
      await Deno.writeTextFile(`${dir}/${name}`, text, { mode: 0o600 });
    }
    const program = new Program(dir);
    let said = "";
    {
      await using daemon = await program.up([
        "--state-dir",
        `${dir}/state`,
        "--api-socket",
        `${dir}/state/api.sock`,
      ]);
      const env = { SLICER_URL: `${dir}/state/api.sock` };
      await program.ok(["client", "create", "client1"], { env });
      for (const command of commands) {
        const words = command.replaceAll("~/", `${dir}/`).replaceAll("'", "").split(" ").slice(1);
        const { code, stdout, stderr } = await program.run(words, { env });
        // No host of the examples exists.
        const isTest = command.startsWith("slicer-proxy secret test ");
        assertEquals(code, isTest ? 1 : 0, `${command}\n${stderr}`);
        if (isTest) assertStringIncludes(stderr, "Cannot find api.example.com");
        said += stdout + stderr;
      }
      const list = JSON.parse(await program.ok(["secret", "list", "--json"], { env }));
      assertEquals(list.map(({ type }: { type: string }) => type).sort(), [
        "aws",
        "basic",
        "bearer",
        "bearer",
        "github-app",
        "github-app-user",
        "google-service-account",
        "google-service-account",
        "header",
        "mtls",
        "mtls",
        "oauth-claude",
        "oauth-client-creds",
        "oauth-codex",
        "oauth-github-copilot",
        "oauth-jwt-bearer",
        "oauth-refresh",
        "oauth-xai",
        "path",
        "query",
      ]);
      said += JSON.stringify(list) + await program.ok(["status", "--json"], { env }) +
        await program.ok(["rules", "client1"], { env });
      said += daemon.stdout.text + daemon.stderr.text;
    }
    const found = (said + await everyByteIn(`${dir}/state`)).match(
      /.{0,20}(planted|BEGIN RSA|BEGIN PRIVATE).{0,20}/g,
    );
    assertEquals(found, null);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
