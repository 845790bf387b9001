/**
 * One request, from its message to its answer: what it asks for, who asks, whether it may, and what becomes of it if not.
 *
 * Not here: reading it (`accept/session.ts`, `accept/http2_session.ts`), the decision (`decide/admit.ts`), forwarding (`forward/forward.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import type { AuditRecord } from "../policy/audit_record.ts";
import { contentNeeded } from "../policy/decide.ts";
import { isUnreadable } from "../policy/words/body_text.ts";
import { readContent } from "../policy/words/content.ts";
import { formatSays } from "../policy/words/says.ts";
import { admit } from "./decide/admit.ts";
import { askFirst, asksFirst } from "./decide/asking.ts";
import { type ReadRequest, readRequestBody } from "./decide/body_reader.ts";
import { modeOf } from "./context.ts";
import { answerOf, type Refusal, refusalOf } from "./error_response.ts";
import { checkSuspension, describeTarget, type Exchange, identify, refuseExchange } from "./exchange.ts";
import { forward } from "./forward/forward.ts";
import { listOf } from "./message/fields.ts";
import { metered } from "./forward/metered.ts";
import type { Client } from "./policy_source.ts";
import { parseTarget } from "./message/target.ts";

/** Serves it. Never rejects. */
export async function serveRequest(exchange: Exchange): Promise<void> {
  const { session, request: { head } } = exchange;
  const { context } = session;
  let known: Partial<AuditRecord> = { method: head.method };
  const denial = session.tunnel?.denial?.();
  if (denial) return await exchange.request.answer(answerOf(denial, head, session.tunnel?.host));
  let read: ReadRequest | undefined;
  try {
    const place = parseTarget(head, session.tunnel);
    known = { ...known, ...describeTarget(place, context) };
    const client = session.tunnel?.client ?? identify(session, head.fields);
    known = { ...known, client: client.name };
    checkSuspension(client, context);
    const rules = context.policy.rulesFor(client, place.host);
    const kinds = contentNeeded(rules, { ...place, method: head.method });
    if (kinds.length > 0) read = await readRequestBody(exchange, client.name, place.query);
    const content = read && readContent(kinds, read.body);
    const says = formatSays(rules, { ...place, method: head.method, content });
    const target = says === undefined ? place : { ...place, says };
    if (says !== undefined) known = { ...known, says };
    const decide = () => admit(exchange, client, target, content);
    let admitted = decide();
    if (asksFirst(admitted)) admitted = await askFirst(admitted, decide);
    if ("refusal" in admitted) {
      if (read === undefined && isLearnt(exchange, client, admitted.refusal)) {
        const asked = { ...place, method: head.method };
        read = await readRequestBody(exchange, client.name, place.query).catch(() => undefined);
        const content = read && readContent(["mcp"], read.body);
        // What is no message of MCP is nobody's business.
        if (content && !isUnreadable(content.mcp)) {
          known = { ...known, says: formatSays(rules, { ...asked, content }) };
        }
      }
      await refuseExchange(exchange, admitted.refusal, known);
    } else await forward(metered(admitted));
  } catch (error) {
    if (!(error instanceof ProxyError)) context.reportBug(error);
    await refuseExchange(exchange, refusalOf(error), known);
  } finally {
    read?.drop();
  }
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
