import { assert, assertEquals, assertRejects } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { parseRule, type Rule, type RuleInput } from "../../../../policy/rule.ts";
import { ProtocolMemory } from "../../../../proxy/egress/pools/protocol_memory.ts";
import type { OpenSession } from "../../../../proxy/exchange.ts";
import { chooseProtocol } from "../../../../proxy/tunnels/protocol_choice.ts";
import type { SecretInfo } from "../../../../secrets/credential.ts";

const CLIENT = { name: "one", version: "1" };
const TARGET = { host: "up.test", port: 443 };
const BOTH = ["h2", "http/1.1"];
const CERTIFICATE = { certPem: "cert", keyPem: "key" };

interface SetUp {
  readonly rule?: RuleInput;
  readonly hasProtocols?: boolean;
  readonly secret?: Partial<SecretInfo>;
  /** Of the credential that is given out; default: that of the secret. */
  readonly credentialVersion?: string;
  readonly dial?: (target: unknown, signal: AbortSignal) => Promise<unknown>;
}

/** A tunnel with everything around it that a choice asks, and what was asked. */
function setUp(
  { rule: input = { host: "up.test" }, hasProtocols = true, secret, credentialVersion, dial }: SetUp = {},
) {
  const rule: Rule = { ...parseRule(input), id: "1", client: "one" };
  const protocols = new ProtocolMemory(() => 0);
  const asked: Record<"dialled" | "kept" | "shared" | "credentials", unknown[]> = {
    ...{ dialled: [], kept: [], shared: [], credentials: [] },
  };
  const held = new Set<(why: "revoked") => void>();
  const info = secret && { host: "up.test", version: "7", type: "bearer", ...secret };
  const context = {
    protocols: hasProtocols ? protocols : undefined,
    clock: { monotonic: () => 1_000 },
    policy: {
      rulesFor: () => [rule],
      secretInfo: () => info,
      credential: (name: string, request: unknown) => {
        asked.credentials.push([name, request]);
        return Promise.resolve({ version: credentialVersion ?? "7", clientCertificate: CERTIFICATE });
      },
    },
    dialler: {
      wayTo: (host: string) => `way to ${host}`,
      dial: (target: unknown, signal: AbortSignal) => {
        asked.dialled.push(target);
        return dial?.(target, signal) ?? Promise.resolve({ protocol: "h2" });
      },
    },
    pool: { put: (key: unknown) => asked.kept.push(key) },
    http2Pool: {
      add: (key: unknown) => {
        asked.shared.push(key);
        return "connection";
      },
    },
    grants: {
      hold: (_: unknown, end: (why: "revoked") => void) => {
        held.add(end);
        return () => held.delete(end);
      },
    },
  };
  const session = { context } as unknown as OpenSession;
  return {
    rule,
    asked,
    held,
    protocols,
    choose: (offered: readonly string[], withRule = true) =>
      chooseProtocol(session, { client: CLIENT, rule: withRule ? rule : undefined, target: TARGET }, offered),
  };
}

Deno.test("chooseProtocol() dials only where the upstream has a say", async (t) => {
  const rows: readonly (readonly [string, SetUp, readonly string[], boolean, string])[] = [
    ["HTTP/2 is off", { hasProtocols: false }, BOTH, true, "http/1.1"],
    ["the client offers nothing", {}, [], true, "http/1.1"],
    ["the client offers HTTP/1.1", {}, ["http/1.1"], true, "http/1.1"],
    ["the client offers what nobody speaks", {}, ["h3", "spdy/1"], true, "http/1.1"],
    ["no rule, HTTP/2 first", {}, BOTH, false, "h2"],
    ["no rule, HTTP/2 last", {}, ["x", "http/1.1", "h2"], false, "http/1.1"],
    ["a rule for HTTP/1 alone", { rule: { host: "up.test", http1: true } }, BOTH, true, "http/1.1"],
  ];
  for (const [name, more, offered, withRule, protocol] of rows) {
    await t.step(name, async () => {
      const { choose, asked } = setUp(more);
      assertEquals(await choose(offered, withRule), { protocol } as unknown);
      assertEquals(asked.dialled, []);
    });
  }
});

