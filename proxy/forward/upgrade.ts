/**
 * After a 101, or the 2xx of HTTP/2's Extended CONNECT (RFC 8441): two connections, or streams, that speak something else, joined until one of them ends or the grant does.
 *
 * Not here: whether the protocol may change (`decide/admit.ts`).
 *
 * @module
 */
import { clientGone, type Course } from "../course.ts";
import type { EchoGuard } from "../echo/echo_guard.ts";
import type { AdmittedExchange } from "../exchange.ts";
import { type HeaderField, makeField } from "../message/fields.ts";
import type { ResponseHead, UpstreamLeg } from "../message/message.ts";
import { cleanFields } from "./relay.ts";
import { splice } from "../streams/splice.ts";

/** What passed after the change. */
export interface Upgraded {
  readonly sent: number;
  readonly received: number;
  readonly timedOut: boolean;
}

/** Answers with the upstream's head and serves both connections until they have ended. */
export async function upgrade(
  { session: { context }, request, grant, upgrade: protocol }: AdmittedExchange,
  { leg, head, course, guard }: {
    readonly leg: UpstreamLeg;
    readonly head: ResponseHead;
    readonly course: Course;
    /** Looks at what the upstream sends. */
    readonly guard: EchoGuard | undefined;
  },
): Promise<Upgraded> {
  const { limits, deadlines, grants } = context;
  const clean = { ...head, fields: fieldsOf(head) };
  const client = await request.switchProtocols(guard?.head(clean) ?? clean).catch(() => {
    throw course.failure ?? clientGone();
  });
  const upstream = leg.takeOver();
  const isWebSocket = protocol?.protocol === "websocket";
  const guarded = guard?.socket(upstream.stream, { first: upstream.first, isWebSocket });
  const joined = splice(client.stream, guarded ?? upstream.stream, {
    deadlines,
    firstToB: client.first,
    ...(guarded ? {} : { firstToA: upstream.first }),
    idleTimeoutMs: limits.tunnelIdleTimeoutMs,
    afterATimeoutMs: limits.halfCloseTimeoutMs,
    afterBTimeoutMs: limits.halfCloseTimeoutMs,
  });
  client.onCut?.(() => joined.abort());
  upstream.onCut?.(() => joined.abort());
  course.touch(Number.MAX_SAFE_INTEGER);
  const release = grants.hold(grant, () => joined.abort());
  await joined.done;
  release();
  return { sent: joined.bytesToB, received: joined.bytesToA, timedOut: joined.timedOut };
}

function fieldsOf(head: ResponseHead): readonly HeaderField[] {
  if (head.version === "HTTP/2") return cleanFields(head);
  const upgrades = head.fields.filter(({ key }) => key === "upgrade");
  return [...cleanFields(head), makeField("Connection", "Upgrade"), ...upgrades];
}
