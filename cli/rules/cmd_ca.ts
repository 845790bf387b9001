/**
 * `ca init`, `issue`: the host group's CA in files, without the daemon. `ca show`: the one that is in use.
 *
 * Not here: taking it into the store (`cmd_ca_import.ts`).
 *
 * @module
 */
import { createAuthority, describeAuthority, loadAuthority } from "../../ca/authority.ts";
import { issueToFiles } from "../../ca/issue.ts";
import { isProxyError, ProxyError } from "../../core/errors.ts";
import { isAgentInstalled } from "../../agent/status.ts";
import { showPlaced } from "../agent/cmd_placed_ca.ts";
import { apiClient, type JsonObject } from "../api/client.ts";
import type { CommandArgs } from "../command/command.ts";
import { usageError } from "../command/parse.ts";
import type { Io } from "../terminal/io.ts";
import { caFolderOf, namedCaFolder } from "./ca_folder.ts";

/** Makes a CA. */
export async function initCa(args: CommandArgs, io: Io): Promise<void> {
  const { dir, hostgroup } = namedCaFolder(args);
  await createAuthority({ dir, hostgroup, clock: io.clock, force: args.has("force") });
  const { path, fingerprint, notAfter } = await describeAuthority(dir);
  io.output.data(path);
  io.output.note(`made the CA of ${hostgroup}, valid until ${notAfter}, SHA-256 ${fingerprint}`);
}

/** Issues a certificate with a new key into two files. */
export async function issueCertificate(args: CommandArgs, io: Io): Promise<void> {
  const { dir, hostgroup } = caFolderOf(args);
  const authority = await loadAuthority({ dir, hostgroup, clock: io.clock });
  const issued = await issueToFiles(authority, {
    hosts: args.list("host"),
    out: args.textOf("out"),
    clock: io.clock,
  });
  io.output.data(`${issued.certPath}\n${issued.keyPath}`);
  io.output.note(`valid until ${new Date(issued.notAfterMs).toISOString()}`);
}

/**
 * Describes the CA: the one that the running proxy signs with, or where none runs that in files; in a VM, where there is no host
 * group, the one that the helper has installed.
 */
export async function showCa(args: CommandArgs, io: Io): Promise<void> {
  const isHost = ["hostgroup", "ca-dir", "url"].some((flag) => args.has(flag)) || !await isAgentInstalled();
  if (!isHost) return await showPlaced(args, io);
  if (args.optionalArgument("SHA256") !== undefined) {
    throw usageError("Cannot pick a CA by its SHA-256 here: a host group has one", "leave it out");
  }
  const ca = args.has("ca-dir") ? await inFiles(args) : await inUse(args, io);
  if (args.has("json")) return io.output.json(ca);
  const rows = ROWS.flatMap(([label, field]) => {
    const value = ca[field];
    return typeof value === "string" ? [[label, value]] : [];
  });
  io.output.table(["WHAT", "VALUE"], rows);
}

const ROWS = [
  ["host group", "hostgroup"],
  ["from", "from"],
  ["path", "path"],
  ["subject", "subject"],
  ["sha-256", "fingerprint"],
  ["serial", "serial"],
  ["not before", "not_before"],
  ["not after", "not_after"],
  ["key", "key_type"],
  ["imported", "imported_at"],
  ["renewed", "renewed_at"],
] as const;

/** What the running proxy says; where it does not, that is said, and files are looked at. */
async function inUse(args: CommandArgs, io: Io): Promise<JsonObject> {
  const hostgroup = args.text("hostgroup");
  try {
    const query = hostgroup === undefined ? "" : `?${new URLSearchParams({ hostgroup })}`;
    return await (await apiClient(args, io)).object("GET", `ca${query}`);
  } catch (error) {
    if (!isProxyError(error) || args.has("url")) throw error;
    if (error.code !== "api.unreachable" && error.code !== "api.refused") throw error;
    const ca = await inFiles(args);
    io.output.note(`this is what the files hold: ${lowerFirst(error)}`);
    return ca;
  }
}

async function inFiles(args: CommandArgs): Promise<JsonObject> {
  const { dir, hostgroup } = caFolderOf(args);
  const { path, subject, fingerprint, serial, notBefore, notAfter, keyType } = await describeAuthority(dir);
  return {
    // A folder that is named may be any group's.
    ...(args.has("ca-dir") && !args.has("hostgroup") ? {} : { hostgroup }),
    from: "file",
    path,
    subject,
    fingerprint,
    serial,
    not_before: notBefore,
    not_after: notAfter,
    key_type: keyType,
  };
}

function lowerFirst({ message }: ProxyError): string {
  return message.charAt(0).toLowerCase() + message.slice(1);
}
