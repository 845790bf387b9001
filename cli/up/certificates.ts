/**
 * The CA that signs for this proxy, and the certificates that it makes. Where the store has a CA for the host group, that one
 * signs: all hosts of a fleet have it, so that a VM that trusts one of them trusts all. Else it is the one in files, as Slicer
 * makes it. A CA that comes into the store signs at once; what is open goes on.
 *
 * Not here: what is said over the API (`ca_desk.ts`), and who presents the certificates (`proxy/tls/`).
 *
 * @module
 */
import {
  describeAuthority,
  isRenewalDue,
  type LoadedAuthority,
  loadOrCreateAuthority,
  openAuthority,
} from "../../ca/authority.ts";
import { describeCertificate } from "../../ca/description.ts";
import { type Leaf, mintLeaf } from "../../ca/leaf.ts";
import { LeafCache } from "../../ca/leaf_cache.ts";
import { startRenewal } from "../../ca/renewal.ts";
import type { Authority } from "../../ca/signer.ts";
import { callAt, type Clock } from "../../core/clock.ts";
import { isProxyError, messageOf, ProxyError } from "../../core/errors.ts";
import type { LineLog } from "../../core/log.ts";
import type { Certificates } from "../../proxy/context.ts";
import type { StoredCa } from "../../store/cas.ts";
import type { State } from "../../store/state.ts";

/** What stands for a folder in messages about a CA in the store. */
export const STORE_PLACE = "the store";

/** When a CA that cannot be used is looked at again, each time twice as late. */
const RETRY_MS = 1_000;
const LAST_RETRY_MS = 60_000;

/** See {@linkcode ProxyCertificates}. */
export interface CertificatesOptions {
  readonly hostgroup: string;
  /** The folder of `ca.crt` and `ca.key`. */
  readonly caDir: string;
  /** What the certificate of the proxy's own ports is for. */
  readonly names: readonly string[];
  readonly clock: Clock;
  readonly state: Pick<State, "storedCa" | "listCas" | "renewCa" | "onChange" | "fleet">;
  readonly log: LineLog;
}

/** A CA in force. */
interface InForce {
  readonly authority: Authority;
  /** The version of its row, when it is in the store. */
  readonly version: string | undefined;
}

/** See the module. Disposing ends its renewal; it signs on. */
export class ProxyCertificates implements Certificates, Disposable {
  readonly #options: CertificatesOptions;
  readonly leaves: LeafCache;
  #inForce: InForce;
  /** The version that is in force when {@linkcode #switching} has ended, be it that it can be used. */
  #seen: string | undefined;
  /** Never rejects. Whoever wants a certificate waits for it: then none of before is given out after a change. */
  #switching: Promise<void> = Promise.resolve();
  #endRenewal = () => {};
  #endRetry = () => {};
  #isClosed = false;
  readonly #unfollow: () => void;
  /** Is told, at once, that another CA signs from now on. */
  onSwitch: () => void = () => {};

  private constructor(options: CertificatesOptions, inForce: InForce) {
    this.#options = options;
    this.#inForce = inForce;
    this.#seen = inForce.version;
    this.leaves = new LeafCache(inForce.authority, { clock: options.clock });
    this.#renewInTime();
    this.#unfollow = options.state.onChange(() => this.#look());
    this.#look(); // it may have changed since it was read
  }

  /**
   * Finds the CA, or makes one in files where there is none at all.
   *
   * @throws ProxyError `ca.*`; `input.not-found` when the store has CAs of other host groups alone, and the files none: nobody
   * would trust a new one
   */
  static async open(options: CertificatesOptions): Promise<ProxyCertificates> {
    const { hostgroup, state, log } = options;
    const stored = state.storedCa(hostgroup);
    if (!stored) return new ProxyCertificates(options, await openFiles(options));
    const loaded = await renewed(options);
    if (loaded.renewalError) log.warn(loaded.renewalError.message);
    await warnOfOtherFiles(options, loaded.authority);
    return new ProxyCertificates(options, loaded);
  }

