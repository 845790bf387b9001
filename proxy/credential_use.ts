/**
 * The credential of one request: fetched, put in the place of the client's own, and once more with a newer one when the
 * upstream has refused the first.
 *
 * Not here: what a credential is (`secrets/`), which request may have it (`admit.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { matchPath } from "../policy/path.ts";
import { hasSegmentPlace, SEGMENT_PLACEHOLDER } from "../policy/placeholder.ts";
import type { Credential } from "../secrets/credential.ts";
import { injectedForms } from "../secrets/injected_forms.ts";
import { revoked } from "./course.ts";
import type { AdmittedExchange } from "./exchange.ts";
import { type HeaderField, injectCredential } from "./message/fields.ts";
import type { ResponseHead, UpstreamLeg } from "./message/message.ts";
import { SentBody } from "./message/sent_body.ts";
import { fillSegment, setParameter } from "./message/target_credential.ts";

/** See the module. */
export class CredentialUse {
  readonly #exchange: AdmittedExchange;
  /** In use; another one after the upstream has refused it. */
  #credential: Credential | undefined;
  #isReplay = false;
  /** What was sent of the body, while the request could be sent again with another credential. */
  kept: SentBody | undefined;

  constructor(exchange: AdmittedExchange) {
    this.#exchange = exchange;
  }

  /** The name of the secret that was injected. */
  get secret(): string | undefined {
    return this.#credential?.secret;
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

  /** Every text by which the credential would be known again in an answer. */
  get injected(): readonly string[] {
    return this.#credential ? injectedForms(this.#credential) : [];
  }

  /** True when {@linkcode target} is a credential: it must be kept out of compression tables. */
  get isInTarget(): boolean {
    return this.#credential?.segment !== undefined || this.#credential?.parameter !== undefined;
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
    if (refused?.generation === undefined || this.#isReplay) return false;
    // A 403 means many things: what it says tells a refused token from a refused request.
    const bodyStart = status === 403 ? await leg.peekBody(response, deadlines) : "";
    const next = await policy.rejected(refused, { status, bodyStart });
    const { request, upgrade } = this.#exchange;
    const isSent = request.body.isReleased || upgrade !== undefined; // nothing follows an upgrade before its answer
    if (!next || !isSent || !this.kept?.isWhole) return false;
    this.#credential = next;
    this.#isReplay = true;
    return true;
  }
}
