import { assertEquals, assertStringIncludes } from "@std/assert";
import { statusText } from "../../../../cli/review/status_text.ts";

const STATUS = {
  version: "1.2.3",
  started_at: "2026-01-02T03:04:05.000Z",
  uptime_seconds: 273_845,
  mode: "audit",
  hostgroup: "sbox",
  bind: "192.168.222.1",
  http_port: 3128,
  https_port: 3129,
  clients: 12,
  secrets: 3,
  rules: 1,
  open_connections: 7,
  max_connections: 4_700,
  open_tunnels: 1,
  idle_upstreams: 3,
  tls_listeners: 2,
  workers: 4,
  replaced_workers: 0,
  requests: { allow: 12_345, deny: 77, passthrough: 13 },
  denials: {
    "auth-invalid": 3,
    "no-rule": 60,
    quota: 5,
    malformed: 4,
    revoked: 2,
    "sni-missing": 2,
    internal: 1,
  },
  failures: { dns: 4 },
  responses: { "1xx": 0, "2xx": 12_341, "3xx": 0, "4xx": 0, "5xx": 4 },
  renewals: { renewed: 14, adopted: 15, failed: 16, refused: 17 },
  sent_bytes: 1_023,
  received_bytes: 3 * 1_048_576 + 200_000,
  certificates: { entries: 1, hits: 2, misses: 3, minted: 1, mint_failures: 0 },
  audit_log: { writable: true, queued: 0, write_failures: 0, coalesced: 9 },
  store: { writes: 30, write_failures: 0, database_bytes: 78_288 },
  process: {
    started_at: "2026-01-02T03:04:04.000Z",
    cpu_seconds: 4.5,
    resident_bytes: 126_000_000,
    open_fds: 96,
    max_fds: 20_000,
  },
  upstream_cas: [],
  secret_errors: [],
};

Deno.test("statusText() says one aspect a line, reasons by their number", () => {
  assertEquals(
    statusText(STATUS),
    `slicer-proxy 1.2.3, up for 3d4h, since 2026-01-02T03:04:05.000Z

mode         audit
host group   sbox
listening    192.168.222.1:3128 (plain) and 192.168.222.1:3129 (TLS)
policy       12 clients, 1 rule, 3 secrets
open         7 connections (4,700 at most), 1 tunnel, 3 idle upstream connections
requests     12,345 allowed, 77 denied, 13 passed through
denied       no-rule 60, quota 5, malformed 4, auth-invalid 3, revoked 2, others 3
failed       dns 4
bytes        1,023 bytes from clients, 3.2 MiB to clients
renewals     14 renewed, 15 adopted, 16 failed, 17 refused
audit log    ok
state        30 writes, 76.5 KiB on the disk
workers      4
process      120.2 MiB of memory, 96 of 20,000 file descriptors`,
  );
});

