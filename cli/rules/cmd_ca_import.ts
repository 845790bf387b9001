/**
 * `ca import`: the host group's CA goes from its files into the store, where its key is sealed.
 *
 * @module
 */
import { join } from "node:path";
import { openValidAuthority } from "../../ca/authority.ts";
import { type AuthorityPair, readPair } from "../../ca/authority_files.ts";
import { ProxyError } from "../../core/errors.ts";
import { apiClient } from "../api/client.ts";
import { cell } from "../api/values.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { folderOf } from "./ca_folder.ts";

/** Has the running proxy take it. */
export async function importCa(args: CommandArgs, io: Io): Promise<void> {
  const hostgroup = args.text("hostgroup");
  const dir = args.text("from") ?? folderOf(hostgroup);
  const { certPem, keyPem } = await readChecked(dir, io);
  const imported = await (await apiClient(args, io)).object("POST", "ca", {
    certificate: certPem,
    private_key: keyPem,
    ...(hostgroup === undefined ? {} : { hostgroup }),
    ...(args.has("replace") ? { replace: true } : {}),
  });
  if (args.has("json")) return io.output.json(imported);
  const { hostgroup: group, fingerprint, not_after, replaced_fingerprint } = imported;
  io.output.data(
    `imported the CA of ${cell(group)}, valid until ${cell(not_after)}, SHA-256 ${cell(fingerprint)}`,
  );
  if (replaced_fingerprint !== undefined) {
    io.output.note(
      `it takes the place of SHA-256 ${
        cell(replaced_fingerprint)
      }: VMs that trust only that one trust no host until they ` +
        "have the new ca.crt; what they have open goes on",
    );
  }
  io.output.note(
    `${
      join(dir, "ca.key")
    } is not read any more while the store has the CA: keep it where nobody else gets at it, or remove it`,
  );
}

/** Looked at here, where the messages can name the files. @throws ProxyError `input.not-found`, `ca.invalid`, `ca.expired` */
async function readChecked(dir: string, { clock }: Io): Promise<AuthorityPair> {
  const pair = await readPair(dir);
  if (!pair) {
    throw new ProxyError("input.not-found", `Cannot import a CA from ${dir}: there is no ca.crt`, {
      hint: "name the folder of ca.crt and ca.key with --from",
    });
  }
  await openValidAuthority(pair, dir, clock);
  return pair;
}
