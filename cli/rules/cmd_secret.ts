/**
 * `secret create`, `list`, `delete`.
 *
 * @module
 */
import { resolve } from "node:path";
import { ProxyError } from "../../core/errors.ts";
import { parseEnvNames } from "../../core/env_names.ts";
import { parseName } from "../../core/names.ts";
import { parseHostPattern } from "../../policy/rule.ts";
import { apiClient, segment } from "../api/client.ts";
import { expandHome } from "../api/url.ts";
import { readFileBytes } from "../terminal/input_bytes.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { usageError } from "../command/parse.ts";
import { decryptKey } from "../../secrets/kind_mtls.ts";
import { requireSecret } from "./secret_input.ts";
import { cell } from "../api/values.ts";

/** Stores a secret. The value goes to the API and nowhere else. */
export async function createSecret(args: CommandArgs, io: Io): Promise<void> {
  const name = parseName("secret", args.argument("NAME"));
  const host = parseHostPattern(args.textOf("host"));
  if (args.text("from-file") === "-") {
    throw usageError("Cannot use --from-file with standard input: it has no path", "write --value-file -");
  }
  const api = await apiClient(args, io);
  const value = await requireSecret(args, io, {
    what: "secret value",
    value: "value",
    files: ["value-file", "from-file"],
  });
  await api.call("POST", "secrets", {
    name,
    host,
    type: args.textOf("type"),
    value: await opened(args, io, value.text),
    ...(value.flag === "from-file" ? { source_file: value.path } : {}),
    ...(args.has("env") ? { env: parseEnvNames(args.list("env")) } : {}),
    ...(args.has("force") ? { force: true } : {}),
    ...(args.has("cleartext") ? { cleartext: true } : {}),
  });
  io.output.note(`stored secret ${name} for ${host}`);
}

/** Far more than anybody types. */
const MAX_PASSPHRASE_BYTES = 4_096;

/** A client certificate with its key decrypted: it is sealed by the proxy, which has no place for a passphrase. */
async function opened(args: CommandArgs, io: Io, text: string): Promise<string> {
  if (!args.has("passphrase-file")) return text;
  if (args.has("from-file")) {
    throw usageError(
      "Cannot use --passphrase-file with --from-file: the file is read again, and the passphrase is not kept",
      "write --value-file, or keep the key in the file unencrypted",
    );
  }
  const path = resolve(expandHome(args.textOf("passphrase-file"), io.env("HOME")));
  const passphrase = textOf(await readFileBytes(path, MAX_PASSPHRASE_BYTES));
  return decryptKey(text, passphrase.replace(/\r?\n$/, ""));
}

/** A passphrase is what the file says, or nothing: never what was made of it. */
function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ProxyError("input.invalid", "Cannot read --passphrase-file: it is no UTF-8 text", {
      hint: "write the passphrase alone into the file",
    });
  }
}

/** Lists secrets without values; STATUS says why one cannot be used. */
export async function listSecrets(args: CommandArgs, io: Io): Promise<void> {
  const api = await apiClient(args, io);
  const secrets = await api.list("secrets");
  if (args.has("json")) return io.output.json(secrets);
  if (secrets.length === 0) {
    return io.output.note("no secrets yet: slicer-proxy secret create NAME --host HOST makes one");
  }
  io.output.table(
    ["NAME", "HOST", "TYPE", "CREATED", "UPDATED", "REFRESHED", "STATUS"],
    secrets.map((secret) => [
      ...[secret.name, secret.host, secret.type, secret.created_at, secret.updated_at, secret.refreshed_at]
        .map(cell),
      typeof secret.error === "string" && secret.error !== "" ? secret.error : "ok",
    ]),
  );
}

/** Deletes a secret. */
export async function deleteSecret(args: CommandArgs, io: Io): Promise<void> {
  const name = parseName("secret", args.argument("NAME"));
  const api = await apiClient(args, io);
  await api.call("DELETE", `secrets/${segment(name)}`);
  io.output.note(`deleted secret ${name}; rules that name it now deny`);
}
