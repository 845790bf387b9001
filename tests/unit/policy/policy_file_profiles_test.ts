import { assert, assertEquals, assertFalse, assertThrows } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { planPolicy, policyFileOf } from "../../../policy/policy_diff.ts";
import { formatPolicyFile, parsePolicyFile } from "../../../policy/policy_file.ts";
import { expandProfile, findProfile } from "../../../policy/profile.ts";
import { parseRule } from "../../../policy/rule.ts";

const FILE = `version: 1
secrets:
  claude: { host: api.anthropic.com, type: oauth-claude }
clients:
  ci-1:
    allow:
      - { host: registry.npmjs.org, paths: [/left-pad], deny: true }
    profiles:
      - npm@1
      - { profile: claude-code@1, secrets: [claude], ttl: 8h }
  only: { profiles: [pip@1] }
`;

Deno.test("parsePolicyFile() puts the rules of profiles behind a client's own", () => {
  const { clients } = parsePolicyFile(FILE, "f");
  const claude = expandProfile(findProfile("claude-code@1"), [{ name: "claude", host: "api.anthropic.com" }]);
  assertEquals(clients.get("ci-1"), [
    { spec: parseRule({ host: "registry.npmjs.org", paths: ["/left-pad"], deny: true }) },
    ...expandProfile(findProfile("npm@1"), []).map((spec) => ({ spec })),
    ...claude.map((spec) => ({ spec, ttlMs: 8 * 3_600_000 })),
  ]);
  assertEquals(clients.get("only"), expandProfile(findProfile("pip"), []).map((spec) => ({ spec })));
});

Deno.test("a file with profiles that is applied changes nothing again, and is exported as plain rules", () => {
  const file = parsePolicyFile(FILE, "f");
  const secrets = file.secrets;
  const present = new Map(
    [...file.clients].map(([client, rules]) => [
      client,
      rules.map(({ spec, ttlMs }, i) => ({
        ...spec,
        ...{ id: `${client} ${i}`, client },
        ...(ttlMs === undefined ? {} : { expiresAt: ttlMs }),
      })),
    ]),
  );
  assertEquals(
    planPolicy({ clients: present, budgets: new Map(), secrets }, file, { prune: "clients", nowMs: 0 }),
    [],
  );
  const text = formatPolicyFile(policyFileOf({ clients: present, budgets: new Map(), secrets }));
  assertFalse(/^ *profiles:|@1/m.test(text), text);
  const again = parsePolicyFile(text, "f");
  assertEquals(again.clients.get("only"), file.clients.get("only"));
  assert(again.clients.get("ci-1")?.length === 6);
});

Deno.test("parsePolicyFile() says where and what is wrong with a profile", async (t) => {
  const head =
    "version: 1\nsecrets: { gh: { host: github.com }, a: { host: api.anthropic.com }, p: { host: api.anthropic.com, type: path } }\nclients:\n  c:\n";
  const rows: readonly (readonly [string, string, string])[] = [
    [
      "unknown",
      "profiles: [nmp@1]",
      '5:16: cannot use "nmp@1" as a profile: there is no such | did you mean npm?',
    ],
    [
      "no version",
      "profiles: [npm]",
      "5:16: cannot use profile npm without a version | write npm@1, so that it means the same rules after an update",
    ],
    [
      "another version",
      "profiles: [npm@2]",
      "5:16: cannot use profile npm@2: there is no such version | there are npm@1",
    ],
    ["no list", "profiles: npm@1", "5:15: profiles: this is no list | write profiles: […]"],
    [
      "twice",
      "profiles: [npm@1, npm@1]",
      "5:23: this client has the same rule above, for registry.npmjs.org | leave one of them out; secret, ttl, " +
      "expires and options do not tell rules apart",
    ],
    [
      "a rule of its own",
      "allow: [{ host: pypi.org, methods: [GET, HEAD], paths: [/simple/*] }]\n    profiles: [pip@1]",
      "6:16: this client has the same rule above, for pypi.org | leave one of them out; secret, ttl, expires and " +
      "options do not tell rules apart",
    ],
    [
      "no secret",
      "profiles: [claude-code@1]",
      "5:16: cannot use profile claude-code@1 without a secret | its rules take one for api.anthropic.com",
    ],
    [
      "unlisted secret",
      "profiles: [{ profile: claude-code@1, secrets: [sk-real] }]",
      "5:52: this secret is not listed under the file's secrets | list it there, with its host and type",
    ],
    [
      "secret for another host",
      "profiles: [{ profile: claude-code@1, secrets: [a, gh] }]",
      "5:16: cannot use profile claude-code@1 with secret gh: no rule of it takes one for github.com | " +
      "its rules take one for api.anthropic.com",
    ],
    [
      "secret of a path, which no profile has a place for",
      "profiles: [{ profile: claude-code@1, secrets: [p] }]",
      "5:16: the rule's paths do not say where in the path secret p goes | " +
      'write each path with one {}, such as paths: ["/bot{}/*"]',
    ],
    [
      "unknown key",
      "profiles: [{ profile: npm@1, secret: gh }]",
      '5:34: unknown key "secret" | a profile has profile, secrets, ttl, expires, and nothing else',
    ],
    [
      "ttl and expires",
      'profiles: [{ profile: npm@1, ttl: 1h, expires: "2026-12-01T00:00:00Z" }]',
      "5:52: a rule has both ttl and expires | leave one of them out",
    ],
  ];
  for (const [name, text, expected] of rows) {
    await t.step(name, () => {
      const error = assertThrows(() => parsePolicyFile(`${head}    ${text}\n`, "f"), ProxyError);
      assertEquals(`${error.message} | ${error.hint}`, `Cannot read f:${expected}`);
    });
  }
});
