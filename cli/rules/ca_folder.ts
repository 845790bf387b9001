/**
 * Which host group a command is about, and where its CA lies.
 *
 * @module
 */
import { messageOf, ProxyError } from "../../core/errors.ts";
import { isName, parseName } from "../../core/names.ts";
import type { CommandArgs } from "../command/command.ts";
import { usageError } from "../command/parse.ts";

/** Slicer keeps its host groups' CAs here, each in a folder of its name. */
const CA_ROOT = "./.slicer/ca";
/** The host group that is made where there is none. */
const FIRST_HOSTGROUP = "sbox";

/** A host group and the folder of its `ca.crt` and `ca.key`. */
export interface CaFolder {
  readonly dir: string;
  readonly hostgroup: string;
}

/** The folder that `--ca-dir` or `--hostgroup` names; without either, that of a new `sbox`. @throws ProxyError `input.invalid` */
export function namedCaFolder(args: CommandArgs): CaFolder {
  const hostgroup = parseName("host group", args.text("hostgroup") ?? FIRST_HOSTGROUP);
  return { hostgroup, dir: args.text("ca-dir") ?? `${CA_ROOT}/${hostgroup}` };
}

/**
 * The folder that `--ca-dir` or `--hostgroup` names; without either, the only one under `./.slicer/ca`, or a new `sbox`: a
 * proxy whose CA is not that of its VMs would be trusted by none of them.
 *
 * @throws ProxyError `cli.usage` where there are several, `state.unreadable`, `input.invalid`
 */
export function caFolderOf(args: CommandArgs): CaFolder {
  if (args.has("hostgroup") || args.has("ca-dir")) return namedCaFolder(args);
  return onlyFolder() ?? namedCaFolder(args);
}

/** The folder of a host group's CA; without a name the only one under `./.slicer/ca`. @throws ProxyError as {@linkcode caFolderOf} */
export function folderOf(hostgroup: string | undefined): string {
  const folder = hostgroup === undefined ? onlyFolder() : undefined;
  return folder?.dir ?? `${CA_ROOT}/${parseName("host group", hostgroup ?? FIRST_HOSTGROUP)}`;
}

function onlyFolder(): CaFolder | undefined {
  const [only, ...others] = hostgroupsIn(CA_ROOT);
  if (only === undefined) return undefined;
  if (others.length > 0) {
    throw usageError(
      `Cannot choose a host group: there are ${[only, ...others].join(", ")} under ${CA_ROOT}`,
      `write --hostgroup ${only}`,
    );
  }
  return { hostgroup: only, dir: `${CA_ROOT}/${only}` };
}

function hostgroupsIn(root: string): readonly string[] {
  try {
    return Array.from(Deno.readDirSync(root), ({ name }) => name)
      .filter((name) => isName(name) && hasCertificate(`${root}/${name}`))
      .sort();
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return [];
    throw new ProxyError("state.unreadable", `Cannot look for host groups in ${root}: ${messageOf(cause)}`, {
      cause,
      hint: "run it as the user whose folder that is (sudo), or write --hostgroup NAME",
    });
  }
}

function hasCertificate(dir: string): boolean {
  try {
    return Deno.statSync(`${dir}/ca.crt`).isFile;
  } catch (error) {
    // One that may not be looked into counts: it must not be overlooked in silence.
    return !(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory);
  }
}
