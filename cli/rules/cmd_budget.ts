/**
 * `client budget`: what a client has for an hour or a day, and how that stands.
 *
 * @module
 */
import { parseName } from "../../core/names.ts";
import { BUDGET_KINDS, parseBudgetText } from "../../policy/budget.ts";
import { apiClient, segment } from "../api/client.ts";
import { cell } from "../api/values.ts";
import type { CommandArgs } from "../command/command.ts";
import { usageError } from "../command/parse.ts";
import type { Io } from "../terminal/io.ts";

/** Sets it, or without flags shows it. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const name = parseName("client", args.argument("NAME"));
  const budget = BUDGET_KINDS.flatMap((kind) =>
    args.list(kind).map((text) => parseBudgetText(`${kind}=${text}`))
  );
  const api = await apiClient(args, io);
  const path = `clients/${segment(name)}/budget`;
  if (args.has("none") && budget.length > 0) {
    throw usageError(`Cannot set a budget and none at once`, "leave --none out, or the others");
  }
  if (budget.length > 0 || args.has("none")) {
    await api.call("PUT", path, { budget });
    io.output.note(
      budget.length === 0
        ? `client ${name} has no budget any more`
        : `client ${name} has ${budget.join(", ")}`,
    );
    return;
  }
  const uses = await api.list(path);
  if (args.has("json")) return io.output.json(uses);
  if (uses.length === 0) {
    return io.output.note(`no budget: slicer-proxy client budget ${name} --requests 1000/h gives it one`);
  }
  io.output.table(
    ["OF", "BUDGET", "USED", "FREE AT"],
    uses.map((use) => [
      use.rule_host === undefined ? "client" : `rule ${cell(use.rule_host)}`,
      cell(use.budget),
      cell(use.used),
      cell(use.free_at),
    ]),
  );
}
