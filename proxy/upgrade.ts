/**
 * After a 101: two connections that speak something else, joined until one of them ends or the grant does.
 *
 * Not here: whether the protocol may change (`admit.ts`).
 *
 * @module
 */
import { clientGone, type Course } from "./course.ts";
import type { AdmittedExchange } from "./exchange.ts";
import { makeField } from "./message/fields.ts";
import type { ResponseHead, UpstreamLeg } from "./message/message.ts";
import { cleanFields } from "./relay.ts";
import { splice } from "./streams/splice.ts";

/** What passed after the 101. */
export interface Upgraded {
  readonly sent: number;
  readonly received: number;
  readonly timedOut: boolean;
}

/** Answers 101 and serves both connections until they have ended. */
export async function upgrade(
  { session: { context }, request, grant }: AdmittedExchange,
  { leg, head, course }: {
    readonly leg: UpstreamLeg;
    readonly head: ResponseHead;
    readonly course: Course;
  },
): Promise<Upgraded> {
  const { limits, deadlines, grants } = context;
  const fields = [
    ...cleanFields(head),
    makeField("Connection", "Upgrade"),
    ...head.fields.filter(({ key }) => key === "upgrade"),
  ];
  const switching = request.switchProtocols?.({ ...head, fields });
  const client = await switching?.catch(() => {
    throw course.failure ?? clientGone();
  });
  const upstream = leg.takeOver?.();
  if (!client || !upstream) throw new TypeError("Cannot switch protocols: this version of HTTP has no 101");
  const joined = splice(client.stream, upstream.stream, {
    deadlines,
    firstToB: client.first,
    firstToA: upstream.first,
    idleTimeoutMs: limits.tunnelIdleTimeoutMs,
    afterATimeoutMs: limits.halfCloseTimeoutMs,
    afterBTimeoutMs: limits.halfCloseTimeoutMs,
  });
  course.touch(Number.MAX_SAFE_INTEGER);
  const release = grants.hold(grant, () => joined.abort());
  await joined.done;
  release();
  return { sent: joined.bytesToB, received: joined.bytesToA, timedOut: joined.timedOut };
}
