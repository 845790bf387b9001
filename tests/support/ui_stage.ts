/** An API with its web page, and what tests of the page do again and again. */
import type { Page } from "playwright-core";
import type { StoredRecord } from "../../policy/audit_record.ts";
import type { StatusReport } from "../../api/control.ts";
import { REPORT, TestApi } from "../unit/api/support.ts";

/** A denial that a rule would help against. */
export const DENIED: Omit<StoredRecord, "timeMs"> = {
  verdict: "deny",
  client: "ci-1",
  method: "GET",
  scheme: "https",
  host: "api.example.com",
  port: 443,
  path: "/v1/models",
  status: 403,
  mode: "audit",
  reason: "no-rule",
  repeated: 1,
};

/** A new link to the page; with `manage` to a session that may revoke. */
export function linkOf(api: TestApi, rights?: "manage"): Promise<string> {
  const query = rights === "manage" ? "?manage=1" : "";
  return api.call(`/proxy/v1/ui/links${query}`, { method: "POST" }).then(({ text }) => JSON.parse(text).url);
}

/** The page's own origin. */
export function originOf(api: TestApi): string {
  return `http://127.0.0.1:${api.address.port}`;
}

/** Writes audit records, as of now unless they say otherwise. */
export async function write(
  api: TestApi,
  ...records: (Omit<StoredRecord, "timeMs"> & Partial<StoredRecord>)[]
) {
  await api.audit.write(records.map((record) => ({ timeMs: Date.now(), ...record })));
}

/**
 * An API whose clock is this machine's, unlike that of the report in other tests, and whose host is alone.
 *
 * @param fleet asked for each time: the fleet that it is in
 */
export async function startApi(fleet: () => StatusReport["fleet"] = () => undefined): Promise<TestApi> {
  const startedAt = Date.now() - REPORT.uptimeMs;
  const { fleet: _, ...alone } = REPORT;
  return await TestApi.start({
    tcp: {},
    status: () => {
      const now = fleet();
      return { ...alone, startedAt, uptimeMs: Date.now() - startedAt, ...(now ? { fleet: now } : {}) };
    },
  });
}

/** Opens the page with a new link and waits until it is live. */
export async function enter(page: Page, link: string): Promise<void> {
  await page.goto(link);
  await page.locator("#connection", { hasText: /^live$/ }).waitFor();
}

/** Waits until there are exactly so many rows. */
export async function waitRows(page: Page, count: number): Promise<void> {
  await page.locator(`#records tr:nth-child(${count}):last-child`).waitFor();
}