Deno.test("statusText() says what asks for somebody's hand, and the command for it", async (t) => {
  const rows: readonly (readonly [string, Readonly<Record<string, unknown>>, string])[] = [
    [
      "an audit log on a full disk",
      { audit_log: { writable: false, queued: 1_200, write_failures: 4 } },
      "\naudit log    CANNOT BE WRITTEN, so new requests are refused: make room on its disk, or make the file " +
      "writable, 1,200 records waiting\n",
    ],
    [
      "an audit log that was on a full disk",
      { audit_log: { writable: true, queued: 1, write_failures: 1 } },
      "\naudit log    ok, 1 record waiting, 1 failed write\n",
    ],
    [
      "a state that could not be written",
      { store: { writes: 30, write_failures: 2 } },
      "\nstate        30 writes, 2 of them failed\n",
    ],
    [
      "parent proxies, for all hosts and for some",
      {
        upstream_proxies: [{ hosts: "*", url: "http://p.corp:1" }, {
          hosts: "*.lab.test",
          url: "https://l:2",
        }],
      },
      "\nparent proxy   http://p.corp:1, https://l:2 for *.lab.test\n",
    ],
    [
      "upstreams whose first address is dead",
      {
        dead_addresses: ["a", "b", "c", "d"].map((host) => ({
          place: `${host}.test:443`,
          address: "2001:db8::1",
          instead: "192.0.2.1",
        })),
      },
      "\ndead addresses   2001:db8::1 of a.test:443, 2001:db8::1 of b.test:443, 2001:db8::1 of c.test:443, and 1 more\n",
    ],
    [
      "secrets that cannot be used",
      {
        secret_errors: [
          {
            name: "claude",
            host: "api.anthropic.com",
            type: "oauth-claude",
            error: "the login must be renewed",
          },
          { name: "all", host: "*.example.com", type: "oauth-xai", error: "refused" },
        ],
      },
      "\n\nsecrets that cannot be used:\n" +
      "  claude: the login must be renewed\n" +
      "    get a new login or key, then: slicer-proxy secret create claude --force --host api.anthropic.com " +
      "--type oauth-claude --value-file FILE\n" +
      "  all: refused\n" +
      "    get a new login or key, then: slicer-proxy secret create all --force --host '*.example.com' " +
      "--type oauth-xai --value-file FILE",
    ],
    ["no limit known", { max_connections: undefined }, "\nopen         7 connections, 1 tunnel, 3 idle"],
    ["a worker that died", { replaced_workers: 2 }, "\nworkers      4, REPLACED 2 times: the log says why"],
    [
      "an upstream CA whose file is bad now",
      {
        upstream_cas: [{ certificates: 2 }, { certificates: 1, error: "Cannot use the upstream CA f: gone" }],
      },
      "\nupstream CA   3 certificates in 2 files; CHANGED, AND NOT IN FORCE: Cannot use the upstream CA f: gone",
    ],
    ["no descriptors known", { process: { resident_bytes: 1_024 } }, "\nprocess      1.0 KiB of memory"],
    ["an address of IPv6", { bind: "::1" }, "[::1]:3128 (plain) and [::1]:3129 (TLS)"],
    [
      "two addresses",
      { bind: "::1", binds: ["::1", "10.0.0.1"] },
      "[::1]:3128 (plain) and [::1]:3129 (TLS), 10.0.0.1:3128 (plain) and 10.0.0.1:3129 (TLS)",
    ],
    ["terabytes", { sent_bytes: 5_000 * 1_024 ** 4 }, "\nbytes        5000.0 TiB from clients, "],
  ];
  for (const [name, change, expected] of rows) {
    await t.step(name, () => assertStringIncludes(statusText({ ...STATUS, ...change }), expected));
  }
});

Deno.test("statusText() lets no value forge a line or drive a terminal", () => {
  const text = statusText({
    ...STATUS,
    mode: "strict\nforged",
    denials: { "x\x1b[2J": 1 },
    secret_errors: [{ name: "a\nb", host: "h", type: "t", error: "no\r\nforged" }],
  });
  assertEquals(text.split("\n").filter((line) => line.includes("forged")).map((line) => line.trim()), [
    "mode         strict\\u{a}forged",
    "a\\u{a}b: no\\u{d}\\u{a}forged",
  ]);
  assertEquals(/\p{Cc}/u.test(text.replaceAll("\n", "")), false);
});

Deno.test("statusText() leaves out what an older proxy does not say", () => {
  const { audit_log: _a, store: _s, process: _p, denials: _d, failures: _f, workers: _w, ...older } = STATUS;
  const lines = statusText(older).split("\n");
  assertEquals(lines.slice(2).map((line) => line.slice(0, 10).trimEnd()), [
    "mode",
    "host group",
    "listening",
    "policy",
    "open",
    "requests",
    "bytes",
    "renewals",
  ]);
});

Deno.test("statusText() tells a short life in whole seconds", () => {
  const first = (seconds: number) => statusText({ ...STATUS, uptime_seconds: seconds }).split(",")[1];
  assertEquals([0, 59, 60].map(first), [" up for 0s", " up for 59s", " up for 1m"]);
});

Deno.test("statusText() says how the fleet is, and what all its hosts do together", () => {
  const fleet = {
    ...{ name: "default", host: "host-1", sequence: 9, behind: 0, behind_seconds: 0.4 },
    hosts: { live: 3, late: 0, denies: 0 },
    ...{ open_connections: 1_012, open_tunnels: 1, requests: { allow: 5, deny: 6, passthrough: 7 } },
  };
  const lines = (more: object) =>
    statusText({ ...STATUS, fleet: { ...fleet, ...more } }).split("\n").filter((line) =>
      /^(fleet|all its hosts) /.test(line)
    );
  assertEquals(lines({}), [
    "fleet           default, this is host-1; 3 live",
    "all its hosts   1,012 connections, 1 tunnel; 5 allowed, 6 denied, 7 passed through",
  ]);
  const [first] = lines({
    ...{ behind: 1, hosts: { live: 1, late: 1, denies: 1 }, store_away_since: "2026-01-02T03:04:05.000Z" },
  });
  assertEquals(
    first,
    "fleet           default, this is host-1, 1 change behind; 1 live, 1 late, " +
      "1 out of reach and denying (slicer-proxy fleet says which); THE STORE IS AWAY since 2026-01-02T03:04:05.000Z: " +
      "no change is taken, and the policy counts for --store-grace",
  );
});
