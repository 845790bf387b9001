import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { run } from "../../../../cli/run.ts";
import { parsePolicyFile } from "../../../../policy/policy_file.ts";
import { fakeIo } from "../terminal/fake_io.ts";
import { type Recorded, startRecordingApi } from "../api/recording_api.ts";

const LAST = "2026-01-02T03:04:05.000Z";
const HOSTILE = "/'$(reboot)'";
const ANSWER = {
  proposals: [
    {
      rule: { host: "a.test", methods: ["GET"], paths: ["/u/*", HOSTILE], ports: [8443] },
      because: [
        ...Array.from(
          { length: 12 },
          (_, i) => ({ method: "GET", path: `/u/${i}`, count: 1, last: LAST, pattern: "/p" }),
        ),
        {
          method: "GET",
          path: "/x\nslicer-proxy allow ci-1 --host '*'",
          count: 2,
          last: LAST,
          pattern: "/p",
        },
      ],
      implied: [],
      other_secrets: ["gh"],
    },
    {
      rule: { host: "git.test", methods: ["POST"], paths: ["/w.git/git-upload-pack"] },
      because: [{ method: "POST", path: "/w.git/git-upload-pack", count: 2, last: LAST, pattern: "/p" }],
      implied: [{ method: "POST", path: "/w.git/git-upload-pack", by: "git", after: "/w.git/info/refs" }],
      other_secrets: [],
    },
  ],
  skipped: [{ host: "::1", port: 80, why: "rules for addresses are not suggested", count: 3 }],
  passes: [],
  forgotten: 0,
};

/** Runs the command against an API that answers `suggestion`, and POST with what `add` says. */
async function suggest(
  args: readonly string[],
  { suggestion = ANSWER as unknown, add = () => new Response("{}", { status: 201 }) }: {
    readonly suggestion?: unknown;
    readonly add?: (request: Recorded) => Response;
  } = {},
) {
  const socket = `${await Deno.makeTempDir()}/api.sock`;
  await using api = startRecordingApi(
    (request) => request.method === "GET" ? Response.json(suggestion) : add(request),
    socket,
  );
  const io = fakeIo({ nowMs: Date.parse("2026-01-02T04:00:00Z") });
  const code = await run(["suggest", "ci-1", "--url", socket, ...args], io);
  return { code, stdout: io.stdout(), stderr: io.stderr(), requests: api.requests };
}

Deno.test("suggest prints commands that survive a shell, with the requests behind each as comments", async () => {
  const { code, stdout, stderr, requests } = await suggest(["--ttl", "1h"]);
  assertEquals(code, 0);
  assertEquals(requests.map(({ method, path }) => `${method} ${path}`), [
    "GET /proxy/v1/clients/ci-1/suggestions",
  ]);
  assertEquals(stdout.split("\n"), [
    `slicer-proxy allow ci-1 --host a.test --port 8443 --method GET --path '/'\\''$(reboot)'\\''' ` +
    "--path '/u/*' --ttl 1h",
    ...Array.from({ length: 12 }, (_, i) => `#   GET /u/${i}, once`),
    "#   and 1 more",
    "#   without a credential: other rules of ci-1 for this host inject gh",
    "slicer-proxy allow ci-1 --host git.test --method POST --path /w.git/git-upload-pack --ttl 1h",
    "#   POST /w.git/git-upload-pack, 2 times",
    "#   POST /w.git/git-upload-pack, implied by git",
    "",
  ]);
  assertEquals(
    stderr,
    "skipped: [::1]:80: rules for addresses are not suggested (3 times)\n--apply adds 2 rules to ci-1\n",
  );
});

Deno.test("suggest quotes what stands in comments: an interactive zsh runs what is in them", async () => {
  const [first, second] = ANSWER.proposals;
  const because = ["/$(reboot)", "/a;reboot", "/`reboot`", "/a&reboot", "/plain"].map((path) => (
    { method: "GET", path, count: 1, last: LAST, pattern: "/p" }
  ));
  const implied = [{ ...second?.implied[0], path: "/$(reboot)/git-upload-pack" }];
  const suggestion = { ...ANSWER, proposals: [{ ...first, because, implied }] };
  const { stdout } = await suggest([], { suggestion });
  assertEquals(stdout.split("\n").slice(1, -1), [
    "#   GET '/$(reboot)', once",
    "#   GET '/a;reboot', once",
    "#   GET '/`reboot`', once",
    "#   GET '/a&reboot', once",
    "#   GET /plain, once",
    "#   POST '/$(reboot)/git-upload-pack', implied by git",
    "#   without a credential: other rules of ci-1 for this host inject gh",
  ]);
});

