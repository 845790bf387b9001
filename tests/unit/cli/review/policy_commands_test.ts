import { assertEquals, assertStringIncludes } from "@std/assert";
import { run } from "../../../../cli/run.ts";
import { fakeIo } from "../terminal/fake_io.ts";
import { type Recorded, startRecordingApi } from "../api/recording_api.ts";

const YAML = "version: 1\nclients: {}\n";
const NOTHING = { changes: [], created: [] };
const CHANGES = {
  changes: [
    {
      client: "new",
      action: "create",
      rules: [{ action: "add", place: 1, host: "*", ports: [22, 2222], passthrough: true }],
    },
    {
      client: "ci-1",
      action: "change",
      rules: [
        { action: "remove", place: 1, host: "old.test", expires: "2026-12-01T00:00:00.000Z" },
        { action: "add", place: 1, host: "a.test", methods: ["GET"], paths: ["/v1/*", "/x"], secret: "gh" },
        { action: "expire", place: 2, host: "b.test" },
        { action: "move", place: 3, host: "c.test" },
      ],
    },
    { client: "old", action: "delete", rules: [] },
  ],
  created: [{ name: "new", token: "spi_planted", created_at: "2026-01-02T03:04:05.000Z" }],
};

/** Runs one command line in a folder with `policy.yaml` against an API that gives one answer. */
async function runWith(argv: readonly string[], answer: () => Response, stdin = "") {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/policy.yaml`, YAML);
    await Deno.writeFile(`${dir}/latin1.yaml`, new Uint8Array([0xe9]));
    const requests: Recorded[] = [];
    await using _api = startRecordingApi((request) => {
      requests.push(request);
      return answer();
    }, `${dir}/api.sock`);
    const io = fakeIo({ stdin, env: { SLICER_URL: `${dir}/api.sock`, HOME: dir } });
    const code = await run(argv, io);
    return { code, stdout: io.stdout(), stderr: io.stderr().replaceAll(dir, "DIR"), requests, dir };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("apply sends the file and its name, and says so when there is nothing to change", async (t) => {
  const rows: readonly [string, readonly string[], Record<string, unknown>][] = [
    ["-f", ["-f", "~/policy.yaml"], { name: "~/policy.yaml", dry_run: false, prune: false }],
    ["all flags", ["--file=~/policy.yaml", "--dry-run", "--prune"], {
      name: "~/policy.yaml",
      dry_run: true,
      prune: true,
    }],
    ["standard input", ["-f", "-"], { name: "standard input", dry_run: false, prune: false }],
  ];
  for (const [name, flags, body] of rows) {
    await t.step(name, async () => {
      const { code, stdout, stderr, requests } = await runWith(
        ["apply", ...flags],
        () => Response.json(NOTHING),
        YAML,
      );
      assertEquals([code, stdout, stderr], [0, "", "nothing to change\n"]);
      assertEquals(requests.map(({ method, path, body }) => [method, path, body]), [
        ["POST", "/proxy/v1/policy/apply", { policy: YAML, ...body }],
      ]);
    });
  }
});

Deno.test("apply shows the differences on stderr, and tokens alone on stdout", async () => {
  const { code, stdout, stderr } = await runWith(
    ["apply", "-f", "~/policy.yaml"],
    () => Response.json(CHANGES),
  );
  assertEquals([code, stdout], [0, "new spi_planted\n"]);
  assertEquals(
    stderr,
    `+ client new
    + 1. *  passthrough  ports 22,2222
~ client ci-1
    - 1. old.test  expires 2026-12-01T00:00:00.000Z
    + 1. a.test  methods GET  paths /v1/*,/x  secret gh
    ~ 2. b.test  never expires
    ~ 3. c.test  (moved)
- client old
clients: 1 created, 1 changed, 1 deleted
`,
  );
});

Deno.test("apply --dry-run says that it was one", async () => {
  const { stdout, stderr } = await runWith(
    ["apply", "-f", "~/policy.yaml", "--dry-run"],
    () => Response.json({ ...CHANGES, created: [] }),
  );
  assertEquals(stdout, "");
  assertStringIncludes(stderr, "\nclients: 1 to create, 1 to change, 1 to delete; this was a dry run\n");
});

Deno.test("apply --json prints the whole answer", async () => {
  const { stdout } = await runWith(["apply", "-f", "~/policy.yaml", "--json"], () => Response.json(CHANGES));
  assertEquals(JSON.parse(stdout), CHANGES);
});

Deno.test("apply fails with the place that the API names, with 1", async () => {
  const refusal = 'Cannot read policy.yaml:3:1: unknown key "x"\nhint: a policy has version\n';
  const { code, stdout, stderr } = await runWith(
    ["apply", "-f", "~/policy.yaml"],
    () => new Response(refusal, { status: 400 }),
  );
  assertEquals([code, stdout], [1, ""]);
  assertEquals(stderr, 'error: cannot read policy.yaml:3:1: unknown key "x"\nhint: a policy has version\n');
});

Deno.test("apply asks no API about a file that it cannot read", async (t) => {
  const rows: readonly [string, string, string][] = [
    ["absent", "~/nothing.yaml", "there is no such file"],
    ["no UTF-8", "~/latin1.yaml", "it is not UTF-8 text"],
    ["a folder", "~/", "it is a folder"],
  ];
  for (const [name, file, problem] of rows) {
    await t.step(name, async () => {
      const { code, stderr, requests } = await runWith(["apply", "-f", file], () => Response.json(NOTHING));
      assertEquals([code, requests.length], [2, 0]);
      assertStringIncludes(stderr, problem);
    });
  }
});

Deno.test("apply refuses an answer that is not the proxy's", async () => {
  for (const answer of [{}, { changes: 1, created: [] }, { changes: [], created: [1] }]) {
    const { code } = await runWith(["apply", "-f", "~/policy.yaml"], () => Response.json(answer));
    assertEquals(code, 1);
  }
});

Deno.test("export prints the file as it comes, and JSON with --json", async () => {
  const yaml = await runWith(["export"], () => new Response(YAML));
  assertEquals([yaml.code, yaml.stdout, yaml.stderr], [0, YAML, ""]);
  assertEquals(yaml.requests.map(({ method, path }) => `${method} ${path}`), ["GET /proxy/v1/policy"]);
  const json = await runWith(["export", "--json"], () => Response.json({ version: 1 }));
  assertEquals([json.code, JSON.parse(json.stdout)], [0, { version: 1 }]);
});
