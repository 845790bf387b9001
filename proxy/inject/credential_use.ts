/**
 * The credential of one request: fetched, put in the place of the client's own, and once more with a newer one when the
 * upstream has refused the first.
 *
 * Not here: what a credential is (`secrets/`), which request may have it (`decide/admit.ts`).
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { matchPath } from "../../policy/path.ts";
import { hasSegmentPlace, SEGMENT_PLACEHOLDER } from "../../policy/placeholder.ts";
import type { ClientCertificate, Credential } from "../../secrets/credential.ts";
import { type AwsFault, awsFault } from "../../secrets/aws/fault.ts";
import { AwsSigning, type OutgoingHead, placeOf } from "./aws_signing.ts";
import { revoked } from "../course.ts";
import type { EchoGuard } from "../echo/echo_guard.ts";
import { guardFor } from "./echo_watch.ts";
import type { AdmittedExchange } from "../exchange.ts";
import { type HeaderField, injectCredential, valuesOf } from "../message/fields.ts";
import type { ResponseHead, UpstreamLeg } from "../message/message.ts";
import { SentBody } from "../message/sent_body.ts";
import { fillSegment, setParameter } from "../message/target_credential.ts";
import type { Upload } from "../forward/upload.ts";

/** Statuses by which an upstream refuses a credential, and those by which AWS does. */
const REFUSALS = [401, 403];
const AWS_REFUSALS = [400, 401, 403];

/** See the module. */
export class CredentialUse {
  readonly #exchange: AdmittedExchange;
  /** In use; another one after the upstream has refused it. */
  #credential: Credential | undefined;
  #isReplay = false;
  #signing: AwsSigning | undefined;
  #fault: AwsFault | undefined;
  /** The upstream's clock turned out to be another than was thought. */
  #isClockNews = false;
  /** What was sent of the body, while the request could be sent again with another credential. */
  kept: SentBody | undefined;

  constructor(exchange: AdmittedExchange) {
    this.#exchange = exchange;
  }

  /** The name of the secret that was injected. */
  get secret(): string | undefined {
    return this.#credential?.secret;
  }

  /** What the upstream has against the signature. */
  get fault(): AwsFault | undefined {
    return this.#fault;
  }

  /** True once the request is to be sent with another credential than before. */
  get isReplay(): boolean {
    return this.#isReplay;
  }

