/**
 * The helper as a service: of systemd where it runs, else of our own supervisor.
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { exists } from "./files.ts";
import { currentNames } from "./names.ts";
import { runProgram, whyFailed } from "./programs.ts";
import { isSupervised, startSupervisor, stopSupervisor } from "./supervisor.ts";

/** Who keeps the helper running. */
export type ServiceKind = "systemd" | "process";

/** What this VM has. */
export async function findService(): Promise<ServiceKind> {
  // sd_booted(3)
  return await exists("/run/systemd/system") ? "systemd" : "process";
}

/**
 * Starts the service, now and at every boot where there is a systemd.
 *
 * @param self the program and its arguments up to the command
 * @throws ProxyError `agent.failed`
 */
export async function startService(kind: ServiceKind, self: readonly string[]): Promise<void> {
  if (kind === "process") {
    await stopSupervisor();
    startSupervisor([...self, "agent", "supervise"]);
    return;
  }
  const { unit } = currentNames();
  for (const args of [["daemon-reload"], ["enable", "--quiet", unit], ["restart", unit]]) {
    const ran = await runProgram("systemctl", args);
    if (!ran.isOk) {
      throw new ProxyError(
        "agent.failed",
        `Cannot start the service: systemctl ${args[0]}: ${whyFailed(ran)}`,
        {
          hint: `journalctl -u ${unit}`,
        },
      );
    }
  }
}

/** Stops the service for good. One that does not run is no failure. */
export async function stopService(kind: ServiceKind): Promise<void> {
  if (kind === "process") return await stopSupervisor();
  await runProgram("systemctl", ["disable", "--now", "--quiet", currentNames().unit]);
}

/** To be called when the unit file is gone. */
export async function forgetService(kind: ServiceKind): Promise<void> {
  if (kind === "systemd") await runProgram("systemctl", ["daemon-reload"]);
}

/** True when the service runs. */
export async function isServiceRunning(kind: ServiceKind): Promise<boolean> {
  if (kind === "process") return await isSupervised();
  return (await runProgram("systemctl", ["is-active", "--quiet", currentNames().unit])).isOk;
}

/** Where its log is, as a command for people. */
export function logCommand(kind: ServiceKind): string {
  const { unit, log } = currentNames();
  return kind === "systemd" ? `journalctl -u ${unit}` : `tail ${log}`;
}
