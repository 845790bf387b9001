import { assert, assertEquals, assertFalse, assertMatch, assertStringIncludes } from "@std/assert";
import { run } from "../../../cli/run.ts";
import { fakeIo } from "./terminal/fake_io.ts";
import { type Recorded, startRecordingApi } from "./api/recording_api.ts";

const NOW_MS = Date.parse("2026-01-02T03:04:05Z");
const json = (value: unknown, status = 200) => Response.json(value, { status });
const none = () => new Response(null, { status: 204 });

/** Runs one command line against an API on a unix socket. */
async function runWithApi(
  argv: readonly string[],
  answer: (request: Recorded) => Response,
  options: { stdin?: string; files?: Readonly<Record<string, string>>; isTerminal?: boolean } = {},
) {
  const dir = await Deno.makeTempDir();
  try {
    for (const [name, text] of Object.entries(options.files ?? {})) {
      await Deno.writeTextFile(`${dir}/${name}`, text);
    }
    await using api = startRecordingApi(answer, `${dir}/api.sock`);
    const io = fakeIo({ ...options, nowMs: NOW_MS, env: { SLICER_URL: `${dir}/api.sock`, HOME: dir } });
    const code = await run(argv.map((word) => word.replace("DIR", dir)), io);
    return {
      code,
      stdout: io.stdout(),
      stderr: io.stderr(),
      requests: [...api.requests],
      dir,
      rawModes: io.rawModes,
    };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("run() sends what the published API expects", async (t) => {
  const rows: readonly (readonly [string, readonly string[], string, string, unknown])[] = [
    ["client create", ["client", "create", "ci-1"], "POST", "/proxy/v1/clients", { name: "ci-1" }],
    ["client list", ["client", "list"], "GET", "/proxy/v1/clients", undefined],
    ["client rotate", ["client", "rotate", "ci-1"], "POST", "/proxy/v1/clients/ci-1/rotate", undefined],
    ["client delete", ["client", "delete", "ci-1"], "DELETE", "/proxy/v1/clients/ci-1", undefined],
    ["secret list", ["secret", "list"], "GET", "/proxy/v1/secrets", undefined],
    ["secret delete", ["secret", "delete", "s"], "DELETE", "/proxy/v1/secrets/s", undefined],
    ["rules", ["rules", "ci-1"], "GET", "/proxy/v1/clients/ci-1", undefined],
    ["status", ["status"], "GET", "/proxy/v1/status", undefined],
    [
      "a licence in front, as Slicer's own program takes it",
      ["--license-file", "~/.slicer/LICENSE", "proxy", "client", "list"],
      "GET",
      "/proxy/v1/clients",
      undefined,
    ],
    ["a licence, joined", ["--license-file=F", "status"], "GET", "/proxy/v1/status", undefined],
    [
      "revoke with the flags of allow",
      "revoke ci-1 --host a.example --method GET --secret s --ttl 1h".split(" "),
      "POST",
      "/proxy/v1/allows/revoke",
      { client: "ci-1", host: "a.example", methods: ["GET"], secret: "s" },
    ],
    [
      "allow, bare, after `proxy`",
      ["proxy", "allow", "ci-1", "--host", "API.Example.com"],
      "POST",
      "/proxy/v1/allows",
      {
        client: "ci-1",
        host: "api.example.com",
      },
    ],
    [
      "allow, everything",
      [..."allow ci-1 --host *.example.com --method get,POST --path /b/*,/a --port 8443,443".split(" "), ...[
        "--port=80",
        "--ttl",
        "1h30m",
        "--secret",
        "key",
      ]],
      "POST",
      "/proxy/v1/allows",
      {
        client: "ci-1",
        host: "*.example.com",
        methods: ["GET", "POST"],
        paths: ["/a", "/b/*"],
        ports: [80, 443, 8443],
        secret: "key",
        ttl_seconds: 5400,
      },
    ],
    [
      "allow, passthrough",
      ["allow", "c", "--host", "db.example.com", "--port", "5432", "--passthrough"],
      "POST",
      "/proxy/v1/allows",
      { client: "c", host: "db.example.com", ports: [5432], passthrough: true },
    ],
    [
      "revoke by host",
      ["revoke", "c", "--host", "*.example.com"],
      "DELETE",
      "/proxy/v1/allows/c/*.example.com",
      undefined,
    ],
    ["revoke of *", ["revoke", "c", "--host", "*"], "DELETE", "/proxy/v1/allows/c/*", undefined],
    [
      "revoke of an address",
      ["revoke", "c", "--host", "[FD00::1]"],
      "DELETE",
      "/proxy/v1/allows/c/fd00%3A%3A1",
      undefined,
    ],
    [
      "revoke of one rule",
      ["revoke", "c", "--host", "a.b", "--method", "get", "--path", "/x"],
      "POST",
      "/proxy/v1/allows/revoke",
      { client: "c", host: "a.b", methods: ["GET"], paths: ["/x"] },
    ],
    [
      "revoke of a passthrough rule",
      ["revoke", "c", "--host", "a.b", "--passthrough"],
      "POST",
      "/proxy/v1/allows/revoke",
      {
        client: "c",
        host: "a.b",
        passthrough: true,
      },
    ],
  ];
  for (const [name, argv, method, path, body] of rows) {
    await t.step(name, async () => {
      const result = await runWithApi(argv, (request) => {
        if (request.method === "DELETE" || request.path.endsWith("/revoke")) return none();
        if (request.method === "POST") return json({ token: "spi_x" }, 201);
        return request.path.endsWith("/status") ? json({}) : json([]);
      });
      assertEquals(result.stderr.includes("error:"), false, result.stderr);
      assertEquals(result.code, 0);
      assertEquals(result.requests, [{ method, path, authorization: null, body }]);
    });
  }
});

Deno.test("run() prints a client's token bare on stdout and nothing else there", async (t) => {
  for (const argv of [["client", "create", "ci-1"], ["client", "rotate", "ci-1"]]) {
    await t.step(argv.join(" "), async () => {
      const { code, stdout, stderr } = await runWithApi(
        argv,
        () => json({ name: "ci-1", token: "spi_abc" }, 201),
      );
      assertEquals([code, stdout], [0, "spi_abc\n"]);
      assertFalse(stderr.includes("spi_abc"));
    });
  }
  await t.step("an answer without a token is a failure", async () => {
    const { code, stdout } = await runWithApi(
      ["client", "create", "ci-1"],
      () => json({ name: "ci-1" }, 201),
    );
    assertEquals([code, stdout], [1, ""]);
  });
});

Deno.test("run() takes a client's own token from flag, file and standard input", async (t) => {
  const rows: readonly (readonly [string, readonly string[], string])[] = [
    ["--token", ["--token", "hunter2hunter2hunter2"], "warning: "],
    ["--token-file", ["--token-file", "DIR/t"], ""],
    ["--token-file -", ["--token-file", "-"], ""],
    ["--token -", ["--token", "-"], ""],
  ];
  for (const [name, flags, words] of rows) {
    await t.step(name, async () => {
      const { code, stderr, requests } = await runWithApi(
        ["client", "create", "ci-1", ...flags],
        () => json({ token: "x" }, 201),
        { stdin: "hunter2hunter2hunter2\r\n \n", files: { t: "hunter2hunter2hunter2\n" } },
      );
      assertEquals(code, 0);
      assertEquals(requests[0]?.body, { name: "ci-1", token: "hunter2hunter2hunter2" });
      assertEquals(stderr.includes("warning: "), words !== "");
      assertFalse(stderr.includes("hunter2"));
    });
  }
});

Deno.test("run() shows rules in order with what is left of each TTL", async () => {
  const rules = [
    { host: "github.com", secret: "gh-token" },
    {
      host: "*.a.example",
      methods: ["GET", "POST"],
      paths: ["/v1/*"],
      ports: [8443],
      expires: "2026-01-02T03:19:04Z",
    },
    { host: "db.example", ports: [5432], passthrough: true, expires: "2026-01-09T02:04:05Z" },
    { host: "evil\x1b[2J", expires: "soon", warnings: ["rule 1 hides it\x1b[2J"] },
  ];
  const shown = await runWithApi(["rules", "ci-1"], () => json(rules));
  assertEquals(
    shown.stdout,
    [
      "HOST            SECRET     MODE          METHODS    PORTS    PATHS   EXPIRES     #",
      "github.com      gh-token   mitm          any        80,443   any     never       1",
      "*.a.example     -          mitm          GET,POST   8443     /v1/*   in 14m59s   2",
      "db.example      -          passthrough   any        5432     any     in 6d23h    3",
      "evil\\u{1b}[2J   -          mitm          any        80,443   any     soon        4",
      "",
    ].join("\n"),
  );
  assertStringIncludes(shown.stderr, "warning: rule 4: rule 1 hides it\\u{1b}[2J");
  const raw = await runWithApi(["rules", "ci-1", "--json"], () => json(rules));
  assertEquals(JSON.parse(raw.stdout), rules);
  const empty = await runWithApi(["rules", "ci-1"], () => json([]));
  assertEquals([empty.code, empty.stdout], [0, ""]);
  assertStringIncludes(empty.stderr, "ci-1 has no rules");
});

Deno.test("run() puts a rule before others, and says what is wrong with it", async (t) => {
  const rows: readonly (readonly [flags: readonly string[], before: number | undefined])[] = [
    [[], undefined],
    [["--first"], 1],
    [["--before", "3"], 3],
  ];
  for (const [flags, before] of rows) {
    await t.step(flags.join(" "), async () => {
      const { code, stderr, requests } = await runWithApi(
        ["allow", "ci-1", "--host", "a.test", ...flags],
        () => json({ host: "a.test", warnings: ["rule 1 matches first all that it matches"] }, 201),
      );
      assertEquals(code, 0);
      assertEquals(requests[0]?.body, { client: "ci-1", host: "a.test", ...(before ? { before } : {}) });
      assertStringIncludes(stderr, "warning: rule 1 matches first all that it matches");
    });
  }
  for (const flags of [["--before", "0"], ["--before", "x"], ["--first", "--before", "2"]]) {
    await t.step(`refused: ${flags.join(" ")}`, async () => {
      const { code, requests } = await runWithApi(
        ["allow", "ci-1", "--host", "a.test", ...flags],
        () => json({}, 201),
      );
      assertEquals([code, requests.length], [2, 0]);
    });
  }
});

Deno.test("run() lists clients and secrets as tables and as JSON", async () => {
  const secrets = [
    { name: "s", host: "a.b", type: "bearer", created_at: "2026-01-01T00:00:00Z" },
    {
      name: "t",
      host: "c.d",
      type: "oauth-xai",
      created_at: "2026-01-01T00:00:00Z",
      error: "refresh refused",
    },
  ];
  const table = await runWithApi(["secret", "list"], () => json(secrets));
  assertStringIncludes(table.stdout, "STATUS\ns      a.b    bearer ");
  assertStringIncludes(table.stdout, "   refresh refused\n");
  const raw = await runWithApi(["secret", "list", "--json"], () => json(secrets));
  assertEquals(JSON.parse(raw.stdout), secrets);
  const clients = await runWithApi(
    ["client", "list"],
    () => json([{ name: "ci-1", created_at: "2026-01-01T00:00:00Z" }]),
  );
  assertEquals(clients.stdout, "NAME   CREATED\nci-1   2026-01-01T00:00:00Z\n");
  const empty = await runWithApi(["client", "list", "--json"], () => json([]));
  assertEquals(empty.stdout, "[]\n");
});

Deno.test("run() shows the status to people, and as it was answered with --json", async () => {
  const status = { version: "1.2.3", clients: 2, future_field: { a: [1] } };
  const { stdout } = await runWithApi(["status"], () => json(status));
  assertMatch(stdout, /^slicer-proxy 1\.2\.3, up for /);
  assertMatch(stdout, /\npolicy +2 clients, 0 rules, 0 secrets\n/);
  assertEquals(JSON.parse((await runWithApi(["status", "--json"], () => json(status))).stdout), status);
});

Deno.test("run() stores a secret from every source, without its trailing whitespace", async (t) => {
  const rows: readonly (readonly [string, readonly string[], boolean, boolean])[] = [
    ["--value", ["--value", "hunter2"], true, false],
    ["--value with dashes", ["--value=hunter2 "], true, false],
    ["--value-file", ["--value-file", "DIR/key"], false, false],
    ["--value-file under ~", ["--value-file=~/key"], false, false],
    ["--value-file -", ["--value-file", "-"], false, false],
    ["--from-file", ["--from-file", "DIR/key"], false, true],
    ["typed on a terminal", [], false, false],
  ];
  for (const [name, flags, warns, hasSource] of rows) {
    await t.step(name, async () => {
      const isTyped = flags.length === 0;
      const { code, stdout, stderr, requests, dir, rawModes } = await runWithApi(
        ["secret", "create", "llm", "--host", "API.example.com", "--force", ...flags],
        () => json({ name: "llm" }, 201),
        {
          stdin: isTyped ? "hunterX\x7f2\r" : "hunter2\n\n",
          files: { key: "hunter2\t\n" },
          isTerminal: isTyped,
        },
      );
      assertEquals([code, stdout], [0, ""], stderr);
      assertEquals(requests[0]?.body, {
        name: "llm",
        host: "api.example.com",
        type: "bearer",
        value: "hunter2",
        ...(hasSource ? { source_file: `${dir}/key` } : {}),
        force: true,
      });
      assertEquals(stderr.includes("warning: the secret value on the command line is visible"), warns);
      assertFalse(stderr.includes("hunter"));
      assertEquals(rawModes, isTyped ? [true, false] : []);
    });
  }
});

Deno.test("run() refuses a secret value that cannot be one, and sends nothing", async (t) => {
  const rows: readonly (readonly [string, readonly string[], string, string | undefined])[] = [
    ["none, and no terminal", [], "the secret value is missing", undefined],
    [
      "two",
      ["--value", "x", "--value-file", "DIR/key"],
      "cannot use --value and --value-file together",
      undefined,
    ],
    ["an absent file", ["--value-file", "DIR/none"], "none: there is no such file", undefined],
    ["a folder", ["--value-file", "DIR"], ": it is a folder", undefined],
    ["an empty file", ["--value-file", "DIR/empty"], "it is empty", undefined],
    ["65,537 bytes", ["--value-file", "-"], "it is above 65536 bytes", "x".repeat(65_537)],
    [
      "standard input to be watched",
      ["--from-file", "-"],
      "cannot use --from-file with standard input",
      undefined,
    ],
    ["a type that does not exist", ["--value", "x", "--type", "barer"], "did you mean bearer?", undefined],
    ["a host that is none", ["--value", "x", "--host=https://x"], "--host 2 times", undefined],
  ];
  for (const [name, flags, words, stdin] of rows) {
    await t.step(name, async () => {
      const { code, stderr, requests } = await runWithApi(
        ["secret", "create", "llm", "--host", "api.example.com", ...flags],
        () => json({}, 201),
        { files: { key: "k", empty: " \n" }, ...(stdin === undefined ? {} : { stdin }) },
      );
      assertStringIncludes(stderr, words);
      assertEquals([code, requests], [2, []]);
    });
  }
  await t.step("65,536 bytes are fine", async () => {
    const { code } = await runWithApi(
      ["secret", "create", "llm", "--host", "a.b", "--value-file", "-"],
      () => json({}, 201),
      { stdin: "x".repeat(65_536) },
    );
    assertEquals(code, 0);
  });
});

Deno.test("run() refuses a bad rule before it asks the API", async (t) => {
  const rows: readonly (readonly [string, string])[] = [
    ["allow ci-1 --host https://x", 'cannot use "https://x" as a host'],
    ["allow ci-1 --host a.b --port 0", "a port is a number from 1 to 65535"],
    ["allow ci-1 --host a.b --port 65536", "a port is a number from 1 to 65535"],
    ["allow ci-1 --host a.b --port http", "a port is a number from 1 to 65535"],
    ["allow ci-1 --host a.b --path v1", 'cannot use "v1" as a path'],
    ["allow ci-1 --host a.b --ttl 5x", 'cannot read "5x" as a duration'],
    ["allow ci-1 --host a.b --ttl 500ms", "cannot use --ttl with parts of a second"],
    ["allow ci-1 --host a.b --passthrough --method GET", "cannot use passthrough with"],
    ["allow c/i --host a.b", 'cannot use "c/i" as a client name'],
    ["client create a/b", 'cannot use "a/b" as a client name'],
    ["rules ../x", 'cannot use "../x" as a client name'],
    ["allow ci-1 --host a.b --url nowhere", "neither a socket nor a URL"],
  ];
  for (const [line, words] of rows) {
    await t.step(line, async () => {
      const { code, stderr, requests } = await runWithApi(line.split(" "), () => json({}));
      assertStringIncludes(stderr, words);
      assertEquals([code, requests], [2, []]);
    });
  }
});

Deno.test("run() fails with exit code 1 and the server's words when the API refuses", async (t) => {
  const rows: readonly (readonly [string, Response, string])[] = [
    [
      "text",
      new Response("Cannot make client ci-1: the name is taken\n", { status: 409 }),
      "error: cannot make client ci-1: the name is taken\n",
    ],
    [
      "text with a hint",
      new Response("Cannot do it: no\nhint: try later", { status: 400 }),
      "error: cannot do it: no\nhint: try later\n",
    ],
    ["no text", new Response(null, { status: 503 }), "it answered with status 503"],
    ["hostile text", new Response("Cannot \x1b[2J", { status: 400 }), "error: cannot \\u{1b}[2J\n"],
    ["a redirect", new Response("moved", { status: 307, headers: { location: "/x" } }), "error: moved\n"],
    [
      "another daemon's 404",
      new Response("404 page not found", { status: 404 }),
      "its answer is not the proxy's",
    ],
    ["our 404", new Response("Cannot find client ci-1", { status: 404 }), "error: cannot find client ci-1\n"],
    ["no JSON", new Response("<html>", { status: 200 }), "its answer is not the proxy's"],
    ["JSON of another shape", json("x"), "its answer is not the proxy's"],
  ];
  for (const [name, response, words] of rows) {
    await t.step(name, async () => {
      const { code, stdout, stderr, requests } = await runWithApi(
        ["client", "rotate", "ci-1"],
        () => response,
      );
      assertStringIncludes(stderr, words);
      assertEquals([code, stdout, requests.length], [1, "", 1]);
    });
  }
});

Deno.test("run() ends quietly with 1 when the reader of its output is gone", async () => {
  const { Output, OutputClosed } = await import("../../../cli/terminal/output.ts");
  const io = fakeIo();
  let words = "";
  const output = new Output(() => {
    throw new OutputClosed();
  }, (bytes) => void (words += new TextDecoder().decode(bytes)));
  assertEquals(await run(["--help"], { ...io, output }), 1);
  assertEquals(words, "");
});

Deno.test("run() makes, shows and uses a host group's CA", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const call = async (...argv: readonly string[]) => {
      const io = fakeIo({ nowMs: NOW_MS });
      return {
        code: await run([...argv, "--ca-dir", `${dir}/ca`], io),
        stdout: io.stdout(),
        stderr: io.stderr(),
      };
    };
    assertEquals((await call("ca", "show")).code, 1);
    const made = await call("ca", "init", "--hostgroup", "lab");
    assertEquals([made.code, made.stdout], [0, `${dir}/ca/ca.crt\n`], made.stderr);
    assertStringIncludes(made.stderr, "made the CA of lab, valid until 2029-01-01");
    const again = await call("ca", "init");
    assertEquals(again.code, 1);
    assertStringIncludes(again.stderr, "hint: with --force");
    const shown: unknown = JSON.parse((await call("ca", "show", "--json")).stdout);
    assert(typeof shown === "object" && shown !== null && "not_after" in shown);
    assertEquals((await call("ca", "init", "--force")).code, 0);
    const issued = await call("ca", "issue", "--host", "a.internal,10.0.0.1", "--out", `${dir}/leaf`);
    assertEquals([issued.code, issued.stdout], [0, `${dir}/leaf.crt\n${dir}/leaf.key\n`], issued.stderr);
    assertStringIncludes(await Deno.readTextFile(`${dir}/leaf.crt`), "BEGIN CERTIFICATE");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
