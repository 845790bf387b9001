/**
 * Name resolution for the helper inside a VM: DNS queries over HTTP (RFC 8484), on the TLS port, for authenticated clients.
 * DNS must not be a tunnel out of the VM: only names that some rule of the client could allow are looked up, only their
 * addresses and the usual records are told, and each look-up is in the audit log as `method=DNS`.
 *
 * Not here: the message format (`core/dns_message.ts`), looking up and checking addresses (`egress/dialler.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { parseIp } from "../../core/cidr.ts";
import {
  type DnsAnswer,
  formatDnsAnswer,
  parseDnsQuery,
  RCODE,
  TYPE_A,
  TYPE_AAAA,
} from "../../core/dns_message.ts";
import { type DnsRecord, formatDnsRecords, RECORD_TYPES, subjectOf } from "../../core/dns_record.ts";
import { isProxyError, ProxyError } from "../../core/errors.ts";
import { parseHost } from "../../core/host_port.ts";
import { rulesThatReach } from "../../policy/decide.ts";
import { isReason, type Reason } from "../../policy/reason.ts";
import { modeOf, type ProxyContext } from "../context.ts";
import { type Exchange, identify } from "../exchange.ts";
import {
  FailedLookup,
  isNameWithoutAddress,
  isUnknownName,
  lookupError,
} from "../egress/names/failed_lookup.ts";
import { listOf, makeField, valuesOf } from "../message/fields.ts";
import type { Client } from "../policy_source.ts";
import { LocalCounts } from "../records/counts.ts";

const MEDIA_TYPE = "application/dns-message";
/** A question has at most 271 bytes; EDNS options and padding (RFC 8467) may follow. */
const MAX_QUERY_BYTES = 1_024;
/** Short, for the rule behind an answer may be revoked, and the system's resolver does not say how long it would keep it. */
const TTL_SECONDS = 30;
/** Look-ups of one client that are under way: a name server that does not answer must not use up the process. */
const MAX_PENDING_PER_CLIENT = 64;
/**
 * What audit mode answers for a name that no rule allows (TEST-NET-1, RFC 5737). Nobody is asked and nobody is there: the
 * connection that follows comes to the proxy, which logs its first request and refuses it.
 */
const AUDIT_ADDRESS = "192.0.2.1";

/** True for a request that this file serves. */
export function isDnsRequest({ session, request: { head } }: Exchange): boolean {
  return session.isTls === true && session.tunnel === undefined && head.target === "/dns-query" &&
    head.method === "POST";
}

/**
 * Answers a DNS query.
 *
 * @throws ProxyError `auth.*`, `limit.reached`, `client.malformed`, before anything was answered
 */
export async function serveDns(exchange: Exchange): Promise<void> {
  const { session, request, startedAt } = exchange;
  const { context } = session;
  const client = identify(session, request.head.fields);
  const query = parseDnsQuery(await readQuery(exchange));
  const host = parseHost(query.name) ?? "";
  const { answer, reason } = await answerFor(client, host, query.type, context);
  const { origin } = session;
  const known = { client: client.name, method: "DNS", host: host === "" ? query.name : host, origin };
  if (reason === undefined || reason === "dns") {
    const durationMs = context.clock.monotonic() - startedAt;
    context.audit.write({ verdict: "allow", ...known, ...(reason ? { reason } : {}), durationMs });
  } else if (!isReserved(host)) {
    // Without a duration: lines that are the same are counted instead of written.
    context.audit.write({ verdict: "deny", ...known, mode: modeOf(context, client.name), reason });
  }
  const body = formatDnsAnswer(query, answer);
  await request.answer({
    status: 200,
    phrase: "OK",
    fields: [
      makeField("Content-Type", MEDIA_TYPE),
      makeField("Content-Length", String(body.length)),
      makeField("Cache-Control", `max-age=${answer.ttl}`), // RFC 8484 §5.1
      makeField("Date", new Date(context.clock.now()).toUTCString()),
    ],
    body,
  });
}

async function answerFor(
  client: Client,
  host: string,
  type: number,
  context: ProxyContext,
): Promise<{ readonly answer: DnsAnswer; readonly reason?: Reason }> {
  const empty = (rcode: number): DnsAnswer => ({ rcode, addresses: [], ttl: 0 });
  const subject = subjectOf(host);
  const rules = host === "" || isReserved(host)
    ? []
    : rulesThatReach(context.policy.rulesFor(client, subject));
  if (rules.length === 0) {
    const answer = modeOf(context, client.name) === "audit" && host !== "" && !isReserved(host)
      ? { rcode: RCODE.noError, addresses: type === TYPE_A ? [AUDIT_ADDRESS] : [], ttl: 0 }
      : empty(RCODE.nxDomain);
    return { answer, reason: "no-rule" };
  }
  const recordType = RECORD_TYPES.get(type);
  // HTTPS and SVCB records offer HTTP/3, encrypted names and addresses of their own: without these nothing is left to tell.
  if (recordType === undefined && type !== TYPE_A && type !== TYPE_AAAA) {
    return { answer: empty(RCODE.noError) };
  }
  try {
    const ruleHosts = rules.map((rule) => rule.host);
    if (recordType !== undefined) {
      await checkSubject(client, subject, ruleHosts, context);
      const records = formatDnsRecords(await lookUpRecords(client, host, recordType, context));
      const ttl = records.length > 0 ? TTL_SECONDS : 0;
      return { answer: { rcode: RCODE.noError, addresses: [], records, ttl } };
    }
    if (subject !== host) return { answer: empty(RCODE.noError) }; // a service is no host, nor is a reverse name
    const addresses = await lookUp(client, host, ruleHosts, context);
    const length = type === TYPE_A ? 4 : 16;
    const wanted = addresses.filter((text) => parseIp(text)?.length === length);
    return { answer: { rcode: RCODE.noError, addresses: wanted, ttl: TTL_SECONDS } };
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    if (error.code === "limit.reached") throw error;
    const reason = error.reason !== undefined && isReason(error.reason) ? error.reason : "internal";
    return { answer: empty(rcodeOf(error)), reason };
  }
}

