/**
 * `--upstream-family` and `--upstream-source`: from where the proxy dials.
 *
 * Not here: dialling (`proxy/egress/connect/connector.ts`).
 *
 * @module
 */
import { formatIp, parseIp } from "../../core/cidr.ts";
import { ProxyError } from "../../core/errors.ts";
import { quoteText } from "../../core/escape.ts";
import { cutAt } from "../../core/text.ts";
import { type DialFrom, familyOf, UPSTREAM_FAMILIES } from "../../proxy/egress/connect/connector.ts";
import type { CommandArgs } from "../command/command.ts";
import { usageError } from "../command/parse.ts";

/**
 * Reads the flags.
 *
 * @throws ProxyError `input.invalid`, `cli.usage`
 */
export function readDialFrom(args: CommandArgs): DialFrom {
  const family = UPSTREAM_FAMILIES.find((each) => each === args.textOf("upstream-family")) ?? "any";
  const sources = args.list("upstream-source").map(parseSource);
  const families = sources.map(familyOf);
  if (new Set(families).size !== families.length) {
    throw usageError(
      "Cannot dial from two addresses of one family",
      "write --upstream-source once for IPv4 and once for IPv6",
    );
  }
  if (family !== "any" && sources.length > 0 && !families.includes(family)) {
    throw usageError(
      `Cannot dial IPv${family} alone from an address of the other family`,
      `add --upstream-source with an IPv${family} address`,
    );
  }
  return { family, sources };
}

/**
 * Makes sure that the machine has the addresses, as it is now.
 *
 * @throws ProxyError `input.invalid`
 */
export function checkSources({ sources }: DialFrom): void {
  if (sources.length === 0) return;
  const own = new Set(
    Deno.networkInterfaces().map(({ address }) => parseIp(cutAt(address, "%"))).filter((ip) =>
      ip !== undefined
    )
      .map(formatIp),
  );
  // The loopback network is on one adapter that names one address of it.
  const missing = sources.find((source) => !own.has(source) && !source.startsWith("127."));
  if (missing === undefined) return;
  throw new ProxyError("input.invalid", `Cannot dial from ${missing}: no network adapter has this address`, {
    hint: "ip -brief address lists those that there are",
  });
}

function parseSource(text: string): string {
  const ip = parseIp(text);
  if (ip && ip.some((byte) => byte !== 0)) return formatIp(ip);
  throw new ProxyError("input.invalid", `Cannot dial from ${quoteText(text, 60)}: it is no address`, {
    hint: "write --upstream-source 192.0.2.7",
  });
}
