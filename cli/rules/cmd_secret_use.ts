/**
 * `secret show` and `secret test`: who uses a secret, and whether its host takes it.
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { parseName } from "../../core/names.ts";
import { apiClient, isJsonObject, segment } from "../api/client.ts";
import { cell } from "../api/values.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";

/** Shows a secret without its value. */
export async function showSecret(args: CommandArgs, io: Io): Promise<void> {
  const name = parseName("secret", args.argument("NAME"));
  const api = await apiClient(args, io);
  const secret = await api.object("GET", `secrets/${segment(name)}`);
  if (args.has("json")) return io.output.json(secret);
  const used = secret.last_used_at === undefined
    ? "not since the proxy was started; slicer-proxy logs has older requests"
    : `${cell(secret.last_used_at)} by ${cell(secret.last_used_by)}`;
  const rows = [
    ["name", secret.name],
    ["host", secret.host],
    ["type", secret.type],
    ["version", secret.version],
    ["created", secret.created_at],
    ["updated", secret.updated_at],
    ["adopted", secret.adopted_at],
    ["refreshed", secret.refreshed_at],
    ["source file", secret.source_file],
    ["without TLS", secret.cleartext === true ? "allowed" : undefined],
    ["status", secret.error ?? "ok"],
    ["last used", used],
  ];
  const shown = rows.filter(([, value]) => value !== undefined);
  const width = Math.max(...shown.map(([title]) => String(title).length));
  const rules = Array.isArray(secret.used_by) ? secret.used_by.filter(isJsonObject) : [];
  const lines = shown.map(([title, value]) => `${String(title).padEnd(width)}  ${cell(value)}`);
  io.output.data([
    ...lines,
    rules.length === 0 ? "no rule uses it" : "used by",
    ...rules.map((rule) =>
      `  ${
        [rule.client, rule.host, rule.methods, rule.paths, rule.ports].map(cell).filter((text) =>
          text !== "-"
        ).join(" ")
      }`
    ),
  ].join("\n"));
}

/** Tries a secret. Anything but a host that takes it is a failure. */
export async function testSecret(args: CommandArgs, io: Io): Promise<void> {
  const name = parseName("secret", args.argument("NAME"));
  const url = args.text("at");
  const api = await apiClient(args, io);
  const tested = await api.object("POST", `secrets/${segment(name)}/test`, url === undefined ? {} : { url });
  if (args.has("json")) io.output.json(tested);
  const words = cell(tested.words);
  if (tested.verdict === "accepted") return io.output.note(`secret ${name} works: ${words}`);
  throw new ProxyError("credential.unavailable", `Cannot confirm secret ${name}: ${words}`);
}
