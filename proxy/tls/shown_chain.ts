/**
 * What certificates that an upstream has shown say about why it is not trusted, in words that name them. Pure. All their
 * texts are the upstream's: bounded, escaped, and believed by nobody.
 *
 * Not here: getting them (`egress/tls/certificate_look.ts`), and what the TLS library said (`errors.ts`).
 *
 * @module
 */
import { quoteText } from "../../core/escape.ts";
import type { Reason } from "../../policy/reason.ts";

/** One certificate. */
export interface ShownCertificate {
  readonly subject: ShownName;
  readonly issuer: ShownName;
  /** Epoch milliseconds. */
  readonly beginsAtMs: number;
  readonly endsAtMs: number;
  /** Where it says that its issuer's certificate is (RFC 5280 §4.2.2.1). Never fetched. */
  readonly issuerUrl?: string | undefined;
}

/** The parts of a distinguished name that people know a certificate by. */
export interface ShownName {
  readonly commonName?: string | undefined;
  readonly organization?: string | undefined;
}

/** The upstream's own certificate first, then its issuer's, as far as it sent them. */
export interface ShownChain {
  readonly certificates: readonly ShownCertificate[];
  /** False where the runtime gives the first alone: then nothing is known of the others. */
  readonly isWhole: boolean;
}

/** A finer reason, and what to say. */
export interface ChainFinding {
  readonly reason: Reason;
  readonly words: string;
}

const MAX_NAME = 80;
const MAX_URL = 200;

/** More than the library's reason for not trusting the chain; undefined where the chain tells no more. */
export function findInChain(
  reason: string | undefined,
  chain: ShownChain,
  nowMs: number,
): ChainFinding | undefined {
  switch (reason) {
    case "tls-unknown-issuer":
      return unknownIssuer(chain);
    case "tls-expired":
      return outOfTime(
        "tls-expired",
        chain,
        ({ endsAtMs }) => endsAtMs < nowMs,
        ({ endsAtMs }) => `ended on ${dateOf(endsAtMs)} (this machine's clock says ${dateOf(nowMs)})`,
      );
    case "tls-not-yet-valid":
      return outOfTime(
        "tls-not-yet-valid",
        chain,
        ({ beginsAtMs }) => beginsAtMs > nowMs,
        ({ beginsAtMs }) =>
          `is not valid before ${dateOf(beginsAtMs)} (this machine's clock says ${dateOf(nowMs)})`,
      );
    default:
      return undefined;
  }
}

function unknownIssuer({ certificates, isWhole }: ShownChain): ChainFinding | undefined {
  const [own] = certificates;
  const last = certificates.at(-1);
  if (!own || !last) return undefined;
  if (isSelfIssued(own)) {
    return {
      reason: "tls-self-signed",
      words: `its certificate is self-signed (${
        formatName(own.subject)
      }) and not trusted here (see --upstream-ca)`,
    };
  }
  const issuer = formatName(last.issuer);
  const place = last.issuerUrl === undefined ? "" : `; it says that this one is at ${last.issuerUrl}`;
  if (!isWhole) {
    return {
      reason: "tls-unknown-issuer",
      words: `its certificate is from ${issuer}, which is not trusted here (see --upstream-ca), or is an ` +
        `intermediate that it does not send${place}`,
    };
  }
  if (isSelfIssued(last)) {
    return {
      reason: "tls-unknown-issuer",
      words: `its certificate leads to the root ${
        formatName(last.subject)
      }, which is not trusted here (see --upstream-ca)`,
    };
  }
  if (certificates.length === 1) {
    return {
      reason: "tls-incomplete-chain",
      words:
        `it does not send the certificate of its issuer, ${issuer}, which is no root that is trusted here ` +
        `(see --upstream-ca)${place}`,
    };
  }
  return {
    reason: "tls-unknown-issuer",
    words:
      `its certificate leads to ${issuer}, which is not trusted here (see --upstream-ca), or is one more ` +
      `intermediate that it does not send${place}`,
  };
}

function outOfTime(
  reason: Reason,
  { certificates }: ShownChain,
  isOut: (certificate: ShownCertificate) => boolean,
  say: (certificate: ShownCertificate) => string,
): ChainFinding | undefined {
  const at = certificates.findIndex(isOut);
  const found = certificates[at];
  if (!found) return undefined;
  const whose = at === 0 ? "its certificate" : `the certificate of its issuer ${formatName(found.subject)}`;
  return { reason, words: `${whose} ${say(found)}` };
}

/** By its names: who signed it is for whoever trusts it to check. */
function isSelfIssued({ subject, issuer }: ShownCertificate): boolean {
  return subject.commonName === issuer.commonName && subject.organization === issuer.organization;
}

function formatName({ commonName, organization }: ShownName): string {
  if (commonName === undefined && organization === undefined) return "somebody without a name";
  if (commonName === undefined) return quoteText(organization ?? "", MAX_NAME);
  const of = organization === undefined ? "" : ` of ${quoteText(organization, MAX_NAME)}`;
  return quoteText(commonName, MAX_NAME) + of;
}

/** A URL that may be shown: an upstream could put anything there. */
export function shownUrl(text: unknown): string | undefined {
  return typeof text === "string" && text.length <= MAX_URL && /^https?:\/\/[\x21-\x7e]+$/.test(text)
    ? text
    : undefined;
}

function dateOf(ms: number): string {
  return Number.isFinite(ms) ? new Date(ms).toISOString().slice(0, 16).replace("T", " ") + " UTC" : "no date";
}
