/**
 * Opening a tunnel: decide by host and port, then splice, look inside, or refuse. In audit mode an unknown target is looked
 * into as well, so that its first request can be logged; every request inside is then refused on its own.
 *
 * Not here: SOCKS (`socks.ts`), the bytes of a spliced tunnel (`tunnel.ts`), the inside of an inspected one (`inspect.ts`).
 *
 * @module
 */
import { modeOf } from "../context.ts";
import { clientGone } from "../course.ts";
import { ProxyError } from "../../core/errors.ts";
import { formatHostPort, type HostPort } from "../../core/host_port.ts";
import { decideConnect } from "../../policy/decide.ts";
import { explainDenial } from "../../policy/explain.ts";
import type { AuditRecord } from "../../policy/audit_record.ts";
import { writeAll } from "../streams/byte_reader.ts";
import { type Refusal, refusalOf } from "../error_response.ts";
import { checkSuspension, identify, logRefusal, type OpenSession, refuseExchange } from "../exchange.ts";
import type { Next } from "../http1/request.ts";
import { inspect, type InspectedTunnel } from "./inspect.ts";
import { newHostRefusal } from "./new_hosts.ts";
import type { Client } from "../policy_source.ts";
import { parseConnectTarget } from "../message/target.ts";
import type { ConnectExchange } from "../accept/session.ts";
import { passThrough } from "./tunnel.ts";

const ESTABLISHED = new TextEncoder().encode("HTTP/1.1 200 Connection Established\r\n\r\n");

/**
 * What is left to do once a tunnel is open that is looked into: to serve its inside, until it ends. Whoever asked for the tunnel
 * hands it on and is done; an idle tunnel would keep all frames that wait for it, with the request that opened it.
 */
export type Inside = () => Promise<void>;

/** Serves a CONNECT request (RFC 9110 §9.3.6) on a proxy port. Never rejects. */
export async function handleConnect(exchange: ConnectExchange): Promise<Next | Inside> {
  const { session, request, startedAt } = exchange;
  const { head } = request;
  let known: Partial<AuditRecord> = { method: "CONNECT" };
  const refuse = async (refusal: Refusal) => {
    await refuseExchange(exchange, refusal, known);
    return request.next;
  };
  try {
    const target = parseConnectTarget(head);
    known = { ...known, ...target };
    const client = identify(session, head.fields);
    known = { ...known, client: client.name };
    checkSuspension(client, session.context);
    const admit = () => writeAll(session.stream, ESTABLISHED);
    return await openTunnel(session, { client, target, startedAt, method: "CONNECT", admit, refuse });
  } catch (error) {
    if (!(error instanceof ProxyError)) session.context.reportBug(error);
    return await refuse(refusalOf(error));
  }
}

/** A tunnel that an authenticated client asks for, by whichever protocol. */
export interface TunnelRequest {
  readonly client: Client;
  readonly target: HostPort;
  /** By the monotonic clock. */
  readonly startedAt: number;
  /** For the audit log. */
  readonly method: string;
  /** Tells the client that the tunnel is open. */
  readonly admit: () => Promise<void>;
  /** Tells the client that it is not, and logs it. */
  readonly refuse: (refusal: Refusal) => Promise<Next>;
}

/**
 * Decides and serves a tunnel.
 *
 * @throws ProxyError before anything was admitted; `client.closed` when the client has gone before it was told
 */
export async function openTunnel(session: OpenSession, request: TunnelRequest): Promise<Next | Inside> {
  const { client, target, method, startedAt, admit, refuse } = request;
  const { policy, explain } = session.context;
  const denial = () => strictDenial(session, client, target);
  const denied = denial();
  if (denied && explain === "connect") return await refuse(denied);
  if (denied) {
    // Where there is no certificate left to say it inside, it is said here.
    if (await newHostRefusal(session.context, client, target.host)) return await refuse(denied);
    logRefusal(session, denied, { client: client.name, method, ...target });
    try {
      await admit();
    } catch {
      session.stream.close(); // gone meanwhile, and logged already
      return "taken";
    }
    return insideOf(session, { client, rule: undefined, target, method, startedAt, denial });
  }
  const decision = decideConnect(policy.rulesFor(client, target.host), target);
  if (policy.isTokenEndpoint({ host: target.host })) {
    const detail = `Client "${client.name}" may not connect to ${
      formatHostPort(target)
    }: the proxy renews its credentials there`;
    return await refuse({ status: 403, reason: "token-endpoint", detail });
  }
  if (decision.verdict === "passthrough") {
    await passThrough(session, { client, rule: decision.rule, target, startedAt, admit });
    return "taken";
  }
  const asked = newHostRefusal(session.context, client, target.host);
  const refused = asked instanceof Promise ? await asked : asked;
  if (refused) return await refuse(refused);
  try {
    await admit();
  } catch {
    throw clientGone(); // reset meanwhile, which is anybody's to do: no bug
  }
  const rule = "rule" in decision ? decision.rule : undefined;
  return insideOf(session, { client, rule, target, method, startedAt });
}

/** A function of its own, so that what it returns holds no more than that. */
function insideOf(session: OpenSession, tunnel: InspectedTunnel): Inside {
  return () => inspect(session, tunnel);
}

/** The refusal of a tunnel that no rule allows, where that is refused at once. */
function strictDenial({ context }: OpenSession, client: Client, target: HostPort): Refusal | undefined {
  const { policy } = context;
  const decision = decideConnect(policy.rulesFor(client, target.host), target);
  if (decision.verdict !== "deny" || modeOf(context, client.name) !== "strict") return undefined;
  const explanation = explainDenial(
    { client: client.name, ...target },
    decision.reason,
    policy.rulesOf(client),
  );
  const detail = `Client "${client.name}" may not connect to ${formatHostPort(target)}`;
  return { status: 403, reason: decision.reason, detail, explanation };
}
