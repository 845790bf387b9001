/**
 * One request, from its message to its answer: what it asks for, who asks, whether it may, and what becomes of it if not.
 *
 * Most requests are decided at once, and nothing here is awaited for them: they are handed on in the turn in which they came.
 *
 * Not here: reading it (`accept/session.ts`, `accept/http2_session.ts`), the decision (`decide/admit.ts`), forwarding (`forward/forward.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import type { AuditRecord } from "../policy/audit_record.ts";
import { contentNeeded } from "../policy/decide.ts";
import type { Rule } from "../policy/rule.ts";
import { isUnreadable } from "../policy/words/body_text.ts";
import type { Content, ContentKind } from "../policy/words/conditions.ts";
import { readContent } from "../policy/words/content.ts";
import { formatSays } from "../policy/words/says.ts";
import { admit } from "./decide/admit.ts";
import { type Admitted, askFirst, asksFirst } from "./decide/asking.ts";
import { type ReadRequest, readRequestBody } from "./decide/body_reader.ts";
import { modeOf } from "./context.ts";
import { answerOf, type Refusal, refusalOf } from "./error_response.ts";
import {
  type AdmittedExchange,
  checkSuspension,
  describeTarget,
  type Exchange,
  identify,
  refuseExchange,
} from "./exchange.ts";
import { forward } from "./forward/forward.ts";
import { listOf } from "./message/fields.ts";
import { metered } from "./forward/metered.ts";
import type { Client } from "./policy_source.ts";
import { parseTarget, type RequestTarget } from "./message/target.ts";

/** What has been found out of a request, for the record of its refusal. */
interface Found {
  place?: RequestTarget;
  client?: Client;
  /** What words of rules saw of it. */
  says?: string | undefined;
}

/** A request of which is known who asks, and for what. */
interface Asked {
  readonly exchange: Exchange;
  readonly place: RequestTarget;
  readonly client: Client;
  /** The client's, for the host. */
  readonly rules: readonly Rule[];
  /** What its body says, where that had to be read. */
  readonly content?: Content;
  readonly found: Found;
}

/** Serves it. Rejects only on a bug. */
export function serveRequest(exchange: Exchange): Promise<void> {
  const { session, session: { context, tunnel }, request: { head } } = exchange;
  const denial = tunnel?.denial?.();
  if (denial) return exchange.request.answer(answerOf(denial, head, tunnel?.host));
  const found: Found = {};
  try {
    const place = found.place = parseTarget(head, tunnel);
    const client = found.client = tunnel?.client ?? identify(session, head.fields);
    checkSuspension(client, context);
    const rules = context.policy.rulesFor(client, place.host);
    const asked = { exchange, place, client, rules, found };
    const kinds = contentNeeded(rules, { ...place, method: head.method });
    return kinds.length > 0 ? serveRead(asked, kinds) : serveAsked(asked);
  } catch (error) {
    return refuse(exchange, error, found);
  }
}

/** Its rules have to know what its body says. */
async function serveRead(asked: Asked, kinds: readonly ContentKind[]): Promise<void> {
  const { exchange, client, place, found } = asked;
  let read: ReadRequest | undefined;
  try {
    read = await readRequestBody(exchange, client.name, place.query);
    await serveAsked({ ...asked, content: readContent(kinds, read.body) });
  } catch (error) {
    await refuse(exchange, error, found);
  } finally {
    read?.drop();
  }
}

/** @throws ProxyError when it is refused for anything but its rules */
function serveAsked(asked: Asked): Promise<void> {
  const { exchange, place, client, rules, content, found } = asked;
  const { method } = exchange.request.head;
  const says = found.says = formatSays(rules, { ...place, method, content });
  const target = says === undefined ? place : { ...place, says };
  const decide = () => admit(exchange, client, target, content);
  const admitted = decide();
  if (asksFirst(admitted)) return serveHeld(asked, admitted, decide);
  if ("refusal" in admitted) return refuseDenied(asked, admitted.refusal);
  return forward(metered(admitted));
}

/** A person has to be asked first. */
async function serveHeld(
  asked: Asked,
  held: AdmittedExchange,
  decide: () => Admitted,
): Promise<void> {
  try {
    const admitted = await askFirst(held, decide);
    if ("refusal" in admitted) await refuseDenied(asked, admitted.refusal);
    else await forward(metered(admitted));
  } catch (error) {
    await refuse(asked.exchange, error, asked.found);
  }
}

/** No rule allows it. */
async function refuseDenied(asked: Asked, refusal: Refusal): Promise<void> {
  const { exchange, place, client, rules, found } = asked;
  let read: ReadRequest | undefined;
  try {
    if (asked.content === undefined && isLearnt(exchange, client, refusal)) {
      read = await readRequestBody(exchange, client.name, place.query).catch(() => undefined);
      const content = read && readContent(["mcp"], read.body);
      // What is no message of MCP is nobody's business.
      if (content && !isUnreadable(content.mcp)) {
        found.says = formatSays(rules, { ...place, method: exchange.request.head.method, content });
      }
    }
    await refuseExchange(exchange, refusal, knownOf(exchange, found));
  } finally {
    read?.drop();
  }
}

/** What anything but a rule refuses, and what must not happen. */
function refuse(exchange: Exchange, error: unknown, found: Found): Promise<void> {
  if (!(error instanceof ProxyError)) exchange.session.context.reportBug(error);
  return refuseExchange(exchange, refusalOf(error), knownOf(exchange, found));
}

function knownOf({ session: { context }, request: { head } }: Exchange, found: Found): Partial<AuditRecord> {
  const { place, client, says } = found;
  return {
    method: head.method,
    ...(place ? describeTarget(place, context) : {}),
    ...(client ? { client: client.name } : {}),
    ...(says === undefined ? {} : { says }),
  };
}

/**
 * True for a denied message to an MCP server while the client learns: which tool it was about stands in the body alone, and
 * `suggest` names it. Streamable HTTP has the client accept both media types.
 */
function isLearnt(
  { request: { head }, session: { context } }: Exchange,
  client: Client,
  refusal: Refusal,
): boolean {
  return refusal.reason === "no-rule" && head.method === "POST" &&
    modeOf(context, client.name) === "audit" &&
    listOf(head.fields, "content-type").some((type) => type.startsWith("application/json")) &&
    listOf(head.fields, "accept").some((type) => type.startsWith("text/event-stream"));
}
