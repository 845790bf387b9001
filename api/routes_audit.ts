/**
 * The call that reads and follows the audit log.
 *
 * Not here: the form of an answer (`audit_stream.ts`), where records come from (`store/audit/store.ts`).
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { messageOf, ProxyError } from "../core/errors.ts";
import { FLEET_LOG_LIMITS } from "../core/limits.ts";
import { parseName } from "../core/names.ts";
import type { RecordFilter } from "../policy/audit_record.ts";
import { parseSince, parseSource } from "../policy/record_filter.ts";
import { parseHostPattern } from "../policy/rule.ts";
import { AuditSlots } from "./audit_slots.ts";
import {
  eventForm,
  type EventId,
  type Item,
  ndjsonForm,
  parseEventId,
  type StreamForm,
  streamItems,
} from "./audit_stream.ts";
import type { ApiLog, AuditSource, FleetLogs } from "./control.ts";
import { common, error } from "./responses.ts";
import { fleetForm } from "./fleet_items.ts";
import { type FleetLogLimits, readFleet } from "./fleet_reader.ts";
import { AuditQuery, AuditRecordBody, HostNoteBody, LiveBody, MissedBody } from "./schemas_audit.ts";

/** How much of the API the audit log may take. Both counts stay far below what the API answers at once. */
export interface AuditLimits {
  readonly maxFollowers: number;
  /** Readers of what is stored: each has the store's files open. */
  readonly maxReaders: number;
  /** Longest silence of a stream. Shorter than what the TLS front closes a connection for. */
  readonly heartbeatMs: number;
  /** For the logs of all hosts. */
  readonly fleet: FleetLogLimits;
}

export const AUDIT_LIMITS: AuditLimits = {
  maxFollowers: 16,
  maxReaders: 8,
  heartbeatMs: 15_000,
  fleet: FLEET_LOG_LIMITS,
};

const audit = createRoute({
  method: "get",
  path: "/proxy/v1/audit",
  operationId: "readAudit",
  summary: "Records of the audit log, oldest first, and with follow those to come",
  description:
    "One JSON object per line, and from time to time an empty line. A caller that accepts text/event-stream gets " +
    "events instead, each record as the data of a message, what was missed as an event `missed`; Last-Event-ID goes " +
    "on after that event. A reader who is slow slows nobody: with follow it is told how many records it missed. With " +
    "fleet the other hosts are asked too; one whose records are missing is named in a line of its own.",
  tags: ["audit"],
  request: {
    query: AuditQuery,
    headers: z.object({ accept: z.string().optional(), "last-event-id": z.string().optional() }),
  },
  responses: {
    ...common,
    200: {
      description: "The records",
      content: {
        "application/x-ndjson": { schema: z.union([AuditRecordBody, MissedBody, LiveBody, HostNoteBody]) },
        "text/event-stream": { schema: z.string() },
      },
    },
    400: error("The query cannot be understood"),
    404: error("With fleet: this host is in none"),
  },
});

/** See {@linkcode addAuditRoutes}. */
export interface AuditRouteOptions {
  readonly limits: AuditLimits;
  /** Shared with the other calls that read what is stored. */
  readonly readers: AuditSlots;
  readonly stop: AbortSignal;
  readonly log: ApiLog;
  /** Of the other hosts, where this one is in a fleet. */
  readonly fleetLogs?: FleetLogs | undefined;
}

