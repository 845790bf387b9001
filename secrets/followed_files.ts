/**
 * Static secrets that were given with `--from-file`, and whose file somebody else keeps up to date (Vault Agent, sops,
 * systemd, Kubernetes): within seconds a new content replaces the value, and what was admitted with the old one ends. What
 * cannot be used keeps the old value, and is said.
 *
 * Followed is only what was found on this machine when the secret was made. Not here: logins, whose files are read when they
 * are renewed (`source_login.ts`), and which files are trusted (`source_file.ts`).
 *
 * @module
 */
import { isAbsolute } from "node:path";
import { isProxyError, messageOf } from "../core/errors.ts";
import type { SecretRecord, SecretUpdate } from "../store/records.ts";
import type { Credential } from "./credential.ts";
import { oauthKind, parseSecretValue } from "./kinds.ts";
import type { LoginParts } from "./login.ts";
import { followLinks, readTrustedFile } from "./source_file.ts";

/** How often files are looked at. */
const LOOK_MS = 2_000;
/** A file that was written less long ago may be written once more without another time on it. */
const SETTLED_MS = 3_000;
/** Between two readings that upstreams' refusals force: a client can cause as many as it likes. */
const HURRY_MS = 5_000;
/** What is read between two moments of a writer is read again before it counts as bad. */
const RETRY_PAUSES_MS = [50, 150, 400];

/** See each field. */
export interface FollowedParts
  extends Pick<LoginParts, "clock" | "schedule" | "log" | "reportBug" | "onOutcome"> {
  readonly source: {
    secretValue(name: string): { readonly record: SecretRecord; readonly value: string } | undefined;
    listSecrets(): readonly SecretRecord[];
    updateSecret(name: string, update: SecretUpdate): Promise<SecretRecord | undefined>;
  };
}

/** What is remembered of a file, while its secret is the same. */
interface Followed {
  readonly record: SecretRecord;
  /** What the file looked like when it was read and had settled; another look has it read again. */
  look?: string | undefined;
  hurriedAtMs?: number;
}

/** See the module. Dispose it before the state. */
export class FollowedFiles implements AsyncDisposable {
  readonly #parts: FollowedParts;
  readonly #followed = new Map<string, Followed>();
  /** One reading after the other. */
  #reading: Promise<void> = Promise.resolve();
  #cancelTimer: (() => void) | undefined;
  #isStarted = false;
  #isClosed = false;

  constructor(parts: FollowedParts) {
    this.#parts = parts;
  }

  /** True for a secret whose file is followed. */
  static has({ type, sourceFile, sourceUid }: SecretRecord): boolean {
    return sourceFile !== undefined && sourceUid !== undefined && isAbsolute(sourceFile) && !oauthKind(type);
  }

  /** Begins, with a look at every file. */
  start(): void {
    this.#isStarted = true;
    this.#enqueue(() => this.#lookAtAll());
  }

  /** Secrets were changed. Without any to follow nothing runs. */
  arm(): void {
    if (!this.#isStarted || this.#isClosed || this.#cancelTimer) return;
    if (!this.#parts.source.listSecrets().some(FollowedFiles.has)) return;
    const atMs = this.#parts.clock.now() + LOOK_MS;
    this.#cancelTimer = this.#parts.schedule(atMs, () => {
      this.#cancelTimer = undefined;
      this.#enqueue(() => this.#lookAtAll());
    });
  }

  /** An upstream has refused what came from a file: it is read at once, whatever it looks like, and not too often. */
  hurry({ secret, version }: Credential): void {
    const record = this.#parts.source.secretValue(secret)?.record;
    if (this.#isClosed || record?.version !== version || !FollowedFiles.has(record)) return;
    const followed = this.#entry(record);
    const now = this.#parts.clock.now();
    if (now < (followed.hurriedAtMs ?? -Infinity) + HURRY_MS) return;
    followed.hurriedAtMs = now;
    this.#enqueue(() => this.#read(followed));
  }

  /** Waits for a reading under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#cancelTimer?.();
    await this.#reading;
  }

  #enqueue(run: () => Promise<void>): void {
    this.#reading = this.#reading.then(run).catch(this.#parts.reportBug);
  }

  #entry(record: SecretRecord): Followed {
    const known = this.#followed.get(record.name);
    if (known?.record.version === record.version) return known;
    const made: Followed = { record };
    this.#followed.set(record.name, made);
    return made;
  }

  /** Whatever becomes of this look, there is another one. */
  async #lookAtAll(): Promise<void> {
    try {
      await this.#lookAtEach();
    } finally {
      this.arm();
    }
  }

