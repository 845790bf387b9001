/**
 * The names under which the helper stands in a VM. A real VM has Slicer's own guest agent, which is called `slicer-agent`
 * (binary, service and folder): none of ours may be mistaken for it, or stand in its place.
 *
 * Not here: what is in these files (`config.ts`, `pieces.ts`).
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";

/** One set of names. */
export interface AgentNames {
  /** Everything of the helper, root's. */
  readonly dir: string;
  /** The systemd unit. */
  readonly unit: string;
  readonly unitFile: string;
  /** Read by login shells. */
  readonly profile: string;
  /** The supervisor's socket, where there is no systemd. */
  readonly socket: string;
  readonly log: string;
}

/** The program's name in a VM. */
export const AGENT_PROGRAM = "slicer-proxy-agent";
/** Where `install` puts a command of that name. */
export const AGENT_COMMAND = `/usr/local/bin/${AGENT_PROGRAM}`;
/** A name that nobody has: the proxy says so, and a helper without a way to the proxy does not. */
export const CHECK_NAME = `check.${AGENT_PROGRAM}.invalid`;

/** What an installation gets. */
export const NAMES: AgentNames = namesOf(AGENT_PROGRAM);
/** What installations before the guest agent was known of got. Only ever read, stopped and undone. */
export const OLDER_NAMES: AgentNames = namesOf("slicer-agent");

/** The names of the installation in this VM: the older ones while one of ours is there by them, and none by the new. */
export function currentNames(): AgentNames {
  return !hasOurJournal(NAMES.dir) && hasOurJournal(OLDER_NAMES.dir) ? OLDER_NAMES : NAMES;
}

/** True when `dir` may be used: it is absent or empty, or its journal is one of ours. */
export function isOurFolder(dir: string): boolean {
  let entries: readonly string[];
  try {
    entries = readdirSync(dir);
  } catch (error) {
    return isMissing(error);
  }
  if (entries.length === 0 || hasOurJournal(dir)) return true;
  // An installation that was killed before its first line.
  return entries.length === 1 && entries[0] === "journal.jsonl" && readText(`${dir}/journal.jsonl`) === "";
}

/** The guest agent has a folder of that name too: what is ours begins with a line that only we write. */
function hasOurJournal(dir: string): boolean {
  return readText(`${dir}/journal.jsonl`)?.startsWith('{"change":"') ?? false;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

function namesOf(name: string): AgentNames {
  return {
    dir: `/etc/${name}`,
    unit: `${name}.service`,
    unitFile: `/etc/systemd/system/${name}.service`,
    profile: `/etc/profile.d/${name}.sh`,
    socket: `/run/${name}.sock`,
    log: `/var/log/${name}.log`,
  };
}
