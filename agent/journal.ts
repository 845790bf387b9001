/**
 * What was changed in the VM, written down before it is changed: so that uninstalling puts everything back, also when the
 * installation was killed in the middle.
 *
 * A line of JSON for each change, in order. Undoing goes from the last to the first. Each undo may be done twice.
 *
 * Not here: what is changed (`install.ts`).
 *
 * @module
 */
import { createHash } from "node:crypto";
import { dirname } from "node:path";
import { ProxyError } from "../core/errors.ts";
import { agentFiles } from "./config.ts";
import { exists, replaceFile } from "./files.ts";

/** How a path was before us. */
export type Was =
  | { readonly kind: "absent" }
  | { readonly kind: "link"; readonly target: string }
  | {
    readonly kind: "file";
    /** The name of the copy below `backup/`. */
    readonly backup: string;
    readonly mode: number;
    readonly uid: number;
    readonly gid: number;
    /** RFC 3339. */
    readonly mtime?: string;
  };

/** One change. */
export type Change =
  | { readonly change: "file"; readonly path: string; readonly was: Was; readonly sha256: string }
  | { readonly change: "folder"; readonly path: string }
  | { readonly change: "trust-store" }
  /** A CA in an NSS store; `isNew` where the store was made for it. */
  | {
    readonly change: "nss";
    readonly path: string;
    readonly uid: number;
    readonly gid: number;
    readonly isNew: boolean;
  }
  | { readonly change: "service"; readonly service: "systemd" | "process" }
  | { readonly change: "redirects"; readonly firewall: "nft" | "iptables" }
  /** Everything is in place; or it is being taken away again. */
  | { readonly change: "complete" | "undoing" };

/** How {@linkcode undoFile} left a path. */
export type Undone = "restored" | "restored-beside-changed";

/** The journal of one VM. */
export class Journal {
  readonly #dir: string;
  readonly #changes: Change[];
  /** Where a last line begins that is cut short. */
  #cutAt: number | undefined;

  private constructor(dir: string, changes: Change[], cutAt: number | undefined) {
    this.#dir = dir;
    this.#changes = changes;
    this.#cutAt = cutAt;
  }

  /**
   * Reads the journal; one that does not exist is empty. A last line that is cut short was never acted upon.
   *
   * @throws ProxyError `state.damaged`
   */
  static async open(dir?: string): Promise<Journal> {
    const files = agentFiles(dir);
    let text = "";
    try {
      text = await Deno.readTextFile(files.journal);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    const lines = text.split("\n").slice(0, -1);
    const changes = lines.map((line) => {
      try {
        return JSON.parse(line) as Change;
      } catch (cause) {
        throw new ProxyError("state.damaged", `Cannot read ${files.journal}: a line is damaged`, { cause });
      }
    });
    const whole = text.lastIndexOf("\n") + 1;
    const cutAt = whole === text.length ? undefined : new TextEncoder().encode(text.slice(0, whole)).length;
    return new Journal(files.dir, changes, cutAt);
  }

  /** In the order in which they were made. */
  get changes(): readonly Change[] {
    return this.#changes;
  }

  /** True when an installation went through to its end, and none of it was undone since. */
  get isComplete(): boolean {
    const last = this.#changes.findLast(({ change }) => change === "complete" || change === "undoing");
    return last?.change === "complete";
  }

  /** Writes a change down, durably. To be called before the change. */
  async add(change: Change): Promise<void> {
    const { journal } = agentFiles(this.#dir);
    if (this.#cutAt !== undefined) await Deno.truncate(journal, this.#cutAt);
    this.#cutAt = undefined;
    using file = await Deno.open(journal, { append: true, create: true, mode: 0o600 });
    const bytes = new TextEncoder().encode(JSON.stringify(change) + "\n");
    for (let sent = 0; sent < bytes.length;) sent += await file.write(bytes.subarray(sent));
    await file.sync();
    this.#changes.push(change);
  }

  /** Makes a folder, and those above it, and notes which of them are new. */
  async makeFolder(path: string): Promise<void> {
    if (await exists(path)) return;
    await this.makeFolder(dirname(path));
    await this.add({ change: "folder", path });
    await Deno.mkdir(path, { mode: 0o755 });
  }

  /**
   * Puts `content` at `path`; what was there is kept, once. A file that was there keeps its owner and, without `mode`, its
   * permissions.
   */
  async writeFile(path: string, content: string, mode?: number): Promise<void> {
    await this.makeFolder(dirname(path));
    const earlier = this.#fileChange(path);
    const was = earlier?.was ?? await this.#keep(path);
    await this.add({ change: "file", path, was, sha256: sha256(content) });
    const owner = was.kind === "file" ? { uid: was.uid, gid: was.gid } : {};
    await replaceFile(path, content, {
      mode: mode ?? (was.kind === "file" ? was.mode : 0o644),
      ...owner,
    });
  }

  /** The latest change of a file. */
  #fileChange(path: string) {
    return this.#changes.findLast((each) => each.change === "file" && each.path === path) as
      | Extract<Change, { change: "file" }>
      | undefined;
  }

  async #keep(path: string): Promise<Was> {
    let info: Deno.FileInfo;
    try {
      info = await Deno.lstat(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return { kind: "absent" };
      throw error;
    }
    if (info.isSymlink) return { kind: "link", target: await Deno.readLink(path) };
    if (!info.isFile) throw new ProxyError("agent.failed", `Cannot change ${path}: it is no file`);
    const { backups } = agentFiles(this.#dir);
    await Deno.mkdir(backups, { recursive: true, mode: 0o700 });
    const backup = `${this.#changes.length}-${path.replaceAll("/", "-").replace(/^-/, "")}`;
    await replaceFile(`${backups}/${backup}`, await Deno.readFile(path), { mode: 0o600 });
    return {
      kind: "file",
      backup,
      mode: (info.mode ?? 0o644) & 0o7777,
      uid: info.uid ?? 0,
      gid: info.gid ?? 0,
      ...(info.mtime ? { mtime: info.mtime.toISOString() } : {}),
    };
  }
}

/**
 * Puts a file back as it was. What somebody else has written there since is kept beside it, as `PATH.before-uninstall`.
 */
export async function undoFile(
  { path, was, sha256: wrote }: Extract<Change, { change: "file" }>,
  dir?: string,
): Promise<Undone> {
  let isChanged = false;
  const now = await Deno.readFile(path).catch(() => undefined);
  const original = was.kind === "file"
    ? await Deno.readFile(`${agentFiles(dir).backups}/${was.backup}`)
    : undefined;
  if (now && sha256(now) !== wrote && !(original && sha256(original) === sha256(now))) {
    isChanged = !(await Deno.lstat(path)).isSymlink;
    if (isChanged) await replaceFile(`${path}.before-uninstall`, now, { mode: 0o600 });
  }
  if (was.kind === "absent") {
    await Deno.remove(path).catch(ignoreMissing);
  } else if (was.kind === "link") {
    await Deno.remove(path).catch(ignoreMissing);
    await Deno.symlink(was.target, path);
  } else if (original) {
    await replaceFile(path, original, was);
    if (was.mtime !== undefined) await Deno.utime(path, new Date(), new Date(was.mtime));
  }
  return isChanged ? "restored-beside-changed" : "restored";
}

/** Removes a folder that we made, when it is empty again. */
export async function undoFolder(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch {
    // Missing, or somebody else has put something into it.
  }
}

/** The hash of what was written, in hexadecimal digits. */
export function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
