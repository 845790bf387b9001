/**
 * Looking up DNS records that are no addresses, with the system's name servers.
 *
 * Not here: who may ask for which name (`../../guest/dns_service.ts`), and addresses (`dialler.ts`).
 *
 * @module
 */
import type { DnsRecord } from "../../../core/dns_record.ts";
import type { Asker } from "./asker.ts";

/** The records of a name, none when there are none. Rejects when that cannot be found out before the signal says so. */
export type ResolveRecords = (
  name: string,
  type: DnsRecord["type"],
  asker: Asker,
) => Promise<readonly DnsRecord[]>;

/** Asks one name server, or those of the operating system. */
export function recordLookup(
  nameServer?: { readonly ipAddr: string; readonly port: number },
): ResolveRecords {
  return async (name, type, { signal }) => {
    const options = { signal, ...(nameServer ? { nameServer } : {}) };
    try {
      return await query(`${name}.`, type, options); // no search list of this host
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return []; // no such name, or none of this type: it does not say which
      throw error;
    }
  };
}

async function query(
  name: string,
  type: DnsRecord["type"],
  options: Deno.ResolveDnsOptions,
): Promise<DnsRecord[]> {
  switch (type) {
    case "CNAME":
    case "PTR":
      return (await Deno.resolveDns(name, type, options)).map((name) => ({ type, name }));
    case "MX":
      return (await Deno.resolveDns(name, type, options)).map(({ preference, exchange }) => ({
        type,
        preference,
        name: exchange,
      }));
    case "SRV":
      return (await Deno.resolveDns(name, type, options)).map(({ priority, weight, port, target }) => ({
        type,
        priority,
        weight,
        port,
        name: target,
      }));
    case "TXT":
      return (await Deno.resolveDns(name, type, options)).map((texts) => ({ type, texts }));
  }
}
