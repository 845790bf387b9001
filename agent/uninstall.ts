/**
 * Takes the helper out of a VM: every change of the journal, from the last to the first. It may be interrupted and begun
 * again; the journal goes last.
 *
 * @module
 */
import { messageOf, ProxyError } from "../core/errors.ts";
import { agentFiles } from "./config.ts";
import { removeRedirects } from "./firewall.ts";
import { type Change, Journal, undoFile, undoFolder } from "./journal.ts";
import { removeFromNss } from "./nss.ts";
import { forgetService, stopService } from "./service.ts";
import { cleanTrustStore, findTrustStore } from "./trust.ts";

/**
 * Undoes everything.
 *
 * @returns false when there was nothing to undo
 * @throws ProxyError `agent.failed` when something could not be undone: what it was has been said, and the journal stays
 */
export async function undoAll(say: (line: string) => void): Promise<boolean> {
  const { dir } = agentFiles();
  const journal = await Journal.open();
  const changes = journal.changes.toReversed();
  if (journal.isComplete) await journal.add({ change: "undoing" });
  let failed = 0;
  for (const change of changes) {
    try {
      await undo(change, say);
    } catch (error) {
      failed++;
      say(`cannot undo ${nameOf(change)}: ${messageOf(error)}`);
    }
  }
  if (failed > 0) {
    throw new ProxyError("agent.failed", "Cannot put everything back: see above", {
      hint: `what remains is in ${agentFiles().journal}; slicer-proxy agent uninstall tries again`,
    });
  }
  const service = journal.changes.find((each) => each.change === "service");
  if (service?.change === "service") await forgetService(service.service);
  return await removeFolder(dir);
}

/** The journal goes last: by it the folder is known to be ours. False when there is no folder. */
async function removeFolder(dir: string): Promise<boolean> {
  try {
    const entries = await Array.fromAsync(Deno.readDir(dir));
    const { journal } = agentFiles(dir);
    const paths = entries.map(({ name }) => `${dir}/${name}`).filter((path) => path !== journal);
    for (const path of paths) await Deno.remove(path, { recursive: true });
    await Deno.remove(dir, { recursive: true });
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function undo(change: Change, say: (line: string) => void): Promise<void> {
  switch (change.change) {
    case "file":
      if (await undoFile(change) === "restored-beside-changed") {
        say(`${change.path} had been changed since: that version is kept as ${change.path}.before-uninstall`);
      }
      return;
    case "folder":
      return await undoFolder(change.path);
    case "service":
      return await stopService(change.service);
    case "redirects":
      return await removeRedirects(change.firewall);
    case "nss":
      return await removeFromNss(change, change.isNew);
    case "trust-store": {
      const store = await findTrustStore();
      if (store) await cleanTrustStore(store);
      return;
    }
    case "complete":
    case "undoing":
      return;
  }
}

function nameOf(change: Change): string {
  return "path" in change ? change.path : `the ${change.change}`;
}
