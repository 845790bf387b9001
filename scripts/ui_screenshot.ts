/**
 * Takes the README's picture of the web page, `docs/ui.png`: `deno run -A scripts/ui_screenshot.ts [FILE]`. With `--dark`,
 * `--width 390`, `--manage`, `--fleet` and `--show NAME` it takes others, for whoever changes the page. Real page, real API, real
 * Chromium; what it shows is made up.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { parseRule } from "../policy/rule.ts";
import type { Page } from "playwright-core";
import type { Origin, StoredRecord } from "../policy/audit_record.ts";
import type { StatusReport } from "../api/control.ts";
import { findBrowser, TestBrowser } from "../tests/support/browser.ts";
import { REPORT, TestApi } from "../tests/unit/api/support.ts";

const MINUTE_MS = 60_000;
const UP_MS = 77 * 60 * MINUTE_MS;

type Made = Omit<StoredRecord, "timeMs" | "repeated"> & { readonly repeated?: number };

const ORIGINS: Readonly<Record<string, string>> = {
  "ci-main": "10.0.0.5",
  "review-agent": "10.0.0.6",
  "build-42": "10.0.0.9",
  "nightly-docs": "[fd00::7]",
};

/** What is opened before the picture. */
const VIEWS: Readonly<Record<string, (page: Page) => Promise<void>>> = {
  proposal: async (page) => {
    await page.getByRole("button", { name: "Propose a rule for GET api.github.com" }).first().click();
    await page.getByText("Add this rule").waitFor();
  },
  tunnel: async (page) => {
    await page.getByRole("button", { name: "Propose a rule for CONNECT" }).first().click();
    await page.getByRole("dialog").getByText("Learn for 15 minutes").waitFor();
  },
  reason: async (page) => {
    await page.getByRole("button", { name: "no-rule" }).first().focus();
  },
  revoke: async (page) => {
    await page.getByRole("button", { name: /^Revoke the rule of ci-main/ }).first().click();
  },
  denied: async (page) => {
    await page.getByLabel("denied only").check();
  },
};

const HTTPS = { method: "GET", scheme: "https", port: 443, status: 200 } as const;
const DENIED = { ...HTTPS, verdict: "deny", mode: "audit", status: 403, reason: "no-rule" } as const;

/** Records, and how often each is among a hundred. */
const RECORDS: readonly (readonly [share: number, record: Made])[] = [
  [30, {
    ...HTTPS,
    verdict: "allow",
    client: "review-agent",
    method: "POST",
    host: "api.anthropic.com",
    path: "/v1/messages",
    secret: "llm-key",
    sent: 5_120,
    received: 20_480,
    durationMs: 2_340,
  }],
  [20, {
    ...HTTPS,
    verdict: "allow",
    client: "ci-main",
    host: "registry.npmjs.org",
    path: "/@types%2fnode",
    sent: 0,
    received: 310_200,
    durationMs: 84,
  }],
  [14, {
    ...HTTPS,
    verdict: "allow",
    client: "ci-main",
    host: "github.com",
    path: "/acme/api.git/info/refs",
    secret: "github-app",
    sent: 0,
    received: 5_200,
    durationMs: 210,
  }],
  [12, {
    ...HTTPS,
    verdict: "allow",
    client: "build-42",
    scheme: "http",
    port: 80,
    host: "archive.ubuntu.com",
    path: "/ubuntu/pool/main/n/nginx/nginx_1.24.0-2ubuntu7_amd64.deb",
    sent: 0,
    received: 1_204_000,
    durationMs: 145,
  }],
  [9, {
    verdict: "passthrough",
    client: "build-42",
    host: "db.internal.example",
    port: 5432,
    sent: 812,
    received: 20_480,
    durationMs: 3_100,
  }],
  [4, {
    ...HTTPS,
    verdict: "allow",
    client: "review-agent",
    method: "POST",
    host: "vectors.example.com",
    path: "/vectors.Search/Query",
    proto: "h2",
    grpcStatus: 7,
    sent: 220,
    received: 0,
    durationMs: 12,
  }],
  [7, { ...DENIED, client: "review-agent", host: "pypi.org", path: "/simple/requests/" }],
  [5, { ...DENIED, client: "ci-main", host: "api.github.com", path: "/repos/acme/api/releases/latest" }],
  [2, {
    ...DENIED,
    client: "nightly-docs",
    method: "POST",
    host: "paste.example.net",
    path: "/up",
    repeated: 5,
  }],
  [1, { ...DENIED, client: "build-42", host: "169.254.169.254", path: "/latest/", reason: "address-denied" }],
];

