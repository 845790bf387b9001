/**
 * Which requests are the last on their upstream connection. Some servers answer certain requests without reading their body,
 * and take it for the start of the next request (CL.0): on a connection that goes on, a VM could write there what no rule
 * allows, and the next request would complete it with a credential.
 *
 * Not here: the connection (`egress/pools/pool.ts`), the framing of bodies (`http1/body.ts`).
 *
 * @module
 */
import { isLimited, type Rule } from "../../policy/rule.ts";
import type { RuleWords } from "../../policy/rule_words.ts";

/** Methods whose bodies mean something (RFC 9110 §9.3), so that servers read them. */
const WITH_BODY: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH"]);

/** True under a rule that limits what is sent, or adds a credential: there the next request must be what was checked. */
export function isGuarded(rule: Pick<Rule, "methods" | "paths" | "secret"> & RuleWords): boolean {
  return isLimited(rule) || rule.secret !== undefined;
}

/**
 * True for a request after which nothing more may be sent on its upstream connection, and which says so by `Connection: close`
 * (RFC 9112 §9.6): a server that did not read its body then does not read on either.
 *
 * @param request its method as sent, and whether it has a body, even an empty chunked one
 */
export function isLoneRequest(
  request: { readonly method: string; readonly hasBody: boolean },
  rule: Pick<Rule, "methods" | "paths" | "secret"> & RuleWords,
): boolean {
  if (rule.oneRequestPerConnection) return true;
  return isGuarded(rule) && request.hasBody && !WITH_BODY.has(request.method);
}