Deno.test("chooseProtocol() asks the upstream as the first request will, and remembers what it picks", async (t) => {
  for (const protocol of ["h2", "http/1.1"] as const) {
    await t.step(protocol, async () => {
      const { choose, asked, rule, held, protocols } = setUp({ dial: () => Promise.resolve({ protocol }) });
      const choice = await choose(["h2", "x", "http/1.1", "h2"]);
      const upstream = protocol === "h2" ? { upstream: "connection" } : {};
      assertEquals(choice as unknown, { protocol, ...upstream });
      assertEquals(asked.dialled, [{
        ...{ scheme: "https", ...TARGET, client: CLIENT, ruleHost: "up.test", alpn: BOTH },
        clientCertificate: undefined,
      }]);
      const key = { scheme: "https", ...TARGET, grant: { client: CLIENT, rule }, way: "way to up.test" };
      assertEquals([asked.shared, asked.kept], protocol === "h2" ? [[key], []] : [[], [key]]);
      assertEquals(held.size, 0);
      assertEquals(protocols.pickOf(TARGET, ["h2", "http/1.1"]), protocol);
      assertEquals(await choose(BOTH), { protocol });
      assertEquals(asked.dialled.length, 1);
    });
  }
});

Deno.test("chooseProtocol() gives the client what it prefers where nobody can be asked, and the reason once", async () => {
  const error = new ProxyError("upstream.refused", "no");
  const { choose, asked, held } = setUp({ dial: () => Promise.reject(error) });
  for (const offered of [BOTH, BOTH.toReversed()]) {
    const { protocol, failedDial } = await choose(offered);
    assertEquals(protocol, offered[0]);
    assertEquals(failedDial?.take("*", 1_000), undefined);
    assert(failedDial?.take("up.test", 6_000) === error);
  }
  assertEquals([asked.dialled.length, held.size], [2, 0], "nothing was learnt");
  const { choose: wrong } = setUp({ dial: () => Promise.reject(new TypeError("a bug")) });
  await assertRejects(async () => await wrong(BOTH), TypeError);
});

Deno.test("chooseProtocol() gives up when the rule goes", async () => {
  const { choose, held } = setUp({
    dial: (_, signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
  });
  const choosing = choose(BOTH);
  await Promise.resolve();
  for (const end of held) end("revoked");
  const { failedDial } = await choosing;
  assertEquals(failedDial?.take("up.test", 1_000)?.code, "policy.revoked");
  assertEquals(held.size, 0);
});

Deno.test("chooseProtocol() keeps a connection under the secret that its requests will have", async (t) => {
  const rows: readonly (readonly [string, SetUp, unknown])[] = [
    ["with a secret", { secret: {} }, { secret: "key", version: "7" }],
    ["with one that is gone", {}, undefined],
  ];
  for (const [name, more, credential] of rows) {
    await t.step(name, async () => {
      const { choose, asked, rule } = setUp({ rule: { host: "up.test", secret: "key" }, ...more });
      await choose(BOTH);
      const grant = { client: CLIENT, rule, ...(credential === undefined ? {} : { credential }) };
      assertEquals((asked.shared[0] as { readonly grant: unknown }).grant, grant);
      assertEquals(asked.credentials, []);
    });
  }
});

Deno.test("chooseProtocol() shows a client certificate to its own host alone", async (t) => {
  const rows: readonly (readonly [string, SetUp, isShown: boolean, isAsked: boolean])[] = [
    ["its host", { secret: { type: "mtls" } }, true, true],
    ["hosts below", { secret: { type: "mtls", host: "*.test" } }, true, true],
    ["another type", { secret: { type: "bearer" } }, false, false],
    ["another host", { secret: { type: "mtls", host: "other.test" } }, false, false],
    ["a wider rule", { rule: { host: "*.test", secret: "key" }, secret: { type: "mtls" } }, false, false],
    ["another version by now", { secret: { type: "mtls" }, credentialVersion: "8" }, false, true],
    ["no such secret", {}, false, false],
  ];
  for (const [name, more, isShown, isAsked] of rows) {
    await t.step(name, async () => {
      const { choose, asked } = setUp({ rule: { host: "up.test", secret: "key" }, ...more });
      await choose(BOTH);
      const [target] = asked.dialled as { readonly clientCertificate: unknown }[];
      assertEquals(target?.clientCertificate, isShown ? CERTIFICATE : undefined);
      const request = { client: "one", host: "up.test", method: "CONNECT", path: "/" };
      assertEquals(asked.credentials, isAsked ? [["key", request]] : []);
    });
  }
});
