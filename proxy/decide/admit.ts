/**
 * Everything that is decided about a request, in one place and without waiting for anything: the rule, what it is granted,
 * and the checks that stand between the two.
 *
 * Not here: the decision itself (`policy/decide.ts`), tunnels (`tunnels/connect.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { formatHostPort } from "../../core/host_port.ts";
import { decideRequest } from "../../policy/decide.ts";
import { explainDenial } from "../../policy/explain.ts";
import { hostWithin, isLimited, type Rule } from "../../policy/rule.ts";
import { hasConditions } from "../../policy/rule_words.ts";
import { awsUnder } from "./aws_request.ts";
import { type Content, mayRead } from "../../policy/words/conditions.ts";
import { toolsToShow } from "../../policy/words/mcp_list.ts";
import type { AdmittedExchange, AdmittedSecret, Draft, Exchange } from "../exchange.ts";
import type { Refusal } from "../error_response.ts";
import { findOverride } from "../message/fields.ts";
import { isGrpc } from "../message/grpc.ts";
import { namesOtherMethod } from "../message/method_parameter.ts";
import { isRefusedMethod, parseUpgrade, type RequestTarget, type Upgrade } from "../message/target.ts";
import type { Client, Grant } from "../policy_source.ts";

/** Why not, without who and what. */
interface Denial {
  readonly reason: Refusal["reason"];
  readonly why: string;
}

/**
 * Decides.
 *
 * @throws ProxyError `client.malformed` for an upgrade that is none
 */
export function admit(
  exchange: Exchange,
  client: Client,
  target: RequestTarget,
  content?: Content,
): AdmittedExchange | { readonly refusal: Refusal } {
  const { request: { head }, session: { context: { policy } } } = exchange;
  const { method } = head;
  const asks = { client, method, target };
  if (isRefusedMethod(method)) {
    return refused(asks, { reason: "method-refused", why: "no proxy forwards this method" });
  }
  const { host, port, path, query } = target;
  const asked = { host, port, method, path, query, content };
  const decision = decideRequest(policy.rulesFor(client, target.host), asked);
  if (decision.verdict === "deny") {
    const explanation = explainDenial(
      {
        ...{ client: client.name, ...asked, why: decision.why },
        isGrpc: head.version === "HTTP/2" && isGrpc(head.fields),
      },
      decision.reason,
      policy.rulesOf(client),
    );
    return { refusal: { status: 403, reason: decision.reason, detail: attempt(asks), explanation } };
  }
  if (policy.isTokenEndpoint(target)) {
    return refused(asks, { reason: "token-endpoint", why: "the proxy renews its credentials there" });
  }
  const { rule, others } = decision;
  const override = overrideUnder(rule, exchange, target);
  if (override) return refused(asks, override);
  const upgrade = upgradeUnder(rule, exchange);
  if (isDenial(upgrade)) return refused(asks, upgrade);
  const secret = secretUnder(rule, target, exchange);
  if (isDenial(secret)) return refused(asks, secret);
  const hasKeys = secret !== undefined && policy.secretInfo(secret.name)?.type === "aws";
  const aws = awsUnder(rule, hasKeys, { head, target });
  if (isDenial(aws)) return refused(asks, aws);
  const grant: Draft<Grant> = { client, rule };
  if (others) grant.others = others;
  if (secret) grant.credential = { secret: secret.name, version: secret.version };
  const tools = toolsToShow(rule, content);
  return { ...exchange, client, target, rule, secret, aws, upgrade, tools, grant };
}

/** Who asks for what, for the words of a refusal. */
interface Attempt {
  readonly client: Client;
  readonly method: string;
  readonly target: RequestTarget;
}

function refused(asks: Attempt, { reason, why }: Denial): { readonly refusal: Refusal } {
  return { refusal: { status: 403, reason, detail: `${attempt(asks)}: ${why}` } };
}

function attempt({ client, method, target }: Attempt): string {
  const { scheme, path } = target;
  return `Client "${client.name}" may not ${method} ${scheme}://${formatHostPort(target)}${path}`;
}

function isDenial(found: object | undefined): found is Denial {
  return found !== undefined && "why" in found;
}

/** What would make a server take another method or path than the rule has checked. */
function overrideUnder(rule: Rule, { request: { head } }: Exchange, { query }: RequestTarget) {
  const header = isLimited(rule) ? findOverride(head.fields) : undefined;
  const isOther = (rule.methods.length > 0 || hasConditions(rule)) && namesOtherMethod(query, head.method);
  if (!header && !isOther) return undefined;
  const what = header ? `the header ${header.name}` : "the parameter _method of the query";
  return {
    reason: "method-override",
    why: `${what} would change what the rule has checked`,
  } satisfies Denial;
}

/** The upgrade that the request asks for, as far as it cannot leave what the rule has checked. */
function upgradeUnder(rule: Rule, { request: { head, body } }: Exchange): Upgrade | undefined | Denial {
  const upgrade = parseUpgrade(head);
  if (upgrade && (mayRead(rule) || (upgrade.protocol !== "websocket" && isLimited(rule)))) {
    return {
      reason: "upgrade-not-allowed",
      why: "another protocol could leave what the rule allows",
    };
  }
  if (head.protocol !== undefined && !upgrade) {
    return { reason: "upgrade-not-allowed", why: "no proxy forwards this protocol" };
  }
  if (upgrade && head.protocol === undefined && !body.done) {
    throw new ProxyError("client.malformed", "Cannot read the request: an upgrade with a body");
  }
  return upgrade;
}

/** The secret that the rule names, where the request may have its credential. */
function secretUnder(
  rule: Rule,
  target: RequestTarget,
  { request: { head }, session: { context: { policy, cleartextSecrets } } }: Exchange,
): AdmittedSecret | undefined | Denial {
  if (rule.secret === undefined) return undefined;
  const secret = policy.secretInfo(rule.secret);
  if (!secret) {
    return {
      reason: "secret-missing",
      why: `the rule names the secret "${rule.secret}", which does not exist`,
    };
  }
  if (!hostWithin(rule.host, secret.host) || !hostWithin(target.host, secret.host)) {
    return { reason: "secret-host", why: `the secret "${rule.secret}" is bound to another host` };
  }
  // Whether a server speaks HTTP/2 in clear is the client's word; no credential is put on it.
  if (target.scheme === "http" && head.version === "HTTP/2") {
    return {
      reason: "cleartext-secret",
      why: `the secret "${rule.secret}" is not sent over HTTP/2 without TLS; HTTP/1.1 and TLS can have it`,
    };
  }
  if (target.scheme === "http" && secret.type === "mtls") {
    return {
      reason: "cleartext-secret",
      why: `the secret "${rule.secret}" is a certificate, which only TLS shows`,
    };
  }
  const isClear = target.scheme === "http" && !secret.cleartext;
  if (isClear && cleartextSecrets === "never") {
    return { reason: "cleartext-secret", why: `the secret "${rule.secret}" is not sent without TLS` };
  }
  const isOnlyNear = isClear && cleartextSecrets === "private";
  return { name: rule.secret, version: secret.version, isOnlyNear };
}
