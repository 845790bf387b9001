import { assert, assertEquals, assertRejects } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import type { RuleInput } from "../../../../policy/rule.ts";
import type { Content } from "../../../../policy/words/conditions.ts";
import type { McpMessage } from "../../../../policy/words/mcp.ts";
import type { CleartextSecrets } from "../../../../proxy/context.ts";
import { admit } from "../../../../proxy/decide/admit.ts";
import { parseTarget } from "../../../../proxy/message/target.ts";
import type { SecretInfo } from "../../../../secrets/credential.ts";
import { type MadeRequest, makeExchange, PiecedBody } from "../../../support/make_exchange.ts";
import { Engine, TOKEN } from "../../../wire/harness.ts";

interface Case extends MadeRequest {
  readonly rule?: Partial<RuleInput> | null;
  readonly secret?: Partial<SecretInfo> & { readonly host?: string };
  readonly cleartextSecrets?: CleartextSecrets;
  readonly isTokenEndpoint?: boolean;
  readonly content?: Content;
}

/** What is decided about a request, and by which policy. */
async function decide(
  { rule, secret, cleartextSecrets = "private", isTokenEndpoint = false, content, ...made }: Case,
) {
  await using engine = new Engine();
  const { policy } = engine;
  policy.isTokenEndpoint = () => isTokenEndpoint;
  if (secret) {
    const stored = policy.setCredential({ secret: "key", host: "up.test", headers: [], ...secret });
    policy.secretInfo = (name) => name === "key" ? { ...stored, type: "bearer", ...secret } : undefined;
  }
  if (rule !== null) policy.allow("one", { host: "up.test", ...rule });
  const client = policy.clientByToken(TOKEN);
  assert(client);
  const lines = made.head?.version === "HTTP/2" ? made.lines ?? [] : ["Host: up.test", ...made.lines ?? []];
  const { exchange } = makeExchange({ ...engine.context, cleartextSecrets }, { ...made, lines });
  const target = parseTarget(exchange.request.head, exchange.session.tunnel);
  return { admitted: admit(exchange, client, target, content), exchange, client, policy, target };
}

/** The reason why not, or "admitted". */
async function reasonOf(made: Case): Promise<string> {
  const { admitted } = await decide(made);
  if (!("refusal" in admitted)) return "admitted";
  assertEquals(admitted.refusal.status, 403);
  return admitted.refusal.reason;
}

/** A message of MCP that asks for the tools. */
const LIST: McpMessage = { method: "tools/list" };
const HTTP2 = { version: "HTTP/2", scheme: "https", authority: "up.test" } as const;
const CLEAR: MadeRequest = {
  session: { tunnel: { scheme: "http", host: "up.test", port: 80, client: { name: "one", version: "1" } } },
};

Deno.test("admit() ties what it admits to client, rule and secret", async () => {
  const { admitted, exchange, client, policy, target } = await decide({
    ...{ rule: { secret: "key", ports: [443] }, secret: {} },
  });
  assert(!("refusal" in admitted));
  const [rule] = policy.rulesOf(client);
  const version = policy.secretInfo("key")?.version ?? "";
  assertEquals(
    admitted,
    {
      ...exchange,
      ...{ client, target, rule, aws: undefined, upgrade: undefined, tools: undefined },
      secret: { name: "key", version, isOnlyNear: false },
      grant: { client, rule, credential: { secret: "key", version } },
    } as typeof admitted,
  );
});

Deno.test("admit() without a secret grants client and rule alone", async () => {
  const { admitted, client, policy } = await decide({});
  assert(!("refusal" in admitted));
  const [rule] = policy.rulesOf(client);
  assertEquals([admitted.secret, admitted.grant], [undefined, { client, rule } as typeof admitted.grant]);
});

Deno.test("admit() names the tools that an answer may name, where its rule has lists narrowed", async (t) => {
  const rows: readonly (readonly [string, Partial<RuleInput>, McpMessage, string[] | undefined])[] = [
    ["a list", { mcpTool: ["read", "find"], mcpFilterList: true }, LIST, ["find", "read"]],
    ["a call", { mcpTool: ["read"], mcpFilterList: true }, { method: "tools/call", tool: "read" }, undefined],
    ["a rule that does not", { mcpTool: ["read"] }, LIST, undefined],
  ];
  for (const [name, rule, message, tools] of rows) {
    await t.step(name, async () => {
      const { admitted } = await decide({ rule, head: { method: "POST" }, content: { mcp: [message] } });
      assert(!("refusal" in admitted));
      assertEquals(admitted.tools, tools);
    });
  }
});

