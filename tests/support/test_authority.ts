/** A CA in memory-like comfort: made in a temporary folder once per test process, for upstreams and for the proxy. */
import { systemClock } from "../../core/clock.ts";
import { loadOrCreateAuthority } from "../../ca/authority.ts";
import { mintLeaf } from "../../ca/leaf.ts";

/** A certificate authority and what it issues. */
export interface TestAuthority {
  readonly caPem: string;
  /** @param nowMs what the certificate takes for the present, epoch milliseconds */
  issue(
    names: readonly string[],
    nowMs?: number,
  ): Promise<{ readonly certPem: string; readonly keyPem: string; readonly renewAt: number }>;
}

/** Makes a new CA. Each has its own key, so that "the proxy's CA" and "the upstream's CA" are not the same. */
export async function makeAuthority(hostgroup: string): Promise<TestAuthority> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-test-ca-" });
  const clock = systemClock();
  const { authority } = await loadOrCreateAuthority({ dir, hostgroup, clock });
  const caPem = await Deno.readTextFile(`${dir}/ca.crt`);
  await Deno.remove(dir, { recursive: true });
  return {
    caPem,
    issue: (names, nowMs = clock.now()) => mintLeaf(authority, names, { nowMs }),
  };
}

let proxyCa: Promise<TestAuthority> | undefined;
let upstreamCa: Promise<TestAuthority> | undefined;

/** The CA that clients of the test proxy trust. */
export function proxyAuthority(): Promise<TestAuthority> {
  return proxyCa ??= makeAuthority("test-proxy");
}

/** The CA that signs the test upstreams. */
export function upstreamAuthority(): Promise<TestAuthority> {
  return upstreamCa ??= makeAuthority("test-upstream");
}
