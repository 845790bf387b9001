/**
 * What a rule allows of the AWS signature that a client's SDK has put on its request.
 *
 * Not here: the signature that goes in its place (`inject/aws_signing.ts`).
 *
 * @module
 */
import { isServiceNamed, scopeMiss } from "../../policy/words/aws_scope.ts";
import type { Reason } from "../../policy/reason.ts";
import type { Rule } from "../../policy/rule.ts";
import { type ClientSignature, readSignature } from "../../secrets/aws/client_signature.ts";
import { allowedPayloads, STS_REFUSED } from "../../secrets/aws/guard.ts";
import { valuesOf } from "../message/fields.ts";
import type { RequestHead } from "../message/message.ts";
import type { RequestTarget } from "../message/target.ts";

/** A request whose signature may be replaced. */
export interface AwsRequest {
  readonly signature: ClientSignature;
  /** The only hashes that its payload may have. */
  readonly payloads: readonly string[] | undefined;
}

/** Why not. */
interface Denial {
  readonly reason: Reason;
  readonly why: string;
}

/**
 * The client's signature under a rule with AWS keys, or with words about AWS; undefined for every other rule.
 *
 * @param hasKeys the rule's secret is of the type `aws`
 */
export function awsUnder(
  rule: Rule,
  hasKeys: boolean,
  { head, target }: { readonly head: RequestHead; readonly target: Pick<RequestTarget, "query"> },
): AwsRequest | undefined | Denial {
  const isLimited = rule.awsService !== undefined || rule.awsRegion !== undefined;
  if (!hasKeys && !isLimited) return undefined;
  const signed = { query: target.query, fields: head.fields };
  const signature = readSignature(signed);
  if ("why" in signature) return { reason: "aws-signature", why: signature.why };
  const miss = scopeMiss(rule, signature);
  if (miss !== undefined) return { reason: "aws-scope", why: `it is signed for ${miss}` };
  if (!hasKeys) return undefined;
  const { payload } = signature;
  if (payload.kind === "chunks" && valuesOf(head.fields, "transfer-encoding").length > 0) {
    return { reason: "aws-signature", why: "a body of signed chunks needs a Content-Length" };
  }
  const payloads = allowedPayloads(signature, signed, isServiceNamed(rule, "sts"));
  if (payloads && "why" in payloads) return { reason: "aws-signature", why: payloads.why };
  const isRefused = payload.kind !== "unsaid" && payloads &&
    !(payload.kind === "said" && payloads.includes(payload.value));
  return isRefused ? { reason: "aws-scope", why: STS_REFUSED.why } : { signature, payloads };
}