const RULES: readonly (readonly [client: string, rule: Parameters<typeof parseRule>[0], minutes?: number])[] =
  [
    ["ci-main", {
      host: "github.com",
      methods: ["GET", "POST"],
      paths: ["/acme/api.git/*"],
      secret: "github-app",
    }],
    ["ci-main", { host: "registry.npmjs.org", methods: ["GET"] }, 41],
    ["review-agent", {
      host: "api.anthropic.com",
      methods: ["POST"],
      paths: ["/v1/messages"],
      secret: "llm-key",
    }, 9_000],
    ["review-agent", { host: "*.githubusercontent.com", methods: ["GET"] }, 0.5],
    ["build-42", { host: "archive.ubuntu.com", methods: ["GET"], paths: ["/ubuntu/*"] }],
    ["build-42", { host: "db.internal.example", ports: [5432], passthrough: true }, 120],
    ["nightly-docs", { host: "search.example.com", methods: ["GET"], secret: "search-key" }],
  ];

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...Deno.args],
    allowPositionals: true,
    options: {
      dark: { type: "boolean" },
      manage: { type: "boolean" },
      width: { type: "string" },
      show: { type: "string" },
      full: { type: "boolean" },
      fleet: { type: "boolean" },
    },
  });
  const path = findBrowser();
  if (path === undefined) Deno.exit(1);
  const startedAt = Date.now() - UP_MS;
  const { fleet, ...alone } = REPORT;
  await using api = await TestApi.start({
    tcp: {},
    status: () => ({
      ...(values.fleet && fleet ? { ...alone, fleet: lately(fleet) } : alone),
      mode: "strict",
      version: "0.1.0",
      startedAt,
      uptimeMs: Date.now() - startedAt,
      openTunnels: 23,
      store: { ...REPORT.store, clients: 4, rules: RULES.length, secrets: 2 },
      sentBytes: 48_200_000,
      receivedBytes: 1_912_000_000,
    }),
  });
  await fill(api);
  await using browser = await TestBrowser.start(path);
  const { page } = await browser.open([], {
    viewport: { width: Number(values.width ?? 1_280), height: 800 },
    colorScheme: values.dark ? "dark" : "light",
  });
  const { text } = await api.call(`/proxy/v1/ui/links${values.manage ? "?manage=1" : ""}`, {
    method: "POST",
  });
  await page.goto(JSON.parse(text).url);
  await page.locator("#records tr").first().waitFor();
  await page.locator("#client-list li").nth(5).waitFor();
  await page.locator("#plot rect.deny").first().waitFor();
  await VIEWS[values.show ?? ""]?.(page);
  const width = await page.evaluate("document.documentElement.scrollWidth");
  if (width !== Number(values.width ?? 1_280)) throw new Error(`the page is ${width} wide`);
  await page.screenshot({
    path: positionals[0] ?? new URL("../docs/ui.png", import.meta.url).pathname,
    fullPage: values.full ?? false,
  });
}

/** The fleet of the tests' report, as of now. */
function lately(fleet: NonNullable<StatusReport["fleet"]>): NonNullable<StatusReport["fleet"]> {
  const hosts = fleet.roster.hosts.map((host, i) => ({ ...host, lastSeen: Date.now() - i * 40_000 }));
  return { ...fleet, awaySince: undefined, roster: { ...fleet.roster, hosts } };
}

async function fill({ control, audit }: TestApi): Promise<void> {
  for (
    const [name, host] of [["llm-key", "api.anthropic.com"], ["github-app", "github.com"], [
      "search-key",
      "search.example.com",
    ]] as const
  ) {
    await control.putSecret({ name, host, type: "bearer", value: "v", cleartext: false }, { force: false });
  }
  for (const name of ["ci-main", "review-agent", "build-42", "nightly-docs"]) {
    await control.createClient(name);
  }
  for (const [client, rule, minutes] of RULES) {
    await control.addRule(
      client,
      parseRule(rule),
      minutes === undefined ? {} : { ttlMs: minutes * MINUTE_MS + 20_000 },
    );
  }
  await control.deleteSecret("search-key");
  await control.switchMode({ client: "review-agent", mode: "audit", ttlMs: 14 * MINUTE_MS });
  // The same picture each time, but for the clock.
  let seed = 7;
  const random = () => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31;
  const bag = RECORDS.flatMap(([share, record]) => Array<Made>(share).fill(record));
  const nowMs = Date.now();
  const records: StoredRecord[] = [];
  for (let timeMs = nowMs - 30 * MINUTE_MS; timeMs < nowMs; timeMs += 1_000 + random() * 3_000) {
    if (random() > 0.35 + 0.65 * Math.sin(timeMs / 200_000) ** 2) continue;
    const record = bag[Math.floor(random() * bag.length)];
    if (record) {
      records.push({ repeated: 1, ...record, timeMs: Math.round(timeMs), origin: originOf(record, random) });
    }
  }
  const [, denied] =
    RECORDS.find(([, { client, verdict }]) => client === "review-agent" && verdict === "deny") ?? [];
  const tunnel = { ...DENIED, method: "CONNECT", client: "nightly-docs", host: "docs.example.org" };
  for (const [made, agoMs] of [[denied, 6_000], [tunnel, 11_000]] as const) {
    if (!made) continue;
    const mode = made === tunnel ? { mode: "strict" as const } : {};
    const origin = originOf(made, random);
    records.push({ repeated: 1, ...made, ...mode, timeMs: nowMs - agoMs, origin });
  }
  await audit.write(records.sort((a, b) => a.timeMs - b.timeMs));
}

function originOf({ client = "", port }: Made, random: () => number): Origin {
  const tls = port === 80 || port === 5_432 ? {} : { tls: client === "build-42" ? "1.2" : "1.3" } as const;
  return {
    src: `${ORIGINS[client] ?? "10.0.0.1"}:${40_000 + Math.floor(random() * 9_000)}`,
    proxyPort: client === "build-42" ? 3_128 : 3_129,
    ...tls,
  };
}

await main();
