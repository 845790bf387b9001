/**
 * The CAs that the helper has put into this VM's stores: looking at them, and taking them out again.
 *
 * @module
 */
import { X509Certificate } from "node:crypto";
import { ProxyError } from "../core/errors.ts";
import { exists, readIfThere } from "./files.ts";
import { type Change, Journal } from "./journal.ts";
import { caInNss, removeFromNss } from "./nss.ts";
import {
  anchorPath,
  caInJava,
  cleanTrustStore,
  findTrustStore,
  fingerprintsOf,
  splitCertificates,
} from "./trust.ts";

/** A CA, and every store that holds it. */
export interface PlacedCa {
  /** SHA-256 over the DER, lower-case hexadecimal. */
  readonly fingerprint: string;
  readonly subject: string;
  /** RFC 3339. */
  readonly notBefore: string;
  readonly notAfter: string;
  readonly stores: readonly string[];
}

/** A store that may hold CAs of ours. */
interface Place {
  readonly name: string;
  /** PEM of ours in it, empty when there is none. */
  readonly pem: string;
  /** Takes out all of ours. */
  readonly clear: () => Promise<void>;
}

/** All of them. Needs root, whose the journal is. */
export async function placedCas(): Promise<readonly PlacedCa[]> {
  const found = new Map<string, PlacedCa>();
  for (const { name, pem } of await places()) {
    for (const certificate of splitCertificates(pem)) {
      const [fingerprint = ""] = fingerprintsOf(certificate);
      const { subject, validFrom, validTo } = new X509Certificate(certificate);
      found.set(fingerprint, {
        fingerprint,
        subject: subject.replaceAll("\n", ", "),
        notBefore: new Date(validFrom).toISOString(),
        notAfter: new Date(validTo).toISOString(),
        stores: [...found.get(fingerprint)?.stores ?? [], name],
      });
    }
  }
  return [...found.values()];
}

/**
 * The one CA that `fingerprint` begins like, or the only one there is.
 *
 * @throws ProxyError `input.invalid`, `state.missing`
 */
export async function placedCa(fingerprint: string | undefined): Promise<PlacedCa> {
  const wanted = (fingerprint ?? "").replace(/^sha256:/i, "").replaceAll(":", "").toLowerCase();
  const matching = (await placedCas()).filter((ca) => ca.fingerprint.startsWith(wanted));
  const [only, ...others] = matching;
  if (only && others.length === 0) return only;
  if (only) {
    throw new ProxyError("input.invalid", `Cannot tell which CA is meant: ${matching.length} would be`, {
      hint: "slicer-proxy-agent proxy ca list shows their SHA-256: write more of it",
    });
  }
  throw new ProxyError(
    "agent.failed",
    "Cannot find such a CA: the helper has put none like it into this VM",
    {
      hint: "slicer-proxy-agent proxy ca list",
    },
  );
}

/**
 * Takes CAs out of every store that holds them.
 *
 * @param fingerprint of one, or undefined for all
 * @returns the names of the stores that were changed
 * @throws ProxyError `agent.failed`
 */
export async function removePlacedCas(fingerprint?: string): Promise<readonly string[]> {
  const changed: string[] = [];
  for (const { name, pem, clear } of await places()) {
    const held = splitCertificates(pem).flatMap(fingerprintsOf);
    if (held.length === 0 || (fingerprint !== undefined && !held.includes(fingerprint))) continue;
    await clear();
    changed.push(name);
  }
  return changed;
}

async function places(): Promise<readonly Place[]> {
  const found: Place[] = [];
  const store = await findTrustStore();
  if (store) {
    const path = anchorPath(store);
    found.push({
      name: path,
      pem: await readIfThere(path) ?? "",
      clear: async () => {
        if (await exists(path)) await Deno.remove(path);
        await cleanTrustStore(store);
      },
    });
    // After the system's store: its hook puts the CA into Java's too, and taking it out there takes it out here.
    found.push({ name: "java", pem: await caInJava(), clear: () => cleanTrustStore(store) });
  }
  const journal = await Journal.open();
  const stores = journal.changes.filter((each): each is Extract<Change, { change: "nss" }> =>
    each.change === "nss"
  );
  for (const each of new Map(stores.map((change) => [change.path, change])).values()) {
    found.push({
      name: each.path,
      pem: await caInNss(each) ?? "",
      clear: () => removeFromNss(each, each.isNew),
    });
  }
  return found;
}
