/**
 * Requests that would give out keys: the answer would hand the VM a credential of its own, beyond what a rule can end.
 *
 * - STS: an IAM user may call `GetSessionToken` whatever its policies say. Only `GetCallerIdentity`, which every tool calls to
 *   see that it works, is let through; a rule that names the service itself (`--aws-service sts`) lets all of it through.
 * - S3 Express: `CreateSession` is an SDK's own way to sign, and can be switched off.
 *
 * Not here: other operations that make keys, such as IAM's `CreateAccessKey`: those need a permission (SECURITY.md).
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { ClientSignature, Refused, SignedHead } from "./client_signature.ts";

/** The bodies with which SDKs call it. A hash is as good as the body: AWS compares it. */
const IDENTITY_BODIES = [
  "Action=GetCallerIdentity&Version=2011-06-15",
  "Version=2011-06-15&Action=GetCallerIdentity",
];
const IDENTITY_HASHES: readonly string[] = IDENTITY_BODIES.map(sha256);
const EMPTY_HASH = sha256("");

/** The hashes that the payload may have, any when undefined; or why it is refused whatever it holds. */
export function allowedPayloads(
  signature: ClientSignature,
  { fields }: SignedHead,
  isStsNamed: boolean,
): readonly string[] | undefined | Refused {
  const { service, query } = signature;
  const isSession = query.some(({ name }) => name.toLowerCase() === "session") ||
    fields.some(({ key }) => key === "x-amz-s3session-token");
  if (service === "s3express" && isSession) {
    return {
      why:
        "S3 Express would give its session's keys to the VM: set AWS_S3_DISABLE_EXPRESS_SESSION_AUTH=true " +
        "(s3_disable_express_session_auth = true in ~/.aws/config) in the VM",
    };
  }
  if (service !== "sts" || isStsNamed) return undefined;
  const actions = query.filter(({ name }) => name.toLowerCase() === "action");
  if (actions.length === 0) return IDENTITY_HASHES;
  return actions.every(({ value }) => value === "GetCallerIdentity") ? [EMPTY_HASH] : [];
}

/** Why a payload is not allowed. */
export const STS_REFUSED: Refused = {
  why:
    "STS gives out keys, so that only GetCallerIdentity passes unless the rule names it: --aws-service sts",
};

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