  async #lookAtEach(): Promise<void> {
    const records = this.#parts.source.listSecrets().filter(FollowedFiles.has);
    const names = new Set(records.map(({ name }) => name));
    for (const name of this.#followed.keys()) if (!names.has(name)) this.#followed.delete(name);
    for (const record of records) {
      if (this.#isClosed) return;
      const followed = this.#entry(record);
      const look = await lookOf(record.sourceFile ?? "");
      if (followed.look === undefined || followed.look !== look.text) await this.#read(followed);
    }
  }

  async #read(followed: Followed): Promise<void> {
    const { name, type, version } = followed.record;
    const look = await lookOf(followed.record.sourceFile ?? "");
    let value: string;
    try {
      value = await this.#usable(followed.record);
    } catch (error) {
      followed.look = this.#settled(look);
      return await this.#note(followed, isProxyError(error) ? error.message : messageOf(error));
    }
    followed.look = this.#settled(look);
    const stored = this.#parts.source.secretValue(name);
    if (stored?.record.version !== version) return; // replaced meanwhile
    if (stored.value === value) {
      if (stored.record.error !== undefined) await this.#update(name, { ifVersion: version, error: null });
      return;
    }
    await this.#update(name, { ifVersion: version, isReplacement: true, value, error: null });
    this.#parts.onOutcome("adopted");
    this.#parts.log.warn(`secret ${name}: its file has changed, and the new ${type} is used`);
  }

  /** What the file holds, once it can be used. @throws ProxyError `input.invalid`, without the credential */
  async #usable({ type, sourceFile = "", sourceUid }: SecretRecord): Promise<string> {
    for (let attempt = 0;; attempt++) {
      try {
        const path = await followLinks(sourceFile, "source file", sourceUid);
        const text = await readTrustedFile(path, "source file", sourceUid);
        return parseSecretValue(type, text, this.#parts.clock.now()).value;
      } catch (error) {
        const pauseMs = RETRY_PAUSES_MS[attempt];
        if (pauseMs === undefined || this.#isClosed) throw error;
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    }
  }

  /** Says once that the file cannot be used. */
  async #note({ record: { name, version } }: Followed, problem: string): Promise<void> {
    const stored = this.#parts.source.secretValue(name);
    const words = `its file is not followed now, and the value of before is used: ${problem}`;
    if (stored?.record.version !== version || stored.record.error === words) return;
    this.#parts.onOutcome("failed");
    this.#parts.log.warn(`secret ${name}: ${words}`);
    await this.#update(name, { ifVersion: version, error: words });
  }

  async #update(name: string, update: SecretUpdate): Promise<void> {
    try {
      await this.#parts.source.updateSecret(name, update);
    } catch (error) {
      if (!isProxyError(error)) throw error;
      this.#parts.log.error(`secret ${name}: what its file holds cannot be stored: ${error.message}`);
      const followed = this.#followed.get(name);
      if (followed) followed.look = undefined; // again at the next look
    }
  }

  /** A look to compare with; undefined for what was written a moment ago. */
  #settled({ text, writtenAtMs }: Look): string | undefined {
    return Date.now() - writtenAtMs < SETTLED_MS ? undefined : text;
  }
}

interface Look {
  readonly text: string;
  /** By the clock of the file system. */
  readonly writtenAtMs: number;
}

/** What tells that a file was written or replaced, without reading it. */
async function lookOf(path: string): Promise<Look> {
  try {
    const { dev, ino, size, mtime, mode, uid } = await Deno.stat(path);
    const writtenAtMs = mtime?.getTime() ?? 0;
    return { text: [dev, ino, size, writtenAtMs, mode, uid].join(), writtenAtMs };
  } catch (error) {
    return { text: error instanceof Error ? error.name : "unknown", writtenAtMs: 0 };
  }
}
