import { assertEquals, assertFalse, assertThrows } from "@std/assert";
import { DEFAULT_SOCKET as CLI_DEFAULT, parseApiUrl } from "../../../cli/api/url.ts";
import { SlicerProxyError } from "../../../sdk/error.ts";
import { DEFAULT_SOCKET, parseTarget, tokenFor, withEnvironment } from "../../../sdk/target.ts";

Deno.test("parseTarget() takes the addresses that the command line takes, and no others", async (t) => {
  const rows = [
    CLI_DEFAULT,
    "/run/api.sock",
    "/run/api",
    "unix:///run/api",
    "unix:/run/api",
    "unix://./api",
    "unix://api",
    "./api",
    "../api",
    "api.sock",
    "~/api",
    "unix://~/api",
    "http://127.0.0.1:8080",
    "HTTPS://proxy.example",
    "https://proxy.example/base//",
    "http://[::1]:1/",
    "foo",
    "127.0.0.1:8080",
    "unix://",
    "ftp://x/",
    "http://",
    "http://u:hunter2@x/",
    "http://x/?token=hunter2",
    "http://x/#f",
    "/a\0b",
    "",
  ];
  assertEquals(DEFAULT_SOCKET, CLI_DEFAULT);
  for (const text of rows) {
    await t.step(JSON.stringify(text), () => {
      assertEquals(
        outcome(() => parseTarget(text, "/home/me")),
        outcome(() => parseApiUrl(text, "/home/me")),
      );
    });
  }
});

/** The value, or the words of the error less what differs by design: the hint. */
function outcome(parse: () => unknown): unknown {
  try {
    return parse();
  } catch (error) {
    assertFalse(String(error).includes("hunter2"));
    return (error as Error).message;
  }
}

Deno.test("tokenFor() gives the token to TCP alone, and over plain http to this machine alone", async (t) => {
  const refused = "plain http would show it to the network";
  const rows: readonly (readonly [url: string, token: string | undefined, expected: string | undefined])[] = [
    ["/run/api.sock", "hunter2", undefined],
    ["http://127.0.0.1:1", "hunter2", "hunter2"],
    ["http://127.9.9.9:1", "hunter2\n", "hunter2"],
    ["http://0x7f.1:1", "hunter2", "hunter2"],
    ["http://localhost:1", "hunter2", "hunter2"],
    ["http://[::1]:1", "hunter2", "hunter2"],
    ["https://192.0.2.1", "hunter2", "hunter2"],
    ["http://192.0.2.1", undefined, undefined],
    ["http://192.0.2.1", "hunter2", refused],
    ["http://127.0.0.1.example", "hunter2", refused],
    ["http://localhost.example", "hunter2", refused],
    ["http://[::2]", "hunter2", refused],
    ["https://192.0.2.1", " ", "it is empty"],
    ["https://192.0.2.1", "hun\nter2", "it is empty, or has spaces"],
  ];
  for (const [url, token, expected] of rows) {
    await t.step(`${url} ${JSON.stringify(token)}`, () => {
      const target = parseTarget(url, undefined);
      if (expected === undefined || expected === "hunter2") {
        return assertEquals(tokenFor(target, token), expected);
      }
      const error = assertThrows(() => tokenFor(target, token), SlicerProxyError, expected);
      assertFalse(`${error.message}${error.hint}`.includes("hunter2"));
    });
  }
});

Deno.test("withEnvironment() reads what the command line reads, and what is given wins", async (t) => {
  const dir = await Deno.makeTempDir();
  const saved = Deno.env.toObject();
  try {
    await Deno.writeTextFile(`${dir}/token`, "from-file");
    await Deno.writeTextFile(`${dir}/ca.crt`, "pem");
    const socket = { SLICER_URL: "/run/p.sock" };
    const files = { SLICER_TOKEN_FILE: "~/token", SLICER_CA_FILE: `${dir}/ca.crt`, HOME: dir };
    const http = { SLICER_URL: "http://127.0.0.1:1" };
    const https = { SLICER_URL: "https://x.example" };
    type Row = readonly [string, Record<string, string>, Parameters<typeof withEnvironment>[0], unknown];
    const rows: readonly Row[] = [
      ["nothing", {}, {}, { url: undefined }],
      ["a socket needs no files", { ...socket, SLICER_TOKEN_FILE: "/none" }, {}, { url: "/run/p.sock" }],
      ["http", { ...http, ...files }, {}, { url: http.SLICER_URL, token: "from-file", ca: undefined }],
      ["https", { ...https, ...files }, {}, { url: https.SLICER_URL, token: "from-file", ca: "pem" }],
      ["SLICER_TOKEN", { ...http, ...files, SLICER_TOKEN: "from-variable" }, {}, {
        url: http.SLICER_URL,
        token: "from-variable",
        ca: undefined,
      }],
      [
        "given",
        { ...http, ...files },
        { url: "https://y.example", token: "given", ca: "mine", timeoutMs: 1 },
        {
          url: "https://y.example",
          token: "given",
          ca: "mine",
          timeoutMs: 1,
        },
      ],
      ["a given address, and the token of the environment", { ...socket, SLICER_TOKEN: "t" }, {
        url: "http://127.0.0.1:2",
      }, { url: "http://127.0.0.1:2", token: "t", ca: undefined }],
    ];
    for (const [name, env, given, expected] of rows) {
      await t.step(name, () => {
        setEnvironment(env);
        assertEquals(withEnvironment(given), expected);
      });
    }
    await t.step("a file that is not there", () => {
      setEnvironment({ ...http, SLICER_TOKEN_FILE: `${dir}/none` });
      assertThrows(() => withEnvironment({}), SlicerProxyError, `that SLICER_TOKEN_FILE names: ${dir}/none`);
    });
  } finally {
    setEnvironment({});
    for (const [name, value] of Object.entries(saved)) Deno.env.set(name, value);
    await Deno.remove(dir, { recursive: true });
  }
});

function setEnvironment(env: Readonly<Record<string, string>>): void {
  for (const name of ["SLICER_URL", "SLICER_TOKEN", "SLICER_TOKEN_FILE", "SLICER_CA_FILE", "HOME"]) {
    Deno.env.delete(name);
  }
  for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
}
