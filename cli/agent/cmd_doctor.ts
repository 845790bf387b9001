/**
 * `agent doctor`.
 *
 * @module
 */
import { examine, type Finding } from "../../agent/doctor.ts";
import { mustBeRoot } from "../../agent/install.ts";
import { messageOf, ProxyError } from "../../core/errors.ts";
import type { CommandArgs } from "../command/command.ts";
import type { Io } from "../terminal/io.ts";

/** Prints what was found and what to do; with `--fix` does what is safe. Exit code 1 while something is not well. */
export async function run(args: CommandArgs, io: Io): Promise<number> {
  if (args.has("fix")) mustBeRoot();
  const look = async () => {
    const findings = await examine({ env: io.env, now: () => Date.now() });
    if (findings) return findings;
    throw new ProxyError("agent.failed", "Cannot examine this VM: no helper is installed", {
      hint: "slicer-proxy agent install PROXY_IP --token-file FILE",
    });
  };
  let findings = await look();
  if (args.has("fix") && await fix(findings, io)) findings = await look();
  if (args.has("json")) {
    io.output.json(
      findings.map(({ tool, ok, state, advice }) => ({ tool, ok, state, ...(advice ? { advice } : {}) })),
    );
  } else {
    io.output.table(
      ["TOOL", "OK", "STATE"],
      findings.map(({ tool, ok, state }) => [tool, ok ? "yes" : "NO", state]),
    );
    for (const { tool, advice } of findings) if (advice !== undefined) io.output.note(`${tool}: ${advice}`);
  }
  return findings.every(({ ok }) => ok) ? 0 : 1;
}

/** True when something was done. */
async function fix(findings: readonly Finding[], io: Io): Promise<boolean> {
  let isFixed = false;
  for (const finding of findings) {
    if (finding.ok || !finding.fix) continue;
    try {
      await finding.fix();
      isFixed = true;
      io.output.note(`${finding.tool}: fixed`);
    } catch (error) {
      io.output.warn(`${finding.tool}: ${messageOf(error)}`);
    }
  }
  return isFixed;
}
