/**
 * `secret create`, `list`, `delete`.
 *
 * @module
 */
import { parseEnvNames } from "../../core/env_names.ts";
import { parseName } from "../../core/names.ts";
import { parseHostPattern } from "../../policy/rule.ts";
import { apiClient, segment } from "../api/client.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";
import { usageError } from "../command/parse.ts";
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
    value: value.text,
    ...(value.flag === "from-file" ? { source_file: value.path } : {}),
    ...(args.has("env") ? { env: parseEnvNames(args.list("env")) } : {}),
    ...(args.has("force") ? { force: true } : {}),
    ...(args.has("cleartext") ? { cleartext: true } : {}),
  });
  io.output.note(`stored secret ${name} for ${host}`);
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
