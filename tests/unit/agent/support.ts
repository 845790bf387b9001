/** Helpers for the agent's tests: access to a test proxy, and folders that go away. */
import type { ProxyAccess } from "../../../agent/proxy_link.ts";
import { type TestProxy, TOKEN } from "../../support/start_proxy.ts";

/** The way to a test proxy. */
export function accessTo(proxy: TestProxy, token = TOKEN): ProxyAccess {
  return { proxy: { host: "127.0.0.1", port: proxy.tlsPort }, caPem: proxy.caPem, token };
}

/** Runs `body` with a folder of its own. */
export async function withFolder(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-proxy-agent-test-" });
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
