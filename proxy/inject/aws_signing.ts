/**
 * The signature that goes to AWS in the place of the client's own, made when the head is as it will be sent.
 *
 * Not here: what of it a rule allows (`decide/aws_request.ts`), SigV4 itself (`secrets/aws/`), where the keys come from
 * (`secrets/kind_aws.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { ChunkSigner } from "../../secrets/aws/chunks.ts";
import { STS_REFUSED } from "../../secrets/aws/guard.ts";
import { presignQuery, type Signable, signHead } from "../../secrets/aws/signer.ts";
import type { AwsKeys } from "../../secrets/credential.ts";
import type { AwsRequest } from "../decide/aws_request.ts";
import type { AdmittedExchange } from "../exchange.ts";
import { type HeaderField, injectCredential, makeField } from "../message/fields.ts";
import type { RequestTarget } from "../message/target.ts";
import type { Upload } from "../forward/upload.ts";

/** What goes upstream, less its body. `target` is a live credential where a URL is presigned. */
export interface OutgoingHead {
  readonly fields: readonly HeaderField[];
  readonly target: string;
}

/** Signs the one request of an exchange, and once more when it is sent again. */
export class AwsSigning {
  readonly #exchange: AdmittedExchange;
  readonly #request: AwsRequest;
  /** The payload's hash, once it had to be found out. */
  #hash: string | undefined;

  constructor(exchange: AdmittedExchange, request: AwsRequest) {
    this.#exchange = exchange;
    this.#request = request;
  }

  /**
   * The head with a signature by `keys` in the place of the client's own.
   *
   * @param upload is read to its end where the payload's hash has to be found out; else it is told how to sign its chunks
   * @throws ProxyError `policy.signature`, `limit.reached`, `client.malformed`, `client.closed`
   */
  async sign(keys: AwsKeys, head: OutgoingHead, upload: Upload): Promise<OutgoingHead> {
    const { signature } = this.#request;
    const { request: { head: { method, authority } }, target } = this.#exchange;
    const payload = await this.#payload(upload);
    const isHeld = signature.payload.kind === "unsaid";
    // What the client was told to wait for has come.
    const bare: HeaderField[] = injectCredential(
      head.fields.filter(({ key }) => !(isHeld && key === "expect")),
      {
        headers: [],
      },
    )
      .filter(({ key }) => !(signature.form === "header" && key === "x-amz-date"));
    if (isHeld && signature.form === "header") bare.push(makeField("X-Amz-Content-Sha256", payload));
    const host = authority === undefined ? [] : [{ key: "host", value: authority }];
    const fields = authority === undefined ? bare : bare.filter(({ key }) => key !== "host");
    const signable: Signable = {
      method,
      path: target.path,
      query: signature.query,
      fields: [...host, ...fields],
      signedHeaders: signature.signedHeaders,
      payload,
    };
    return signature.form === "query"
      ? { fields: bare, target: `${target.path}?${await this.#presign(keys, signable)}` }
      : { fields: await this.#signHead(keys, signable, { bare, upload }), target: head.target };
  }

  /** What stands for the payload in the signature. */
  async #payload(upload: Upload): Promise<string> {
    const { signature: { payload }, payloads } = this.#request;
    if (payload.kind !== "unsaid") return payload.value;
    this.#hash ??= await upload.hold();
    if (payloads && !payloads.includes(this.#hash)) {
      throw new ProxyError("policy.signature", `Cannot sign the request: ${STS_REFUSED.why}`, {
        reason: "aws-scope",
      });
    }
    return this.#hash;
  }

  async #signHead(
    keys: AwsKeys,
    signable: Signable,
    { bare, upload }: { readonly bare: readonly HeaderField[]; readonly upload: Upload },
  ): Promise<readonly HeaderField[]> {
    const { signature: { service, region, payload } } = this.#request;
    const { headers, signature, signText, longDate } = await signHead(signable, {
      keys,
      scope: { service, region },
      nowMs: this.#nowMs(),
    });
    if (payload.kind === "chunks") {
      upload.rewriter = new ChunkSigner({
        seed: signature,
        longDate,
        scope: `${longDate.slice(0, 8)}/${region}/${service}/aws4_request`,
        signText,
        hasTrailer: payload.hasTrailer,
        room: this.#exchange.session.context.admission.held(this.#exchange.client.name),
      });
    }
    return injectCredential(bare, { headers });
  }

  /** A URL that has ended keeps its time, so that AWS says so; any other is good from now on, for no longer than it was. */
  async #presign(keys: AwsKeys, signable: Signable): Promise<string> {
    const { signature: { service, region, signedAtMs = 0, expiresS = 1 } } = this.#request;
    const nowMs = this.#nowMs();
    const leftS = Math.ceil((signedAtMs - nowMs) / 1_000) + expiresS;
    const when = leftS <= 0
      ? { nowMs: signedAtMs, expiresS }
      : { nowMs, expiresS: Math.min(leftS, expiresS) };
    return await presignQuery(signable, { keys, scope: { service, region }, ...when });
  }

  #nowMs(): number {
    const { session: { context: { clock, awsClocks } }, target } = this.#exchange;
    return clock.now() + awsClocks.offsetMs(placeOf(target));
  }
}

/** The name under which an upstream's clock is known. */
export function placeOf({ host, port }: Pick<RequestTarget, "host" | "port">): string {
  return `${host} ${port}`;
}
