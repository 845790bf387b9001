/**
 * Suspending clients and letting them go on.
 *
 * @module
 */
import { requireClient } from "./clients.ts";
import { writeClient } from "../clients.ts";
import { writeSuspension } from "../suspensions.ts";
import type { Writer } from "../writer.ts";

/** See `State.suspend` and `State.resume`. @returns whether that changed anything */
export async function setSuspended(
  writer: Writer,
  client: string | undefined,
  isSuspended: boolean,
): Promise<boolean> {
  const { view } = writer;
  const since = isSuspended ? writer.clock.now() : undefined;
  if (client === undefined) {
    if (view.isAllSuspended === isSuspended) return false;
    await writer.commit([writeSuspension(since)], () => view.suspendAll(since));
    return true;
  }
  const stored = requireClient(view, client, isSuspended ? "suspend" : "resume");
  const { suspendedSince, ...record } = stored.record;
  if ((suspendedSince !== undefined) === isSuspended) return false;
  const changed = {
    ...stored,
    record: { ...record, ...(since === undefined ? {} : { suspendedSince: since }) },
  };
  await writer.commit([writeClient(changed)], () => view.setClient(changed));
  return true;
}