/** `.invalid` (RFC 6761 §6.4) is nobody's, and is never looked up: the helper asks for it to see whether it is known here. */
function isReserved(host: string): boolean {
  return host.endsWith(".invalid");
}

/** The addresses of a host, when they may be dialled under at least one of the rules that match it. */
async function lookUp(
  client: Client,
  host: string,
  ruleHosts: readonly string[],
  context: ProxyContext,
): Promise<readonly string[]> {
  return await counted(client, context, async () => {
    let failure: unknown;
    for (const ruleHost of new Set(ruleHosts)) {
      const target = { scheme: "https", host, port: 443, client, ruleHost } as const;
      try {
        return await context.dialler.addresses(target, NEVER);
      } catch (error) {
        failure = error;
        if (!isProxyError(error, "upstream.address-denied")) break;
      }
    }
    throw failure;
  });
}

/**
 * Records of a name whose addresses the client may not have would tell of a network that it may not reach: of the mail and
 * directory servers inside, and by reverse names of every machine. A name without addresses is fine (`mongodb+srv`).
 *
 * @throws ProxyError `upstream.address-denied`, `limit.reached`, `upstream.timeout`
 */
async function checkSubject(
  client: Client,
  subject: string,
  ruleHosts: readonly string[],
  context: ProxyContext,
): Promise<void> {
  try {
    await lookUp(client, subject, ruleHosts, context);
  } catch (error) {
    if (!isProxyError(error, "upstream.dns") || isUnknownName(error)) throw error;
  }
}

/** @throws ProxyError `upstream.dns`, `limit.reached` */
function lookUpRecords(
  client: Client,
  name: string,
  type: DnsRecord["type"],
  context: ProxyContext,
): Promise<readonly DnsRecord[]> {
  const { deadlines, limits, resolveRecords } = context;
  return counted(client, context, async () => {
    const late = new AbortController();
    const deadline = deadlines.start(limits.resolveTimeoutMs, () => late.abort());
    try {
      return await resolveRecords(name, type, { client: client.name, signal: late.signal });
    } catch (cause) {
      // What the proxy's own way of asking tells is why; of another failure no more is known than that nobody answered.
      throw lookupError(
        name,
        cause instanceof FailedLookup ? cause : new FailedLookup("unanswered", undefined, { cause }),
      );
    } finally {
      deadline.stop();
    }
  });
}

async function counted<T>(client: Client, context: ProxyContext, look: () => Promise<T>): Promise<T> {
  const release = tryLookUp(context, client.name);
  if (!release) {
    throw new ProxyError("limit.reached", "Cannot look up the name: too many look-ups are under way", {
      reason: "quota",
    });
  }
  try {
    return await look();
  } finally {
    release();
  }
}

/** Look-ups have a time-out of their own. */
const NEVER = new AbortController().signal;

const pendingOf = new WeakMap<ProxyContext, LocalCounts>();

function tryLookUp(context: ProxyContext, client: string): (() => void) | undefined {
  const pending = pendingOf.get(context) ?? new LocalCounts();
  pendingOf.set(context, pending);
  if (pending.of(client) >= MAX_PENDING_PER_CLIENT) return undefined;
  pending.add(client, 1);
  return () => pending.add(client, -1);
}

/** SERVFAIL when asking again could help. That a name does not exist counts for all its types (RFC 8020), so it has to be known. */
function rcodeOf(error: ProxyError): number {
  if (error.code === "upstream.timeout") return RCODE.servFail;
  if (error.code !== "upstream.dns") return RCODE.nxDomain;
  if (isUnknownName(error)) return RCODE.servFail;
  return isNameWithoutAddress(error) ? RCODE.noError : RCODE.nxDomain;
}

async function readQuery({ session, request }: Exchange): Promise<Uint8Array> {
  const { head, body } = request;
  const { deadlines, limits } = session.context;
  const [length = ""] = valuesOf(head.fields, "content-length");
  if (valuesOf(head.fields, "transfer-encoding").length > 0 || !(Number(length) <= MAX_QUERY_BYTES)) {
    throw malformed(`it needs a Content-Length of at most ${MAX_QUERY_BYTES}`);
  }
  if (!listOf(head.fields, "content-type").includes(MEDIA_TYPE)) throw malformed(`it is no ${MEDIA_TYPE}`);
  const parts: Uint8Array[] = [];
  const deadline = deadlines.start(limits.headTimeoutMs, () => request.cut());
  try {
    while (!body.done) {
      parts.push(body.take().slice());
      body.release();
      if (!body.done && !await body.fill()) {
        throw new ProxyError("client.closed", "Cannot read the DNS query: the connection ended inside it");
      }
    }
  } finally {
    deadline.stop();
  }
  return Buffer.concat(parts);
}

function malformed(what: string): ProxyError {
  return new ProxyError("client.malformed", `Cannot read the DNS query: ${what}`, { reason: "malformed" });
}