  /** The CA that signs. */
  get authority(): Authority {
    return this.#inForce.authority;
  }

  /** Whether that is the one in the store. */
  get isStored(): boolean {
    return this.#inForce.version !== undefined;
  }

  /** Resolves when the CA that was in the store at this moment signs, if it can be used. */
  settled(): Promise<void> {
    return this.#switching;
  }

  async forHost(host: string): Promise<Leaf> {
    await this.#switching;
    return await this.leaves.get(host);
  }

  async isWarm(host: string): Promise<boolean> {
    await this.#switching;
    return this.leaves.has(host);
  }

  forProxy(): Promise<Leaf> {
    return this.#mint(this.#options.names);
  }

  async forTrust(): Promise<string> {
    await this.#switching;
    return this.authority.certPem;
  }

  /** A certificate for the API, which is to be replaced when another CA signs. */
  async forApi(names: readonly string[]): Promise<Leaf> {
    await this.#switching;
    const [version, inForce] = [this.#seen, this.#inForce]; // before: they may change meanwhile
    const leaf = await this.#mint(names);
    const isPast = () => this.#seen !== version || this.#inForce !== inForce;
    return {
      ...leaf,
      get renewAt() {
        return isPast() ? 0 : leaf.renewAt;
      },
    };
  }

  [Symbol.dispose](): void {
    this.#unfollow();
    this.#isClosed = true;
    this.#endRetry();
    this.#endRenewal();
  }

  async #mint(names: readonly string[]): Promise<Leaf> {
    await this.#switching;
    return await mintLeaf(this.authority, names, { nowMs: this.#options.clock.now() });
  }

  /** Told of every change of the policy. A CA that has gone from the store signs until the next start. */
  #look(): void {
    const stored = this.#options.state.storedCa(this.#options.hostgroup);
    if (!stored || stored.record.version === this.#seen) return;
    this.#seen = stored.record.version;
    this.#switching = this.#switching.then(() => this.#take(stored));
    this.onSwitch();
  }

  async #take(stored: StoredCa, tries = 0): Promise<void> {
    const { clock, hostgroup, log } = this.#options;
    this.#endRetry();
    try {
      const authority = await openAuthority(pairOf(stored), STORE_PLACE, clock);
      this.#inForce = { authority, version: stored.record.version };
      this.leaves.setAuthority(authority);
      this.#renewInTime();
      if (tries > 0) this.onSwitch(); // what was made since the first try is of the one before
      const { fingerprint } = await describeCertificate(authority.certPem, STORE_PLACE);
      log.info(`the CA of host group ${hostgroup} is that of the store from now on, SHA-256 ${fingerprint}`);
    } catch (error) {
      if (tries === 0) {
        log.error(`the CA in the store is not used, and the one of before signs on: ${messageOf(error)}`);
      }
      if (this.#isClosed) return;
      // By this host's clock it may begin in a moment: then it must not be the only host that signs with another.
      const retryAt = clock.now() + Math.min(RETRY_MS * 2 ** tries, LAST_RETRY_MS);
      this.#endRetry = callAt(clock, retryAt, () => {
        this.#switching = this.#switching.then(() => this.#take(stored, tries + 1));
      });
    }
  }

  #renewInTime(): void {
    this.#endRenewal();
    const { clock, caDir, hostgroup, log } = this.#options;
    const { authority, version } = this.#inForce;
    const load = version === undefined
      ? () => loadOrCreateAuthority({ dir: caDir, hostgroup, clock })
      : () => renewed(this.#options);
    this.#endRenewal = startRenewal(authority, { clock, load }, {
      onRenewed: (authority) => {
        if (this.isStored) return; // it comes as a change of the store
        this.#inForce = { authority, version: undefined };
        this.leaves.setAuthority(authority);
        log.info("renewed the CA");
      },
      onError: (error) => log.error(`the CA cannot be renewed: ${messageOf(error)}`),
    });
  }
}