/** Adds the call to an app. Streams end when `stop` aborts. */
export function addAuditRoutes(app: OpenAPIHono, source: AuditSource, options: AuditRouteOptions): void {
  const { limits, readers, stop, log, fleetLogs } = options;
  const followers = new AuditSlots("followers", limits.maxFollowers);
  const fleetReaders = new AuditSlots("readers of all hosts", limits.fleet.maxCalls);
  app.openapi(audit, (c) => {
    const query = c.req.valid("query");
    const headers = c.req.valid("header");
    const nowMs = Date.now();
    const isFollowing = isTrue(query.follow);
    const isFleet = isTrue(query.fleet);
    if (isFleet && !fleetLogs) throw noFleet();
    const isEvents = !isFleet && /\btext\/event-stream\b/i.test(headers.accept ?? "");
    const resumed = isEvents ? parseEventId(headers["last-event-id"] ?? "") : undefined;
    const filter = filterOf(query, nowMs, resumed);
    const limit = query.limit === undefined || resumed ? undefined : Number(query.limit);

    using taken = new DisposableStack();
    for (const slots of [isFollowing ? followers : readers, ...(isFleet ? [fleetReaders] : [])]) {
      const slot = slots.take();
      if (slot instanceof Response) return slot;
      taken.use(slot);
    }
    const slot = taken.move();
    const reading = new AbortController();
    const isLive = isFollowing && filter.sinceMs === undefined && limit === undefined;
    // In one turn, so that no record is in both or in neither.
    const live = isFollowing ? source.follow(filter, reading.signal) : undefined;
    const stored = isLive ? undefined : source.records(filter, { limit });
    const items = join(stored, live, { isMarked: isFleet || isTrue(query.mark) });
    const send = <T>(items: AsyncIterable<T>, form: StreamForm<T>) => {
      const onEnd = (failure?: unknown) => {
        slot[Symbol.dispose]();
        reading.abort();
        if (failure !== undefined) log.error(`Cannot read the audit log: ${messageOf(failure)}`);
      };
      return {
        body: streamItems(items, form, { stop, heartbeatMs: limits.heartbeatMs, onEnd }),
        type: form.type,
      };
    };
    const { body, type } = isFleet && fleetLogs
      ? send(
        readFleet({
          ...{ filter, limit, isFollowing, own: items, logs: fleetLogs, limits: limits.fleet },
          query: queryForHosts(query, filter),
        }, reading.signal),
        fleetForm(),
      )
      : send(
        items,
        isEvents ? eventForm(resumed ?? { timeMs: nowMs, count: 0, unauthenticated: 0 }) : ndjsonForm(),
      );
    // Deno would compress, and hold back what is not yet worth it.
    return c.body(body, 200, { "content-type": type, "cache-control": "no-store, no-transform" });
  });
}

/** @throws ProxyError `input.invalid` */
function filterOf(
  { client, denied, host, since, src, proxy_port, tls }: z.infer<typeof AuditQuery>,
  nowMs: number,
  resumed: EventId | undefined,
): RecordFilter {
  const sinceMs = since === undefined ? undefined : parseSince(since, nowMs);
  return {
    client: client === undefined || client === "-" ? client : parseName("client", client),
    denied: isTrue(denied),
    host: host === undefined ? undefined : parseHostPattern(host),
    sinceMs: resumed?.timeMs ?? sinceMs,
    src: src === undefined ? undefined : parseSource(src),
    proxyPort: proxy_port === undefined ? undefined : Number(proxy_port),
    tls,
  };
}

async function* join(
  stored: AsyncIterable<Item> | undefined,
  live: AsyncIterable<Item> | undefined,
  { isMarked }: { readonly isMarked: boolean },
): AsyncGenerator<Item> {
  if (stored) yield* stored;
  if (!live) return;
  if (isMarked) yield { live: true };
  yield* live;
}

/** As the other hosts are asked the same, in times that mean the same to them. */
function queryForHosts(
  { fleet: _, ...query }: z.infer<typeof AuditQuery>,
  { sinceMs }: RecordFilter,
): URLSearchParams {
  const since = sinceMs === undefined ? undefined : new Date(Math.max(0, sinceMs)).toISOString();
  return new URLSearchParams(
    Object.entries({ ...query, since, mark: "1" }).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value]]
    ),
  );
}

function noFleet(): ProxyError {
  return new ProxyError("input.not-found", "Cannot read the logs of the fleet: this host is in none", {
    hint: "up --store makes it a part of one; docs/FLEET.md says how",
  });
}

function isTrue(flag: string | undefined): boolean {
  return flag === "1" || flag === "true";
}
