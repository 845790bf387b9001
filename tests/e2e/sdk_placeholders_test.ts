/**
 * The SDKs that agents are built with start on the placeholders that `env` gives them, and what they send through the proxy
 * arrives with the real credential. They come from the npm registry, once; where that cannot be reached they are left out.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { variablesFor } from "../../cli/env/tools.ts";
import { hasPlaceholder } from "../../policy/placeholder.ts";
import { runProgram } from "../support/programs.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

interface Sdk {
  readonly host: string;
  readonly type: string;
  readonly header: readonly [string, string];
  readonly imports: readonly string[];
  /** Lines of a program; `origin` is the place of the API. */
  readonly program: string;
}

const SDKS: readonly Sdk[] = [
  {
    host: "api.openai.com",
    type: "bearer",
    header: ["Authorization", "Bearer real-openai"],
    imports: ["npm:openai@4.104.0"],
    program: "await new sdk.default({ baseURL: `${origin}/v1`, maxRetries: 0 }).models.list();",
  },
  {
    host: "api.anthropic.com",
    type: "header",
    header: ["x-api-key", "real-anthropic"],
    imports: ["npm:@anthropic-ai/sdk@0.39.0"],
    program: "await new sdk.default({ baseURL: origin, maxRetries: 0 }).models.list();",
  },
  {
    host: "api.github.com",
    type: "bearer",
    header: ["Authorization", "Bearer real-github"],
    imports: ["npm:@octokit/rest@21.1.1"],
    program: "await new sdk.Octokit({ auth: Deno.env.get('GH_TOKEN'), baseUrl: origin }).rest.users" +
      ".getAuthenticated();",
  },
];

Deno.test("SDKs start on placeholders, and the proxy replaces them", async (t) => {
  const dir = await Deno.makeTempDir({ prefix: "slicer-sdks-" });
  await using _ = { [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
  const { certPem, keyPem } = await (await upstreamAuthority()).issue(SDKS.map(({ host }) => host));
  const seen: { readonly url: string; readonly headers: ReadonlyMap<string, string> }[] = [];
  await using upstream = Deno.serve(
    { hostname: "127.0.0.1", port: 0, cert: certPem, key: keyPem, onListen: () => {} },
    (request) => {
      seen.push({ url: request.url, headers: new Map(request.headers) });
      return Response.json({ object: "list", data: [], has_more: false, login: "octocat" });
    },
  );
  await using proxy = await startTestProxy({ resolve: () => Promise.resolve(["127.0.0.1"]) });
  await Deno.writeTextFile(`${dir}/ca.pem`, proxy.caPem);
  for (const { host, type, header, imports, program } of SDKS) {
    await t.step(imports.join(", "), async () => {
      const file = `${dir}/${host}.ts`;
      await Deno.writeTextFile(
        file,
        `import * as sdk from ${JSON.stringify(imports[0])};\n` +
          `const origin = "https://${host}:${upstream.addr.port}";\n${program}\nconsole.log("done");\n`,
      );
      const deno = (args: string[], env: Record<string, string>) =>
        runProgram(Deno.execPath(), args, { cwd: dir, env, ms: 120_000 });
      const cached = await deno(["cache", "--no-config", "--no-check", "-q", file], {});
      if (cached.code !== 0) {
        Deno.stderr.writeSync(new TextEncoder().encode(`skipping ${imports[0]}: npm cannot be reached\n`));
        return;
      }
      proxy.policy.setCredential({ secret: host, host, headers: [header] });
      proxy.policy.allow("one", { host, ports: [upstream.addr.port], secret: host });
      const variables = variablesFor({ type, host, env: [] }, (other) => other === host);
      const { code, stdout, stderr } = await deno([
        "run",
        "--no-config",
        "--no-check",
        "--cached-only",
        "-A",
        file,
      ], {
        ...Object.fromEntries(variables),
        HTTPS_PROXY: `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}`,
        DENO_CERT: `${dir}/ca.pem`,
      });
      assertEquals([code, stdout], [0, "done\n"], stderr);
      const request = seen.at(-1);
      assertStringIncludes(request?.url ?? "", host);
      assertEquals(request?.headers.get(header[0].toLowerCase()), header[1]);
      assertEquals([...request?.headers.values() ?? []].filter(hasPlaceholder), []);
    });
  }
});