  /** @throws ProxyError `credential.unavailable`, `policy.revoked` */
  fetch(): Promise<void> | undefined {
    const { session: { context: { policy } }, secret, target, request, client } = this.#exchange;
    if (!secret) return undefined;
    const found = policy.credential(secret.name, {
      client: client.name,
      host: target.host,
      method: request.head.method,
      path: target.path,
    });
    if (found instanceof Promise) return found.then((credential) => this.#use(credential));
    this.#use(found);
    return undefined;
  }

  #use(credential: Credential | undefined): void {
    if (credential?.version !== this.#exchange.secret?.version) throw revoked();
    this.#credential = credential;
    if (credential?.generation !== undefined) {
      this.kept = new SentBody(this.#exchange.session.context.admission.kept);
    }
  }

  /** The fields with the credential in the place of the client's own. */
  inject(fields: HeaderField[]): HeaderField[] {
    return this.#credential ? injectCredential(fields, this.#credential) : fields;
  }

  /**
   * The request target with the credential in its place.
   *
   * @throws ProxyError `policy.placeholder` when the rule does not say where in the path it goes
   */
  target(originForm: string): string {
    const { segment, parameter } = this.#credential ?? {};
    let target = originForm;
    if (segment !== undefined) {
      this.#checkPlace();
      target = fillSegment(target, segment);
    }
    return parameter ? setParameter(target, parameter) : target;
  }

  /** What the upstream is shown in the handshake. */
  get certificate(): ClientCertificate | undefined {
    return this.#credential?.clientCertificate;
  }

  /** A watch over the next answer, which may hold the credential in use. */
  watch(): EchoGuard | undefined {
    return guardFor(this.#credential, this.#exchange.session.context);
  }

  /** True when {@linkcode target} is a credential: it must be kept out of compression tables. */
  get isInTarget(): boolean {
    const { segment, parameter, aws } = this.#credential ?? {};
    const isPresigned = aws !== undefined && this.#exchange.aws?.signature.form === "query";
    return segment !== undefined || parameter !== undefined || isPresigned;
  }

  /** The rule pins the place: a client that could choose it would have the credential put where the upstream shows it. */
  #checkPlace(): void {
    const { rule, target: { path } } = this.#exchange;
    const isPinned = rule.paths.some((pattern) => hasSegmentPlace(pattern) && matchPath(pattern, path));
    if (isPinned && hasSegmentPlace(path)) return;
    throw new ProxyError(
      "policy.placeholder",
      `Cannot forward the request of ${rule.client} under its rule for ${rule.host}: the secret ` +
        `"${rule.secret}" goes where the path has ${SEGMENT_PLACEHOLDER}, once, as a path of the rule does`,
      { reason: "placeholder" },
    );
  }

  /**
   * The head signed with the credential's keys, after everything else was done to it; undefined for credentials that sign
   * nothing.
   *
   * @throws ProxyError as {@linkcode AwsSigning.sign}
   */
  sign(head: OutgoingHead, upload: Upload): Promise<OutgoingHead> | undefined {
    const keys = this.#credential?.aws;
    if (!keys) return undefined;
    const { aws } = this.#exchange;
    if (!aws) throw revoked(); // it was no such secret when the request was admitted
    this.#signing ??= new AwsSigning(this.#exchange, aws);
    return this.#signing.sign(keys, head, upload);
  }

  /** Takes what an answer says beside the rest: whoever signs has to know the upstream's time. */
  noteAnswer({ fields }: ResponseHead): void {
    this.#fault = undefined;
    if (!this.#credential?.aws) return;
    const { session: { context: { awsClocks, clock } }, target } = this.#exchange;
    const [date] = valuesOf(fields, "age").length > 0 ? [] : valuesOf(fields, "date"); // a cache's is an old one
    this.#isClockNews = awsClocks.learn(placeOf(target), date, clock.now());
  }

  /** The request will not be sent again. */
  drop(): void {
    this.kept?.drop();
  }

  /**
   * Whether the upstream refused the access token, and there is a newer one to send the request with, which is in use
   * from then on. Asked before anything of the response has left for the client.
   */
  async isRefused(leg: UpstreamLeg, response: ResponseHead): Promise<boolean> {
    const { policy, deadlines } = this.#exchange.session.context;
    const { status } = response;
    const refused = this.#credential;
    const isAws = refused?.aws !== undefined;
    // What its file holds by now is for the next request: this one's secret may be replaced under it.
    if (status === 401 && refused?.isFollowed) void policy.rejected(refused, { status });
    if (refused?.generation === undefined || !(isAws ? AWS_REFUSALS : REFUSALS).includes(status)) {
      return false;
    }
    // A 403 means many things: what it says tells a refused token from a refused request.
    const peeked = isAws || status === 403 ? await leg.peekBody(response, deadlines) : "";
    const [errorType] = valuesOf(response.fields, "x-amzn-errortype");
    const bodyStart = isAws && errorType !== undefined ? `<Code>${errorType}</Code>${peeked}` : peeked;
    if (isAws) this.#fault = awsFault({ errorType, bodyStart: peeked });
    if (this.#isReplay) return false;
    const next = this.#fault === "aws-clock" && this.#isClockNews
      ? refused // to be signed once more, by the upstream's time
      : await policy.rejected(refused, { status, bodyStart });
    const { request, upgrade } = this.#exchange;
    const isSent = request.body.isReleased || upgrade !== undefined; // nothing follows an upgrade before its answer
    if (!next || !isSent || !this.kept?.isWhole) return false;
    this.#credential = next;
    this.#isReplay = true;
    return true;
  }
}