Deno.test("admit() says who may not do what, and why", async (t) => {
  const rows: readonly (readonly [string, Case, reason: string, why: string])[] = [
    ["a refused method", { head: { method: "TRACE" } }, "method-refused", "no proxy forwards this method"],
    [
      "where keys are renewed",
      { isTokenEndpoint: true },
      "token-endpoint",
      "the proxy renews its credentials there",
    ],
    [
      "a header",
      { rule: { methods: ["GET"] }, lines: ["X-HTTP-Method: PUT"] },
      "method-override",
      "the header X-HTTP-Method would change what the rule has checked",
    ],
    [
      "a parameter",
      { rule: { methods: ["GET"] }, head: { target: "/a?_method=PUT" } },
      "method-override",
      "the parameter _method of the query would change what the rule has checked",
    ],
    [
      "another protocol",
      { rule: { methods: ["GET"] }, lines: ["Connection: upgrade", "Upgrade: spdy"] },
      "upgrade-not-allowed",
      "another protocol could leave what the rule allows",
    ],
    [
      "HTTP in HTTP",
      { head: { ...HTTP2, protocol: "h2c" } },
      "upgrade-not-allowed",
      "no proxy forwards this protocol",
    ],
    [
      "no secret",
      { rule: { secret: "gone" } },
      "secret-missing",
      'the rule names the secret "gone", which does not exist',
    ],
    [
      "another's secret",
      { rule: { secret: "key" }, secret: { host: "other.test" } },
      "secret-host",
      'the secret "key" is bound to another host',
    ],
    [
      "HTTP/2 in clear",
      {
        ...CLEAR,
        ...{ rule: { secret: "key" }, secret: { cleartext: true }, head: { ...HTTP2, scheme: "http" } },
      },
      "cleartext-secret",
      'the secret "key" is not sent over HTTP/2 without TLS; HTTP/1.1 and TLS can have it',
    ],
    [
      "no AWS signature",
      { rule: { secret: "key" }, secret: { type: "aws" } },
      "aws-signature",
      "",
    ],
  ];
  for (const [name, made, reason, why] of rows) {
    await t.step(name, async () => {
      const { admitted, exchange: { request: { head } }, target: { scheme, port, path } } = await decide(
        made,
      );
      assert("refusal" in admitted);
      const { refusal } = admitted;
      assertEquals([refusal.status, refusal.reason, refusal.explanation], [
        403,
        reason as typeof refusal.reason,
        undefined,
      ]);
      const what = `Client "one" may not ${head.method} ${scheme}://up.test:${port}${path}: `;
      assertEquals(refusal.detail.slice(0, what.length), what);
      if (why !== "") assertEquals(refusal.detail.slice(what.length), why);
    });
  }
});

Deno.test("admit() explains what no rule allows, and calls by their names only over HTTP/2", async () => {
  const explain = async (head: Partial<MadeRequest["head"]>, rule: Case["rule"] = null) => {
    const lines = ["Content-Type: application/grpc"];
    const { admitted } = await decide({
      rule,
      lines,
      head: { method: "POST", target: "/pkg.Greeter/Hello", ...head },
    });
    assert("refusal" in admitted);
    const { reason, detail, explanation, status } = admitted.refusal;
    assertEquals([status, reason], [403, "no-rule"]);
    assertEquals(detail, 'Client "one" may not POST https://up.test:443/pkg.Greeter/Hello');
    return explanation?.command ?? "";
  };
  const [clear, call] = [await explain({}), await explain(HTTP2)];
  assertEquals([clear.includes("--path"), clear.includes("--grpc")], [true, false]);
  assertEquals([call.includes("--grpc"), call.includes("Greeter")], [true, true]);
});

Deno.test("admit() takes overrides only where the rule has checked what they override", async (t) => {
  const header = { lines: ["X-Original-URL: /b"] };
  const parameter = { head: { target: "/a?_method=PUT" } };
  const rows: readonly (readonly [string, Case, string])[] = [
    ["a header, any method and path", header, "admitted"],
    ["a header, some paths", { ...header, rule: { paths: ["/a"] } }, "method-override"],
    ["a header, some methods", { ...header, rule: { methods: ["GET"] } }, "method-override"],
    ["a parameter, any method", parameter, "admitted"],
    ["a parameter, some paths", { ...parameter, rule: { paths: ["/a"] } }, "admitted"],
    ["a parameter, some methods", { ...parameter, rule: { methods: ["GET"] } }, "method-override"],
    ["a parameter, git alone", {
      ...{ rule: { git: "read" }, lines: ["Git-Protocol: version=2"] },
      head: { target: "/me/repo.git/info/refs?service=git-upload-pack&_method=PUT" },
    }, "method-override"],
    [
      "a parameter that says the same",
      { rule: { methods: ["GET"] }, head: { target: "/a?_method=get" } },
      "admitted",
    ],
  ];
  for (const [name, made, expected] of rows) {
    await t.step(name, async () => assertEquals(await reasonOf(made), expected));
  }
});

