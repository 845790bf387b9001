/**
 * `POST /requests` to the proxy itself, with the client's token: a program in a VM asks a person for a rule, and says why. It
 * is answered when somebody has decided; who does not wait for that withdraws it. What may be asked for is one method and
 * path of one host, never a secret; the reason is text that nobody trusts.
 *
 * Not here: the waiting (`../asking.ts`), the rule (`cli/up/approvals.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProxyError } from "../../core/errors.ts";
import { ASK_LIMITS } from "../../core/limits.ts";
import { canBeTyped } from "../../policy/allow_command.ts";
import { parseRule } from "../../policy/rule.ts";
import { askId, waitForPerson } from "../decide/asking.ts";
import type { Ask } from "../decide/asks.ts";
import { checkSuspension, type Exchange, identify } from "../exchange.ts";
import { makeField, valuesOf } from "../message/fields.ts";

/** True for a request that this file serves. */
export function isRuleRequest({ session, request: { head } }: Exchange): boolean {
  return session.tunnel === undefined && head.method === "POST" && head.target === "/requests";
}

/**
 * Asks, and answers once that is decided.
 *
 * @throws ProxyError `auth.*`, `client.malformed`, `limit.reached`, `policy.*`
 */
export async function serveRuleRequest(exchange: Exchange): Promise<void> {
  const { session, request } = exchange;
  const { context } = session;
  const client = identify(session, request.head.fields);
  checkSuspension(client, context);
  const wanted = readWanted(await readBody(exchange));
  checkSuspension(client, context); // the body may have taken its time
  const sinceMs = context.clock.now();
  const timeoutMs = ASK_LIMITS.defaultTimeoutMs;
  const ask: Ask = { ...wanted, id: askId(), client: client.name, sinceMs, untilMs: sinceMs + timeoutMs };
  await waitForPerson({ context, request, grant: { client } }, ask, timeoutMs);
  const body = Buffer.from('{"approved":true}\n');
  await request.answer({
    status: 200,
    phrase: "OK",
    fields: [
      makeField("Content-Type", "application/json"),
      makeField("Content-Length", String(body.length)),
      makeField("Cache-Control", "no-store"),
    ],
    body,
  });
}

/** @throws ProxyError `client.malformed` */
function readWanted(text: string): Pick<Ask, "scheme" | "method" | "host" | "port" | "path" | "reason"> {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw malformed("it is no JSON");
  }
  if (typeof body !== "object" || body === null) throw malformed("it is no object");
  const { method, url, reason, ...rest } = body as Readonly<Record<string, unknown>>;
  const isText = typeof method === "string" && typeof url === "string" && typeof reason === "string";
  if (!isText || Object.keys(rest).length > 0) {
    throw malformed('it wants {"method", "url", "reason"}, all of them texts');
  }
  if (reason.length === 0 || reason.length > ASK_LIMITS.maxReasonChars) {
    throw malformed(`its reason has to have 1 to ${ASK_LIMITS.maxReasonChars} characters`);
  }
  if (!URL.canParse(url)) throw malformed("its url is none");
  const { protocol, hostname, port, pathname: path, username, password } = new URL(url);
  if (!/^https?:$/.test(protocol) || username !== "" || password !== "") {
    throw malformed("its url is not plain");
  }
  // What is shown to a person is what was written, and not what was made of it.
  const [, written] = /^https?:\/\/[^/?#]*([^?#]*)/i.exec(url) ?? [];
  if (written !== path && !(written === "" && path === "/")) {
    throw malformed("the path of its url is not written plainly");
  }
  const scheme = protocol === "https:" ? "https" : "http";
  if (!canBeTyped({ host: hostname, method, path })) throw malformed("no rule can be written for it");
  try {
    const { host, methods: [name = ""], paths: [plain = ""] } = parseRule({
      host: hostname,
      methods: [method],
      paths: [path],
    });
    return {
      scheme,
      method: name,
      host,
      port: Number(port || (scheme === "https" ? 443 : 80)),
      path: plain,
      reason,
    };
  } catch {
    throw malformed("no rule can be written for it");
  }
}

/** @throws ProxyError `client.malformed`, `client.closed` */
async function readBody({ session, request }: Exchange): Promise<string> {
  const { head, body } = request;
  const { deadlines, limits } = session.context;
  const [length = ""] = valuesOf(head.fields, "content-length");
  if (valuesOf(head.fields, "transfer-encoding").length > 0 || !(Number(length) <= ASK_LIMITS.maxBodyBytes)) {
    throw malformed(`it needs a Content-Length of at most ${ASK_LIMITS.maxBodyBytes}`);
  }
  const parts: Uint8Array[] = [];
  const deadline = deadlines.start(limits.headTimeoutMs, () => request.cut());
  try {
    while (!body.done) {
      parts.push(body.take().slice());
      body.release();
      if (!body.done && !await body.fill()) throw malformed("the connection ended inside it");
    }
  } finally {
    deadline.stop();
  }
  return Buffer.concat(parts).toString("utf8");
}

function malformed(what: string): ProxyError {
  return new ProxyError("client.malformed", `Cannot read what is asked for: ${what}`);
}
