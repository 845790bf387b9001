/**
 * Why a name has no addresses here, for whoever asked: in words that say what an operator has to look at, and nothing of
 * which servers there are.
 *
 * @module
 */
import { ProxyError } from "../../../core/errors.ts";

/** Every way in which a look-up fails. */
export type LookupFailure =
  | "nxdomain"
  | "no-data"
  /** The system's resolver does not tell these two from each other. */
  | "missing"
  | "servfail"
  | "refused"
  | "timeout"
  | "away"
  /** The system's resolver does not tell the last four from each other. */
  | "unanswered"
  | "garbage"
  | "too-large"
  /** Our own limit: the client has too many questions under way. */
  | "busy";

const WORDS: Readonly<Record<LookupFailure, string>> = {
  "nxdomain": "the name does not exist (NXDOMAIN)",
  "no-data": "the name has no address",
  "missing": "the name has no address",
  "servfail": "the name server failed (SERVFAIL)",
  "refused": "the name server refuses to answer (REFUSED)",
  "timeout": "the name server did not answer in time",
  "away": "the name server cannot be reached",
  "unanswered": "the name server did not answer, or failed",
  "garbage": "the name server's answer cannot be read",
  "too-large": "the name has more records than are taken",
  "busy": "too many questions about names are under way",
};

/** A look-up that failed. The message is for logs of the operator. */
export class FailedLookup extends Error {
  readonly kind: LookupFailure;

  constructor(kind: LookupFailure, message: string = WORDS[kind], options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }

  /** Nobody knows whether there is such a name: it could be found another time. */
  get isUnknown(): boolean {
    return !MISSING.has(this.kind);
  }
}

const MISSING: ReadonlySet<LookupFailure> = new Set(["nxdomain", "no-data", "missing"]);

/** A failure of the system's resolver, which tells a name that is missing from all that may be wrong with a name server. */
export function failedSystemLookup(error: unknown): FailedLookup {
  if (error instanceof FailedLookup) return error;
  const isMissing = !(error instanceof Error && "code" in error) || error.code === "ENOTFOUND";
  return new FailedLookup(isMissing ? "missing" : "unanswered", undefined, { cause: error });
}

/** The error to answer for a name whose look-up failed with `error`. */
export function lookupError(host: string, error: unknown): ProxyError {
  const cause = failedSystemLookup(error);
  const { kind } = cause;
  if (kind === "busy") {
    return new ProxyError("limit.reached", `Cannot find ${host}: ${WORDS[kind]}`, { cause, reason: "quota" });
  }
  const code = kind === "timeout" ? "upstream.timeout" : "upstream.dns";
  return new ProxyError(code, `Cannot find ${host}: ${WORDS[kind]}`, { cause, reason: "dns" });
}

/** True for a failure to find a name of which nobody knows whether it exists. */
export function isUnknownName(error: ProxyError): boolean {
  return error.cause instanceof FailedLookup && error.cause.isUnknown;
}

/** True for a name that exists and has no address. */
export function isNameWithoutAddress(error: ProxyError): boolean {
  return error.cause instanceof FailedLookup && error.cause.kind === "no-data";
}
