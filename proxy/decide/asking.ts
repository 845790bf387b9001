/**
 * Rules that ask first: a request that falls under one is held until a person has decided, for a bounded time, and of a client
 * only so many at once. Nobody is asked about what would be refused anyway, and after the answer everything is decided once
 * more: an approval lifts nothing that came in between, no deny rule, no check of addresses.
 *
 * Not here: who waits (`ask_book.ts`), and what an approval may do beyond this one request (`cli/up/approvals.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { ASK_LIMITS, RECORD_LIMITS } from "../../core/limits.ts";
import { cutText } from "../../policy/audit_record.ts";
import type { Ask } from "./asks.ts";
import { clientGone, revoked, stopping } from "../course.ts";
import type { AdmittedExchange } from "../exchange.ts";
import type { ProxyContext } from "../context.ts";
import type { IncomingRequest } from "../message/message.ts";
import type { Grant } from "../policy_source.ts";
import type { Refusal } from "../error_response.ts";

/** What `admit` says. */
export type Admitted = AdmittedExchange | { readonly refusal: Refusal };

/** True when a person has to be asked. */
export function asksFirst(admitted: Admitted): admitted is AdmittedExchange {
  return !("refusal" in admitted) && admitted.rule.ask === true;
}

/**
 * Holds a request until it is approved.
 *
 * @param again decides once more
 * @throws ProxyError as {@linkcode waitForPerson}
 */
export async function askFirst(exchange: AdmittedExchange, again: () => Admitted): Promise<Admitted> {
  const { session: { context }, rule, request, grant } = exchange;
  const timeoutMs = rule.askTimeoutMs ?? ASK_LIMITS.defaultTimeoutMs;
  await waitForPerson({ context, request, grant }, askOf(exchange, timeoutMs), timeoutMs);
  const admitted = again();
  // It was shown under this rule; another one that asks would have to be asked about.
  if (asksFirst(admitted) && admitted.rule.id !== rule.id) throw revoked();
  return admitted;
}

/** Who waits, and under which permission. */
export interface Waiter {
  readonly context: ProxyContext;
  readonly request: Pick<IncomingRequest, "watch">;
  readonly grant: Grant;
}

/**
 * Resolves when a person has approved it.
 *
 * @throws ProxyError `policy.asked`, `policy.revoked`, `client.closed`, `limit.reached`
 */
export async function waitForPerson(
  { context, request, grant }: Waiter,
  ask: Ask,
  timeoutMs: number,
): Promise<void> {
  const { asks, admission, deadlines, grants, policy } = context;
  if (!policy.isLive(grant)) throw revoked(); // nobody is shown, or told of, what would end at once
  const release = admission.tryAsk(ask.client);
  if (!release) {
    throw new ProxyError(
      "limit.reached",
      `Cannot ask about the request: client "${ask.client}" has as many as it may that wait for a person`,
      { reason: "quota" },
    );
  }
  const { promise: ended, reject } = Promise.withResolvers<never>();
  const waiting = asks.hold(ask);
  const deadline = deadlines.start(
    timeoutMs,
    () => reject(refused("nobody approved it in time", "ask-timeout")),
  );
  const letGo = grants.hold(grant, (why) => reject(why === "shutdown" ? stopping() : revoked()));
  request.watch((why) => reject(why ?? clientGone()), true);
  try {
    const decision = await Promise.race([waiting.decided, ended]);
    if (decision !== "approved") throw refused("a person denied it", "ask-denied");
  } finally {
    waiting.end();
    deadline.stop();
    letGo();
    release();
  }
}

/** Unguessable enough that nobody approves another by a typing error. */
export function askId(): string {
  return crypto.randomUUID().replaceAll("-", "").slice(0, 12);
}

function askOf(
  { session: { context }, client, rule, request, target }: AdmittedExchange,
  timeoutMs: number,
): Ask {
  const { scheme, host, port, path, query } = target;
  const sinceMs = context.clock.now();
  const cut = (text: string) => cutText(text, RECORD_LIMITS.maxPathChars);
  return {
    id: askId(),
    ...{ client: client.name, ruleId: rule.id, scheme, host, port, sinceMs },
    method: cutText(request.head.method, RECORD_LIMITS.maxTextChars),
    path: cut(path),
    ...(query === undefined ? {} : { query: cut(query) }),
    untilMs: sinceMs + timeoutMs,
  };
}

function refused(why: string, reason: "ask-denied" | "ask-timeout"): ProxyError {
  return new ProxyError(
    "policy.asked",
    `Cannot go on: a person has to be asked first, and ${why}`,
    {
      reason,
    },
  );
}