Deno.test("suggest shows a path that would end its comment as one line", async () => {
  const [first] = ANSWER.proposals;
  const suggestion = { ...ANSWER, proposals: [{ ...first, because: first?.because.slice(-1) }] };
  for (const format of ["text", "yaml"]) {
    const { stdout } = await suggest(["--format", format], { suggestion });
    assertEquals(stdout.split("\n").filter((line) => line.includes("u{a}slicer-proxy")), [
      `${
        format === "yaml" ? "      " : ""
      }#   GET '/x\\u{a}slicer-proxy allow ci-1 --host '\\''*'\\''', 2 times`,
    ]);
  }
});

Deno.test("suggest --format yaml prints what stands under a client in a policy file", async () => {
  const { stdout } = await suggest(["--format", "yaml", "--ttl", "90s"]);
  const { clients } = parsePolicyFile(`version: 1\nclients:\n  ci-1:\n    allow:\n${stdout}`, "made.yaml");
  assertEquals(clients.get("ci-1")?.map(({ spec, ttlMs }) => [spec.host, spec.ports, spec.paths, ttlMs]), [
    ["a.test", [8443], [HOSTILE, "/u/*"], 90_000],
    ["git.test", [], ["/w.git/git-upload-pack"], 90_000],
  ]);
});

Deno.test("suggest --apply adds each rule, and takes one that is there for added", async () => {
  let posts = 0;
  const { code, stderr, requests } = await suggest(["--apply", "--ttl", "7d", "--exact", "--since", "10m"], {
    add: () =>
      posts++ === 0
        ? new Response("{}", { status: 201 })
        : new Response("Cannot add a rule: client ci-1 has this rule already\nhint: revoke it first\n", {
          status: 409,
        }),
  });
  assertEquals(code, 0);
  assertEquals(requests.map(({ path }) => path), [
    "/proxy/v1/clients/ci-1/suggestions?exact=1&since=2026-01-02T03%3A50%3A00.000Z",
    "/proxy/v1/allows",
    "/proxy/v1/allows",
  ]);
  assertEquals(requests[1]?.body, {
    client: "ci-1",
    host: "a.test",
    methods: ["GET"],
    paths: [HOSTILE, "/u/*"],
    ports: [8443],
    ttl_seconds: 604_800,
  });
  assertMatch(stderr, /^added 1 rule to ci-1; 1 had been added meanwhile\. Run what was denied once more/m);
});

Deno.test("suggest --apply stops at a rule that cannot be added", async () => {
  const { code, stderr, requests } = await suggest(["--apply"], {
    add: () => new Response("Cannot add a rule: there are 999 already\n", { status: 507 }),
  });
  assertEquals([code, requests.length], [1, 2]);
  assertMatch(stderr, /^error: cannot add a rule: there are 999 already$/m);
});

Deno.test("suggest --json prints the answer, and says nothing more on stdout", async () => {
  const { stdout } = await suggest(["--json", "--apply"]);
  assertEquals(JSON.parse(stdout), ANSWER);
});

Deno.test("suggest says how many passes are to be expected", async () => {
  const words = "one more pass at most is expected for npm";
  const passes = [{ by: "npm", host: "registry.npmjs.org", more: 1, words }];
  const { code, stderr } = await suggest([], { suggestion: { ...ANSWER, passes } });
  assertEquals(code, 0);
  assertStringIncludes(stderr, `${words}\n--apply adds`);
});

Deno.test("suggest with nothing to propose says so", async () => {
  const suggestion = { proposals: [], skipped: [], passes: [], forgotten: 7 };
  const { code, stdout, stderr } = await suggest(["--apply"], { suggestion });
  assertEquals([code, stdout], [0, ""]);
  assertMatch(stderr, /^warning: 7 denied requests were too many/);
  assertMatch(stderr, /^nothing to suggest: ci-1 was denied nothing/m);
});

Deno.test("suggest with nothing to propose claims nothing about what it skipped", async () => {
  const skipped = [{ host: "db.test", port: 5_432, why: "strict mode refused the tunnel", count: 1 }];
  const { code, stderr } = await suggest([], {
    suggestion: { proposals: [], skipped, passes: [], forgotten: 0 },
  });
  assertEquals(code, 0);
  assertEquals(
    stderr,
    "skipped: db.test:5432: strict mode refused the tunnel (once)\nnothing to suggest for ci-1 beyond what was skipped\n",
  );
});

Deno.test("suggest refuses an answer that it cannot read, and a rule that is none", async (t) => {
  const [first] = ANSWER.proposals;
  const rows: readonly [string, unknown, RegExp][] = [
    ["another API's", { suggestions: [] }, /cannot read the proxy's answer/],
    [
      "a rule that is none",
      { ...ANSWER, proposals: [{ ...first, rule: { host: "a b", methods: [], paths: [] } }] },
      /cannot use "a b" as a host/,
    ],
  ];
  for (const [name, suggestion, says] of rows) {
    await t.step(name, async () => {
      const { code, stdout, stderr, requests } = await suggest(["--apply"], { suggestion });
      assertEquals([code === 0, stdout, requests.length], [false, "", 1]);
      assertMatch(stderr, says);
    });
  }
});
