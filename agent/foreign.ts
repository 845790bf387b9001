/**
 * Looks for what somebody else has put where the helper's own pieces go. An installation over a program that it does not know
 * could end that program, and the VM with it: so it refuses, before it has touched anything.
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { exists, readIfThere } from "./files.ts";
import { AGENT_COMMAND, isOurFolder, NAMES } from "./names.ts";
import { MARK } from "./pieces.ts";

/** Where systemd looks for units, the administrator's first (systemd.unit(5)). */
const UNIT_FOLDERS = [
  "/etc/systemd/system",
  "/run/systemd/system",
  "/usr/lib/systemd/system",
  "/lib/systemd/system",
];

/** A script that runs a program is no longer than this, in characters. */
const MAX_SCRIPT_CHARS = 4_096;

/**
 * Refuses when a name that the helper wants is taken.
 *
 * @param self this program and its arguments up to the command
 * @throws ProxyError `agent.failed`, naming what is there
 */
export async function refuseForeign(self: readonly string[]): Promise<void> {
  if (!isOurFolder(NAMES.dir)) refuse("folder", NAMES.dir);
  for (const folder of UNIT_FOLDERS) await mustBeOurs("service", `${folder}/${NAMES.unit}`);
  await mustBeOurs("file", NAMES.profile);
  if (await exists(AGENT_COMMAND) && !await isThisProgram(self)) await mustBeOurs("program", AGENT_COMMAND);
}

/** True when the command in the VM is this very program, by a link or a script. */
export async function isThisProgram(self: readonly string[]): Promise<boolean> {
  try {
    const [program = ""] = self;
    const path = await Deno.realPath(AGENT_COMMAND);
    if (self.length === 1 && path === await Deno.realPath(program)) return true;
    if ((await Deno.stat(path)).size > MAX_SCRIPT_CHARS) return false;
    const text = await Deno.readTextFile(path);
    return text.startsWith("#!") && self.every((word) => text.includes(word));
  } catch {
    return false; // a dangling link, a folder: whatever it is, it does not run this program
  }
}

async function mustBeOurs(what: string, path: string): Promise<void> {
  if (!await exists(path)) return;
  const text = (await Deno.lstat(path)).size > MAX_SCRIPT_CHARS * 4 ? undefined : await readText(path);
  if (text?.includes(`# made by ${MARK} install`)) return;
  refuse(what, path);
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readIfThere(path);
  } catch {
    return undefined; // a folder, a device
  }
}

function refuse(what: string, path: string): never {
  throw new ProxyError("agent.failed", `Cannot install: the ${what} ${path} is not this program's`, {
    hint: "nothing was changed; move it away, if nothing needs it, and install again",
  });
}
