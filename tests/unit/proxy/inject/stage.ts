/** A request that may go upstream with a secret, as far as its credential is concerned. */
import { Deadlines } from "../../../../core/deadlines.ts";
import type { RuleInput } from "../../../../policy/rule.ts";
import { UpstreamClocks } from "../../../../secrets/aws/clocks.ts";
import type { Credential } from "../../../../secrets/credential.ts";
import type { CredentialRequest, UpstreamAnswer } from "../../../../secrets/oauth_kind.ts";
import type { AwsRequest } from "../../../../proxy/decide/aws_request.ts";
import type { AdmittedExchange } from "../../../../proxy/exchange.ts";
import { makeField } from "../../../../proxy/message/fields.ts";
import type { ResponseHead, UpstreamLeg } from "../../../../proxy/message/message.ts";
import { makeRule } from "../../../support/make_rule.ts";

export const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);

export interface StageOptions {
  /** What the policy has for the secret, once and again. */
  readonly credential?: Credential | Promise<Credential | undefined> | undefined;
  readonly next?: Credential | undefined;
  readonly rule?: Partial<RuleInput>;
  readonly path?: string;
  readonly aws?: AwsRequest;
  readonly isUpgrade?: boolean;
  /** All of the request's body was sent. */
  readonly isReleased?: boolean;
  readonly secret?: { readonly name: string; readonly version: string } | undefined;
  readonly authority?: string;
}

/** The exchange, and what was asked of the rest of the proxy. */
export function makeExchange(options: StageOptions = {}) {
  const { credential, next, rule, path = "/a", aws, isUpgrade = false, isReleased = true, authority } =
    options;
  const secret = "secret" in options ? options.secret : { name: "s", version: "v1" };
  const asked: CredentialRequest[] = [];
  const rejected: (readonly [Credential, UpstreamAnswer])[] = [];
  const awsClocks = new UpstreamClocks();
  const room = { kept: 0, held: 0 };
  const roomOf = (which: "kept" | "held") => ({
    take: (bytes: number) => {
      room[which] += bytes;
      return true;
    },
    give: (bytes: number) => void (room[which] -= bytes),
  });
  const exchange = {
    session: {
      context: {
        policy: {
          credential: (_name: string, request: CredentialRequest) => {
            asked.push(request);
            return credential;
          },
          rejected: (refused: Credential, answer: UpstreamAnswer) => {
            rejected.push([refused, answer]);
            return Promise.resolve(next);
          },
        },
        admission: { kept: roomOf("kept"), held: () => roomOf("held") },
        awsClocks,
        clock: { now: () => NOW, monotonic: () => 0 },
        deadlines: new Deadlines(),
        onEcho: "mask",
      },
    },
    secret,
    target: { host: "api.test", port: 443, path },
    request: { head: { method: "POST", authority }, body: { isReleased } },
    client: { name: "ci-1" },
    rule: makeRule("r", { host: "api.test", secret: "s", ...rule }),
    aws,
    upgrade: isUpgrade ? { protocol: "websocket" } : undefined,
  } as unknown as AdmittedExchange;
  return { exchange, asked, rejected, awsClocks, room };
}

export function makeCredential(parts: Partial<Credential> = {}): Credential {
  return {
    ...{ secret: "s", version: "v1", host: "api.test", cleartext: false },
    headers: [["Authorization", "Bearer sk-planted-1"]],
    material: ["sk-planted-1"],
    ...parts,
  };
}

export function makeAnswer(status: number, fields: Readonly<Record<string, string>> = {}): ResponseHead {
  return {
    version: "HTTP/1.1",
    status,
    reason: "",
    fields: Object.entries(fields).map(([name, value]) => makeField(name, value)),
  };
}

/** An answer's body begins with this. */
export function makeLeg(bodyStart = ""): { readonly leg: UpstreamLeg; readonly peeks: () => number } {
  let peeks = 0;
  const leg = {
    peekBody: () => {
      peeks++;
      return Promise.resolve(bodyStart);
    },
  } as unknown as UpstreamLeg;
  return { leg, peeks: () => peeks };
}
