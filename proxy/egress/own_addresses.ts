/**
 * Where this process is: what must not be dialled lest a request goes round for ever.
 *
 * @module
 */
import { type Cidr, parseCidr } from "../../core/cidr.ts";
import type { Clock } from "../../core/clock.ts";
import { cutAt } from "../../core/text.ts";

/** How long the list of local addresses is good for: adapters come and go while VMs do. */
const LOCAL_ADDRESSES_MS = 5_000;
const LOOPBACK = [
  parseCidr("127.0.0.0/8"),
  parseCidr("::1/128"),
  parseCidr("0.0.0.0/32"),
  parseCidr("::/128"),
];
let localCache: { readonly until: number; readonly cidrs: readonly Cidr[] } | undefined;

/** Every address of this machine. */
export function localAddresses(clock: Pick<Clock, "monotonic">): readonly Cidr[] {
  const now = clock.monotonic();
  if (!localCache || localCache.until <= now) {
    const own = Deno.networkInterfaces().map(({ address }) => parseCidr(cutAt(address, "%")));
    localCache = { until: now + LOCAL_ADDRESSES_MS, cidrs: [...LOOPBACK, ...own] };
  }
  return localCache.cidrs;
}

/** The addresses at which one of `listeners` can be reached on a port: its own, or for one on all addresses every one. */
export function listenersOn(
  port: number,
  listeners: readonly Pick<Deno.NetAddr, "hostname" | "port">[],
  clock: Pick<Clock, "monotonic">,
): readonly Cidr[] {
  return listeners.filter((each) => each.port === port).flatMap(({ hostname }) =>
    hostname === "0.0.0.0" || hostname === "::" ? localAddresses(clock) : [parseCidr(hostname)]
  );
}
