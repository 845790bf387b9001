/**
 * Whom the proxy trusts upstream: the roots that the runtime carries, or the host's, and what `--upstream-ca` adds. Its files
 * are followed: within seconds a new content is in force, and one that cannot be used leaves the old one in force and is said.
 *
 * Not here: reading a file (`ca_file.ts`), who is asked (`proxy/egress/tls/trust.ts`), and what becomes of connections (`data_plane.ts`).
 *
 * @module
 */
import { isProxyError, messageOf } from "../../core/errors.ts";
import { readCertificates } from "./ca_file.ts";
import type { UpstreamCaFigures } from "../../api/control.ts";
import type { LineLog } from "../../core/log.ts";
import { parseHostPattern } from "../../policy/rule.ts";
import type { TrustedFor } from "../../proxy/egress/tls/trust.ts";

/** How often files are looked at. A new look has to stand until the next before it is read: writers take their time. */
const LOOK_MS = 2_000;

interface Source {
  readonly pattern: string;
  readonly file: string;
  /** Who may own it, beside root and the user that this runs as: whoever did when the operator named it. */
  readonly ownerUid: number | null;
  pem: readonly string[];
  /** What the file looked like when it was read, and at the last look. */
  read: string;
  seen: string;
  error: string | undefined;
}

/** See each field. */
export interface UpstreamTrustOptions {
  /** `--upstream-ca` values: `system`, `FILE`, or `HOST=FILE`. */
  readonly values: readonly string[];
  /** The proxy's own CA, which is never trusted upstream: its holder could be anyone. */
  readonly ownCaPem: () => string;
  readonly log: LineLog;
}

/** The files, followed from {@linkcode follow} until it is disposed. */
export class UpstreamTrust implements AsyncDisposable {
  readonly #options: UpstreamTrustOptions;
  readonly #sources: readonly Source[];
  #inForce: (trusted: readonly TrustedFor[]) => Promise<void> = () => Promise.resolve();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isClosed = false;

  private constructor(options: UpstreamTrustOptions, sources: readonly Source[]) {
    this.#options = options;
    this.#sources = sources;
  }

  /**
   * Reads the files. To be called before the first TLS connection, for the runtime reads which roots to use only once.
   *
   * @throws ProxyError `input.invalid` for a file that cannot be read or used
   */
  static async load(options: UpstreamTrustOptions): Promise<UpstreamTrust> {
    const { values, ownCaPem } = options;
    Deno.env.set("DENO_TLS_CA_STORE", values.includes("system") ? "system" : "mozilla");
    const sources: Source[] = [];
    for (const value of values) {
      if (value === "system") continue;
      const equals = value.indexOf("=");
      const file = equals < 0 ? value : value.slice(equals + 1);
      const pattern = equals < 0 ? "*" : parseHostPattern(value.slice(0, equals));
      const look = await lookOf(file);
      const { pem, ownerUid } = await readCertificates(file, { refusedPem: ownCaPem() });
      sources.push({ pattern, file, ownerUid, pem, read: look, seen: look, error: undefined });
    }
    return new UpstreamTrust(options, sources);
  }

  /** What is trusted now. */
  get trusted(): readonly TrustedFor[] {
    return this.#sources.map(({ pattern, pem }) => ({ pattern, pem }));
  }

  /** For `status`. */
  report(): readonly UpstreamCaFigures[] {
    return this.#sources.map(({ pattern, file, pem, error }) => ({
      host: pattern,
      file,
      certificates: pem.length,
      error,
    }));
  }

  /** Begins to look at the files. `inForce` makes the proxy trust exactly these, and never rejects. */
  follow(inForce: (trusted: readonly TrustedFor[]) => Promise<void>): void {
    this.#inForce = inForce;
    this.#arm();
  }

  /** Reads every file now, whatever it looks like: somebody says that it has changed. */
  async readAgain(): Promise<void> {
    await this.#enqueue({ isAsked: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  #arm(): void {
    if (this.#isClosed || this.#sources.length === 0) return;
    this.#timer = setTimeout(() => {
      void this.#enqueue({ isAsked: false }).then(() => this.#arm());
    }, LOOK_MS);
  }

  /** One look after the other. Never rejects. */
  #enqueue(why: { readonly isAsked: boolean }): Promise<void> {
    const { log } = this.#options;
    return this.#looking = this.#looking.then(() => this.#lookAtAll(why)).catch((error) =>
      log.error(`the files of --upstream-ca cannot be looked at: ${messageOf(error)}`)
    );
  }

  async #lookAtAll({ isAsked }: { readonly isAsked: boolean }): Promise<void> {
    let isChanged = false;
    for (const source of this.#sources) {
      if (this.#isClosed) return;
      const look = await lookOf(source.file);
      const hasSettled = look === source.seen;
      source.seen = look;
      if (!isAsked && (look === source.read || !hasSettled)) continue;
      source.read = look;
      isChanged = await this.#read(source) || isChanged;
    }
    if (isChanged) await this.#inForce(this.trusted);
  }

  /** True when other certificates are to be trusted now. */
  async #read(source: Source): Promise<boolean> {
    const { file, ownerUid, pem: old } = source;
    const { log, ownCaPem } = this.#options;
    try {
      const { pem } = await readCertificates(file, { refusedPem: ownCaPem(), ownerUid });
      source.error = undefined;
      if (pem.length === old.length && pem.every((each, i) => each === old[i])) return false;
      source.pem = pem;
      log.info(`upstream CA ${file}: ${changeOf(old, pem)}`);
      return true;
    } catch (error) {
      if (!isProxyError(error)) throw error;
      if (source.error !== error.message) {
        log.error(`${error.message}; the certificates of before are in force`);
      }
      source.error = error.message;
      return false;
    }
  }
}

function changeOf(old: readonly string[], pem: readonly string[]): string {
  const added = pem.filter((each) => !old.includes(each)).length;
  const removed = old.filter((each) => !pem.includes(each)).length;
  return `${pem.length} in force now, ${added} added, ${removed} removed` +
    (removed > 0 ? "; upstream connections of before are not used again" : "");
}

/** What tells that a file was written or replaced, without reading it. */
async function lookOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtime, mode, uid } = await Deno.stat(path);
    return [dev, ino, size, mtime?.getTime(), mode, uid].join();
  } catch (error) {
    return error instanceof Error ? error.name : "unknown";
  }
}
