/**
 * One request, from its message to its answer: what it asks for, who asks, whether it may, and what becomes of it if not.
 *
 * Not here: reading it (`session.ts`, `http2_session.ts`), the decision (`admit.ts`), forwarding (`forward.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import type { AuditRecord } from "../policy/audit_record.ts";
import { contentNeeded } from "../policy/decide.ts";
import { readContent } from "../policy/words/content.ts";
import { formatSays } from "../policy/words/says.ts";
import { admit } from "./admit.ts";
import { type ReadRequest, readRequestBody } from "./body_reader.ts";
import { answerOf, refusalOf } from "./error_response.ts";
import { checkSuspension, describeTarget, type Exchange, identify, refuseExchange } from "./exchange.ts";
import { forward } from "./forward.ts";
import { metered } from "./metered.ts";
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
    const admitted = admit(exchange, client, target, content);
    if ("refusal" in admitted) await refuseExchange(exchange, admitted.refusal, known);
    else await forward(metered(admitted));
  } catch (error) {
    if (!(error instanceof ProxyError)) context.reportBug(error);
    await refuseExchange(exchange, refusalOf(error), known);
  } finally {
    read?.drop();
  }
}