/** The CA in files. */
async function openFiles(
  { hostgroup, caDir, clock, state, log }: CertificatesOptions,
): Promise<InForce> {
  const [other] = state.listCas();
  if (other && !await describeFiles(caDir)) {
    throw new ProxyError(
      "input.not-found",
      `Cannot find the CA of host group ${hostgroup}: the store has that of ${other.hostgroup}, and ${caDir} has none`,
      {
        hint:
          `write --hostgroup ${other.hostgroup}, or make one with: slicer-proxy ca init --hostgroup ${hostgroup}`,
      },
    );
  }
  const loaded = await loadOrCreateAuthority({ dir: caDir, hostgroup, clock });
  if (loaded.outcome !== "loaded") log.info(`${loaded.outcome} the CA in ${caDir}`);
  if (loaded.renewalError) log.warn(loaded.renewalError.message);
  if (state.fleet) {
    log.info(`the CA in ${caDir} is this host's alone: slicer-proxy ca import gives it to the fleet`);
  }
  return { authority: loaded.authority, version: undefined };
}

/** The CA in the store, with a certificate that has time left where that can be had. */
async function renewed(
  { hostgroup, clock, state, log }: CertificatesOptions,
): Promise<LoadedAuthority & InForce> {
  const open = async () => {
    const stored = state.storedCa(hostgroup);
    if (!stored) {
      throw new ProxyError(
        "input.not-found",
        `Cannot find the CA of host group ${hostgroup} in the store any more`,
      );
    }
    return {
      authority: await openAuthority(pairOf(stored), STORE_PLACE, clock),
      version: stored.record.version,
    };
  };
  const found = await open();
  const { authority, version: ifVersion } = found;
  if (!isRenewalDue(authority, clock)) return { ...found, outcome: "loaded" };
  try {
    const make = async (nowMs: number) =>
      isRenewalDue(authority, { now: () => nowMs }) ? await authority.renewedCertPem(nowMs) : undefined;
    await state.renewCa(hostgroup, { ifVersion, make }); // unless another host has, a moment ago
  } catch (error) {
    // Seven days are left for the store to come back.
    if (!(error instanceof ProxyError) || authority.notAfterMs <= clock.now()) throw error;
    return { ...found, outcome: "loaded", renewalError: error };
  }
  const now = await open();
  if (now.version === ifVersion) return { ...found, outcome: "loaded" }; // it is not due by the store's clock
  log.info(`the CA of host group ${hostgroup} was renewed in the store`);
  return { ...now, outcome: "renewed" };
}

/** Says that the CA in files is not the one that signs, when VMs would notice. */
async function warnOfOtherFiles(
  { hostgroup, caDir, log }: CertificatesOptions,
  inUse: Authority,
): Promise<void> {
  const files = await describeFiles(caDir);
  const { keyId, fingerprint } = await describeCertificate(inUse.certPem, STORE_PLACE);
  if (!files || files.keyId === keyId) return;
  log.warn(
    `the CA in ${caDir} (SHA-256 ${files.fingerprint}) is not used: the store has another for host group ${hostgroup} ` +
      `(SHA-256 ${fingerprint}), which signs on every host; VMs that trust only the one in files have to trust that one`,
  );
}

/** The CA in files, also one that cannot be read; undefined where there is none. */
async function describeFiles(dir: string): Promise<{ keyId: string; fingerprint: string } | undefined> {
  try {
    return await describeAuthority(dir);
  } catch (error) {
    if (isProxyError(error, "input.not-found")) return undefined;
    return { keyId: "", fingerprint: "unknown" };
  }
}

function pairOf({ record, keyPem }: StoredCa) {
  return { certPem: record.certPem, keyPem };
}
