/**
 * A day of a coding agent, in small: it clones, asks a GraphQL API, calls a tool, and does one thing that a person has to
 * approve. What its rules do not say is denied each time, and the log of it all is judged the same afterwards.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { startGitServer } from "../support/git_server.ts";
import { startMcpServer } from "../support/mcp_server.ts";
import { type Daemon, Program } from "../support/program.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { waitUntil } from "../support/sockets.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

const UP = ["--allow-cidr", "127.0.0.0/8,::1/128", "--upstream-ca", "upstream.pem"];
const canRun = hasProgram("git") && hasProgram("curl");

/** The API that the agent asks: answers with the path, and keeps what it was asked. */
async function startApi() {
  const { certPem: cert, keyPem: key } = await (await upstreamAuthority()).issue(["localhost"]);
  const asked: string[] = [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, cert, key, onListen: () => {} },
    async (request) => {
      asked.push(`${new URL(request.url).pathname} ${await request.text()}`);
      return Response.json({ data: {} });
    },
  );
  return { port: server.addr.port, asked, [Symbol.asyncDispose]: () => server.shutdown() };
}

/** What runs in the VM: it knows its token and the proxy's certificate. */
class Agent {
  readonly dir: string;
  readonly proxy: string;
  readonly ca: string;

  constructor(dir: string, token: string, { httpPort }: Daemon) {
    this.dir = dir;
    this.proxy = `http://proxy:${token}@127.0.0.1:${httpPort}`;
    this.ca = `${dir}/.slicer/ca/sbox/ca.crt`;
  }

  git(...args: string[]) {
    return runProgram("git", args, {
      cwd: this.dir,
      ms: 60_000,
      env: {
        ...{ HOME: this.dir, GIT_CONFIG_NOSYSTEM: "1", GIT_TERMINAL_PROMPT: "0", GIT_SSL_CAINFO: this.ca },
        ...{ https_proxy: this.proxy, NO_PROXY: "" },
      },
    });
  }

  /** Posts JSON. Gives the status and why the proxy denied it. */
  async post(url: string, body: unknown): Promise<string> {
    const { stdout } = await runProgram("curl", [
      ...["-sS", "-o", "/dev/null", "--cacert", this.ca, "-x", this.proxy, "--json", JSON.stringify(body)],
      ...["-w", "%{http_code} %header{x-slicer-proxy-reason}", url],
    ], { ms: 60_000 });
    return stdout.trim();
  }

  /** Lists the tools, calls one, and tries another. */
  async useTools(port: number): Promise<{ readonly tools: readonly string[]; readonly denied: string }> {
    using http = Deno.createHttpClient({
      proxy: { url: this.proxy },
      caCerts: [await Deno.readTextFile(this.ca)],
    });
    const client = new Client({ name: "agent", version: "1" });
    try {
      await client.connect(
        new StreamableHTTPClientTransport(new URL(`https://localhost:${port}/mcp`), {
          fetch: (url: string | URL, init?: RequestInit) => fetch(url, { ...init, client: http }),
        }),
      );
      const { tools } = await client.listTools();
      await client.callTool({ name: "write_file", arguments: {} });
      const denied = await client.callTool({ name: "read_file", arguments: {} }).then(() => "", String);
      return { tools: tools.map(({ name }: { name: string }) => name), denied };
    } finally {
      await client.close();
    }
  }
}

Deno.test(
  { name: "a coding agent under rules in the words of its protocols", ignore: !canRun },
  async (t) => {
    const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-agent-" }));
    await Deno.writeTextFile(`${dir}/upstream.pem`, (await upstreamAuthority()).caPem);
    await using git = await startGitServer(["web"]);
    await using api = await startApi();
    await using mcp = await startMcpServer({ hosts: ["localhost"] });
    const program = new Program(dir);
    try {
      {
        await using daemon = await program.up(UP);
        const agent = new Agent(dir, await program.ok(["client", "create", "ci-1"]), daemon);
        const allow = (port: number, ...words: string[]) =>
          program.ok(["allow", "ci-1", "--host", "localhost", "--port", String(port), ...words]);
        await allow(git.port, "--git", "read");
        await allow(api.port, "--path", "/graphql", "--graphql", "query");
        await allow(api.port, "--path", "/publish", "--method", "POST", "--ask");
        await allow(mcp.port, "--path", "/mcp", "--mcp-tool", "write_*", "--mcp-filter-list");
        const graphql = `https://localhost:${api.port}/graphql`;

        await t.step("it clones, and cannot push", async () => {
          const cloned = await agent.git("clone", "-q", `${git.url}web`, "web");
          assertEquals(cloned.code, 0, cloned.stderr);
          assertEquals(await Deno.readTextFile(`${dir}/web/README`), "of web\n");
          const pushed = await agent.git("-C", "web", "push", "-q", "origin", "HEAD:other");
          assertMatch(pushed.stderr, /403/);
        });
        await t.step("it queries, and changes nothing", async () => {
          assertEquals(await agent.post(graphql, { query: "{ viewer { login } }" }), "200");
          assertEquals(await agent.post(graphql, { query: "mutation { deleteAll }" }), "403 no-rule");
          assertEquals(api.asked, ['/graphql {"query":"{ viewer { login } }"}']);
        });
        await t.step("it is shown one tool, and calls no other", async () => {
          const { tools, denied } = await agent.useTools(mcp.port);
          assertEquals(tools, ["write_file"]);
          assertMatch(denied, /no-rule/);
          assertEquals(mcp.called, ["write_file"]);
        });
        await t.step("a person approves one request", async () => {
          const published = agent.post(`https://localhost:${api.port}/publish`, { version: 1 });
          let id: unknown;
          await waitUntil("a request waits", async () => {
            const [first] = JSON.parse(await program.ok(["requests", "list", "--json"]));
            return (id = first?.id) !== undefined;
          });
          assertEquals(api.asked.length, 1);
          await program.ok(["requests", "approve", String(id)]);
          assertEquals(await published, "200");
          assertEquals(api.asked.at(-1), '/publish {"version":1}');
        });
        await t.step("explain says what decides, and what the URL does not tell", async () => {
          const clone = await program.run([
            "explain",
            "ci-1",
            "GET",
            `${git.url}web/info/refs?service=git-upload-pack`,
          ]);
          assertEquals(clone.code, 0, clone.stderr);
          assertMatch(clone.stdout, /: allowed by rule 1\n/);
          const push = await program.run(["explain", "ci-1", "POST", `${git.url}web/git-receive-pack`]);
          assertMatch(push.stdout, /: denied \(no-rule\)\n/);
          const query = await program.run(["explain", "ci-1", "POST", graphql]);
          assertEquals(query.code, 1);
          assertMatch(query.stdout, /: depends on its body, which rule 2 asks about\n/);
          assertMatch(query.stderr, /The URL does not tell .* what GraphQL asks: it wants query/);
        });
        await Deno.writeTextFile(`${dir}/policy.yaml`, await program.ok(["export"]));
      }
      await t.step("the log is judged the same by the same rules", async () => {
        const tested = await program.run(
          ["test", "-f", "policy.yaml", "--against", ".slicer/proxy/audit.jsonl", "--json"],
        );
        assertEquals(tested.code, 0, tested.stderr);
        const { changes, unchanged, not_judged: notJudged } = JSON.parse(tested.stdout);
        assertEquals([changes, notJudged], [[], 1]); // the approval itself is no request
        assert(unchanged > 10, tested.stdout);
      });
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
);
