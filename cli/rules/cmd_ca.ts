/**
 * `ca init`, `issue`, `show`: the host group's CA, without the daemon.
 *
 * @module
 */
import { createAuthority, describeAuthority, loadAuthority } from "../../ca/authority.ts";
import { issueToFiles } from "../../ca/issue.ts";
import type { CommandArgs } from "../command/command.ts";
import { isAgentInstalled } from "../../agent/status.ts";
import { showPlaced } from "../agent/cmd_placed_ca.ts";
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

/** Describes the CA: in a VM, where there is no host group, the one that the helper has installed. */
export async function showCa(args: CommandArgs, io: Io): Promise<void> {
  const isHost = args.has("hostgroup") || args.has("ca-dir") || !await isAgentInstalled();
  if (!isHost) return await showPlaced(args, io);
  if (args.optionalArgument("SHA256") !== undefined) {
    throw usageError("Cannot pick a CA by its SHA-256 here: a host group has one", "leave it out");
  }
  const description = await describeAuthority(caFolderOf(args).dir);
  if (args.has("json")) {
    const { path, subject, fingerprint, serial, notBefore, notAfter, keyType } = description;
    return io.output.json({
      path,
      subject,
      fingerprint,
      serial,
      not_before: notBefore,
      not_after: notAfter,
      key_type: keyType,
    });
  }
  io.output.table(["WHAT", "VALUE"], [
    ["path", description.path],
    ["subject", description.subject],
    ["sha-256", description.fingerprint],
    ["serial", description.serial],
    ["not before", description.notBefore],
    ["not after", description.notAfter],
    ["key", description.keyType],
  ]);
}
