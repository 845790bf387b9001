import { assertEquals } from "@std/assert";
import { run } from "../../../../cli/run.ts";
import { allowArguments } from "../../../../policy/allow_command.ts";
import { parseRule, type RuleInput, type RuleSpec } from "../../../../policy/rule.ts";
import { TestApi } from "../../api/support.ts";
import { fakeIo } from "../terminal/fake_io.ts";

/** A rule of each kind, with every shape that a word has. */
const RULES: readonly RuleInput[] = [
  { host: "plain.test" },
  { host: "*.any.test", methods: ["GET", "POST"], paths: ["/v1/*", "/a'$(x)"], ports: [443, 8443] },
  { host: "passed.test", ports: [5432], passthrough: true },
  { host: "denied.test", methods: ["DELETE"], deny: true },
  { host: "asked.test", ask: true },
  { host: "lone.test", oneRequestPerConnection: true, http1: true, responseTimeoutMs: 90_000 },
  { host: "git.test", git: "read", repo: ["acme/*", "acme/web"] },
  { host: "graphql.test", graphql: ["query"], graphqlField: ["viewer"] },
  { host: "mcp.test", mcpTool: ["read_*"], mcpFilterList: true },
  { host: "budget.test", budget: ["requests=100/h", "bytes-down=1G/d"] },
];

Deno.test("allowArguments() is a command that makes the same rule", async (t) => {
  await using api = await TestApi.start();
  await api.control.createClient("ci-1");
  for (const input of RULES) {
    await t.step(input.host, async () => {
      const spec = parseRule(input);
      const [program, ...args] = allowArguments("ci-1", spec);
      assertEquals(program, "slicer-proxy");
      const io = fakeIo({});
      assertEquals(await run([...args, "--url", api.socketPath], io), 0, io.stderr());
      const made = api.control.listRules("ci-1").at(-1);
      const { id: _, client: _c, expiresAt: _e, ...rest } = made ?? {} as never;
      assertEquals(rest as RuleSpec, spec);
    });
  }
});