Deno.test("admit() lets WebSockets through under rules about heads, and other protocols under rules about nothing", async (t) => {
  const upgrade = (protocol: string) => ({ lines: ["Connection: upgrade", `Upgrade: ${protocol}`] });
  const rows: readonly (readonly [string, Case, string])[] = [
    ["websocket, any", upgrade("websocket"), "admitted"],
    ["websocket, some methods", { ...upgrade("websocket"), rule: { methods: ["GET"] } }, "admitted"],
    ["websocket, some bodies", {
      ...{ ...upgrade("websocket"), rule: { mcpTool: ["read"] }, content: { mcp: [LIST] } },
    }, "upgrade-not-allowed"],
    ["another, any", upgrade("spdy"), "admitted"],
    ["another, some paths", { ...upgrade("spdy"), rule: { paths: ["/a"] } }, "upgrade-not-allowed"],
    ["HTTP/2, websocket", { head: { ...HTTP2, protocol: "websocket" } }, "admitted"],
    ["HTTP/2, websocket with a stream behind it", {
      ...{ head: { ...HTTP2, protocol: "websocket" }, body: new PiecedBody(["a"]) },
    }, "admitted"],
    ["HTTP/2, another, some paths", {
      ...{ head: { ...HTTP2, protocol: "connect-udp" }, rule: { paths: ["/a"] } },
    }, "upgrade-not-allowed"],
  ];
  for (const [name, made, expected] of rows) {
    await t.step(name, async () => assertEquals(await reasonOf(made), expected));
  }
});

Deno.test("admit() refuses an upgrade with a body, which could be read as what comes after it", async () => {
  const lines = ["Connection: upgrade", "Upgrade: websocket"];
  const { code, message } = await assertRejects(
    () => decide({ lines, body: new PiecedBody(["a"]) }),
    ProxyError,
  );
  assertEquals([code, message], ["client.malformed", "Cannot read the request: an upgrade with a body"]);
  assertEquals(await reasonOf({ body: new PiecedBody(["a"]) }), "admitted");
});

Deno.test("admit() keeps a secret to its host, whether the rule or the request is wider", async (t) => {
  const rows: readonly (readonly [rule: string, secret: string, string])[] = [
    ["up.test", "up.test", "admitted"],
    ["up.test", "*.test", "admitted"],
    ["*.test", "*.test", "admitted"],
    ["*.test", "up.test", "secret-host"],
    ["*", "up.test", "secret-host"],
    ["up.test", "*.up.test", "secret-host"],
  ];
  for (const [host, bound, expected] of rows) {
    await t.step(`${host} and ${bound}`, async () => {
      assertEquals(await reasonOf({ rule: { host, secret: "key" }, secret: { host: bound } }), expected);
    });
  }
});

Deno.test("admit() sends a secret in clear only where it may go: anywhere, near, or nowhere", async (t) => {
  const rows: readonly (readonly [CleartextSecrets, Partial<SecretInfo>, string | boolean])[] = [
    ["private", {}, true],
    ["always", {}, false],
    ["never", {}, "cleartext-secret"],
    ["never", { cleartext: true }, false],
    ["private", { cleartext: true }, false],
    ["always", { type: "mtls" }, "cleartext-secret"],
    ["always", { type: "mtls", cleartext: true }, "cleartext-secret"],
  ];
  for (const [cleartextSecrets, secret, expected] of rows) {
    await t.step(`${cleartextSecrets} ${JSON.stringify(secret)}`, async () => {
      const { admitted } = await decide({
        ...CLEAR,
        ...{ rule: { secret: "key" }, secret, cleartextSecrets },
      });
      const found = "refusal" in admitted ? admitted.refusal.reason : admitted.secret?.isOnlyNear;
      assertEquals(found, expected);
    });
  }
  for (const secret of [{ type: "mtls" }, {}] as const) {
    const { admitted } = await decide({ rule: { secret: "key" }, secret, cleartextSecrets: "never" });
    assertEquals("refusal" in admitted ? admitted.refusal.reason : admitted.secret?.isOnlyNear, false);
  }
});
