/**
 * CAs over the API: which one is in use, and taking one into the store. A key comes in, and none ever goes out.
 *
 * Not here: what becomes of a CA that was taken (`certificates.ts`).
 *
 * @module
 */
import type { CaDesk, CaImport, CaReport } from "../../api/control.ts";
import { certificatePath } from "../../ca/authority_files.ts";
import { openValidAuthority } from "../../ca/authority.ts";
import { describeCertificate } from "../../ca/description.ts";
import { formatPem, parsePem } from "../../ca/pem.ts";
import type { Clock } from "../../core/clock.ts";
import { isProxyError, ProxyError } from "../../core/errors.ts";
import { parseName } from "../../core/names.ts";
import type { State } from "../../store/state.ts";
import { type ProxyCertificates, STORE_PLACE } from "./certificates.ts";

/** What stands for a folder in messages about a CA that is brought. */
const CALL_PLACE = "the call";

/** See {@linkcode ProxyCaDesk}. */
export interface CaDeskParts {
  /** This proxy's own. */
  readonly hostgroup: string;
  readonly caDir: string;
  readonly state: Pick<State, "storedCa" | "putCa">;
  readonly certificates: Pick<ProxyCertificates, "authority" | "isStored" | "settled">;
  readonly clock: Clock;
}

/** See the module. */
export class ProxyCaDesk implements CaDesk {
  readonly #parts: CaDeskParts;

  constructor(parts: CaDeskParts) {
    this.#parts = parts;
  }

  async show(hostgroup = this.#parts.hostgroup): Promise<CaReport> {
    const { certificates, state, caDir } = this.#parts;
    await certificates.settled();
    const record = state.storedCa(parseName("host group", hostgroup))?.record;
    const isOwn = hostgroup === this.#parts.hostgroup;
    const certPem = isOwn ? certificates.authority.certPem : record?.certPem;
    if (certPem === undefined) {
      throw new ProxyError(
        "input.not-found",
        `Cannot show the CA of host group ${hostgroup}: the store has none`,
      );
    }
    const isFile = isOwn && !certificates.isStored;
    const { keyId: _, ...described } = await describeCertificate(certPem, isFile ? caDir : STORE_PLACE);
    const { importedAt, renewedAt } = record ?? {};
    return {
      hostgroup,
      ...(isFile ? { from: "file", path: certificatePath(caDir) } : { from: "store" }),
      certPem,
      ...described,
      ...(isFile || importedAt === undefined ? {} : { importedAt }),
      ...(isFile || renewedAt === undefined ? {} : { renewedAt }),
    };
  }

  async import(
    { hostgroup = this.#parts.hostgroup, replace, ...pem }: CaImport,
  ): Promise<{ readonly ca: CaReport; readonly replaced: string | undefined }> {
    const { state, certificates } = this.#parts;
    const { certPem, keyPem } = await this.#checked(pem);
    const { keyId, notAfter } = await describeCertificate(certPem, CALL_PLACE);
    let replaced: string | undefined;
    const check = async (present: string | undefined) => {
      const isOwn = hostgroup === this.#parts.hostgroup;
      const former = present ?? (isOwn ? certificates.authority.certPem : undefined);
      if (former === undefined) return;
      const other = await describeCertificate(former, STORE_PLACE);
      const who = present === undefined ? "this host uses" : "the store has";
      if (other.keyId === keyId) {
        if (replace || Date.parse(notAfter) >= Date.parse(other.notAfter)) return;
        throw new ProxyError(
          "input.conflict",
          `Cannot import the CA of host group ${hostgroup}: this certificate is valid until ${notAfter}, and ${who} ` +
            `a newer one for the same key, until ${other.notAfter}`,
          { hint: "with --replace the older one takes its place" },
        );
      }
      replaced = other.fingerprint;
      if (replace) return;
      throw new ProxyError(
        "input.conflict",
        `Cannot import the CA of host group ${hostgroup}: ${who} another (SHA-256 ${other.fingerprint})`,
        {
          hint: "with --replace it takes that one's place, and VMs trust no host until they have the new one",
        },
      );
    };
    await state.putCa({ hostgroup, certPem, keyPem, check });
    return { ca: await this.show(hostgroup), replaced };
  }

  /** The certificate with its chain, and the key alone, without whatever stood around them. @throws ProxyError `input.invalid` */
  async #checked(
    pair: Pick<CaImport, "certPem" | "keyPem">,
  ): Promise<Pick<CaImport, "certPem" | "keyPem">> {
    try {
      const { certPem } = await openValidAuthority(pair, CALL_PLACE, this.#parts.clock);
      const keys = parsePem(pair.keyPem, CALL_PLACE).filter(({ label }) => label.endsWith("PRIVATE KEY"));
      return { certPem, keyPem: keys.map(({ label, der }) => formatPem(label, der)).join("") };
    } catch (error) {
      if (!isProxyError(error, "ca.invalid") && !isProxyError(error, "ca.expired")) throw error;
      throw new ProxyError(
        "input.invalid",
        error.message,
        error.hint === undefined ? {} : { hint: error.hint },
      );
    }
  }
}
