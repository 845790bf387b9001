/**
 * One admitted request: upstream and back, streaming in both directions at once. This drives; each step is a file of its own:
 * the credential (`inject/credential_use.ts`), the connection (`upstream_leg.ts`), the body (`upload.ts`), the answer (`relay.ts`).
 *
 * Not here: whether it may (`decide/admit.ts`), bytes (`http1/`).
 *
 * @module
 */
import type { Deadline } from "../../core/deadlines.ts";
import { ProxyError } from "../../core/errors.ts";
import { type AuditRecord, boundRecord, type RecordedTokens } from "../../policy/audit_record.ts";
import { clientGone, type Course, revoked, stopping, toUpstreamError } from "../course.ts";
import type { OutgoingHead } from "../inject/aws_signing.ts";
import { CredentialUse } from "../inject/credential_use.ts";
import { answeredReadably, withPlainMessages } from "../message/readable_answer.ts";
import { refusalOf } from "../error_response.ts";
import {
  type AdmittedExchange,
  describeTarget,
  type Draft,
  refuseExchange,
  responseTimeoutOf,
} from "../exchange.ts";
import { isGuarded, isLoneRequest } from "./lone_request.ts";
import { type HeaderField, makeField, removeHopByHop } from "../message/fields.ts";
import type { RequestHead, UpstreamLeg } from "../message/message.ts";
import { authorityOf } from "../message/target.ts";
import { Relay } from "./relay.ts";
import { type TokenWatch, tokenWatch } from "./token_watch.ts";
import { findPlaceholder, unreplaced } from "../inject/unreplaced.ts";
import { upgrade } from "./upgrade.ts";
import { Upload } from "./upload.ts";
import { dialLeg, takeLeg } from "./upstream_leg.ts";

/** Forwards, answers and logs. Rejects only on a bug. */
export function forward(exchange: AdmittedExchange): Promise<void> {
  return new Forwarding(exchange).run();
}

/** Methods that may be sent again when a kept connection turns out to be dead (RFC 9110 §9.2.2). */
const REPLAYABLE = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

/**
 * Before the head of the answer, a failure is answered; after it, the client's connection is cut. `fail` ends either, whoever
 * calls it: the policy, a deadline, the client's going away, the stop of the proxy.
 */
class Forwarding implements Course {
  readonly #exchange: AdmittedExchange;
  readonly #isReplayable: boolean;
  /** Nothing more may be sent on its upstream connection. */
  readonly #isLone: boolean;
  readonly #credential: CredentialUse;
  readonly #upload: Upload;
  readonly #tokenWatch: TokenWatch | undefined;
  #tokens: RecordedTokens | undefined;
  readonly #relay: Relay;
  /** Made when a dial begins, which it can end. */
  #cancel: AbortController | undefined;
  #leg: UpstreamLeg | undefined;
  /** What the upstream gets. The target may hold a credential: it goes nowhere else. */
  #fields: readonly HeaderField[] = [];
  #target = "";
  #failure: ProxyError | undefined;
  /** The upstream takes it over HTTP/1.1 only (RFC 9113 §7), which the client is told: only it can send it so. */
  #isMisplaced = false;
  #isOver = false;
  #isWatching = false;
  /** Not a function of its own for each request: V8 let none of them die young, nor what they reach. */
  #deadline: Deadline | undefined;
  #opened: number | undefined;
  /** When the head went upstream for the first time, in milliseconds since the request began. */
  #setupMs: number | undefined;
  /** After a change of protocol. */
  #upgraded = { sent: 0, received: 0 };

  constructor(exchange: AdmittedExchange) {
    const { request: { head, body }, rule } = exchange;
    this.#exchange = exchange;
    this.#isReplayable = body.done && REPLAYABLE.has(head.method);
    this.#isLone = isLoneRequest({ method: head.method, hasBody: !body.done }, rule);
    this.#credential = new CredentialUse(exchange);
    this.#upload = new Upload(exchange, this);
    this.#tokenWatch = tokenWatch(exchange);
    this.#relay = new Relay(exchange, this, { credential: this.#credential, tokens: this.#tokenWatch });
  }

  get failure(): ProxyError | undefined {
    return this.#failure;
  }

  touch(ms: number): void {
    this.#deadline?.restart(ms);
  }

  fail(failure: ProxyError): void {
    if (this.#failure || this.#isOver) return;
    this.#failure = failure;
    this.#cancel?.abort(failure);
    this.#leg?.close();
    if (this.#relay.status > 0) this.#exchange.request.cut(failure);
  }

  async run(): Promise<void> {
    const { session: { context }, grant } = this.#exchange;
    let release: (() => void) | undefined;
    try {
      release = context.grants.hold(
        grant,
        (why) => this.fail(why === "shutdown" ? stopping() : revoked()),
      );
      this.#begin();
      const more = await this.#exchangeMessages();
      if (this.#tokenWatch) await this.#countTokens(this.#tokenWatch, true);
      this.#log(more);
    } catch (error) {
      if (!(error instanceof ProxyError)) context.reportBug(error);
      const failure = this.#failure ?? (error instanceof ProxyError ? error : undefined);
      this.fail(failure ?? new ProxyError("internal", "Cannot forward the request"));
      if (this.#tokenWatch) await this.#countTokens(this.#tokenWatch, false);
      await this.#end(failure ?? error);
    } finally {
      // The upstream connection may serve another request by now: whoever calls `fail` late must not touch it.
      this.#isOver = true;
      this.#credential.drop();
      this.#upload.drop();
      this.#relay.guard?.drop();
      release?.();
      this.#deadline?.stop();
      this.#deadline = undefined; // an upload whose rest nobody wants may have a last piece under way
    }
  }

  #begin(): void {
    const { session: { context }, request, upgrade, meter } = this.#exchange;
    meter?.watch((failure) => this.fail(failure));
    this.#deadline = context.deadlines.start(responseTimeoutOf(this.#exchange), () => this.#onIdle());
    // A stream says when it is gone, though the upstream takes nothing of its body; a connection of HTTP/1 has to be read
    // for that, and one that is to be upgraded may have bytes for the upstream already.
    if (request.head.version === "HTTP/2" || (request.body.done && !upgrade)) this.#watchClient();
    this.#opened = context.audit.begin?.(this.#asked());
  }

  async #countTokens(watch: TokenWatch, isWhole: boolean): Promise<void> {
    const { status } = this.#relay;
    const { sent = 0, received = 0 } = this.#measures();
    this.#tokens = await watch.end({ status, isWhole, sent, received });
  }

  #onIdle(): void {
    this.fail(
      this.#upload.waitsForClient
        ? new ProxyError("client.timeout", "Cannot forward the request: the client stopped sending its body")
        : new ProxyError(
          "upstream.timeout",
          "Cannot forward the request: the upstream did not answer in time",
        ),
    );
  }

  /** A client that goes away while it waits costs the upstream (and somebody's token budget) nothing more. */
  #watchClient(): void {
    this.#isWatching = true;
    this.#exchange.request.watch((why) => this.fail(why ?? clientGone()));
  }

  /** After a failure: answers it while that can be done, else cuts what was begun. */
  async #end(failure: unknown): Promise<void> {
    const { session: { context }, request, target, client } = this.#exchange;
    const refusal = refusalOf(failure);
    if (this.#relay.status > 0 || this.#isMisplaced || refusal.reason === "client-closed") {
      request.cut(failure);
      this.#log({ reason: this.#isMisplaced ? "protocol-mismatch" : refusal.reason });
      return;
    }
    const known = { method: request.head.method, ...describeTarget(target, context), client: client.name };
    const isOurs = refusal.status === 403 || refusal.status === 400;
    // Where policy said yes and the upstream failed, the line says both.
    const echoed = this.#relay.echoed === 0 ? {} : { echoed: this.#relay.echoed };
    const both = { ...known, verdict: "allow", ...echoed, ...this.#measures() } as const;
    await refuseExchange(this.#exchange, refusal, isOurs ? { ...known, opened: this.#opened } : both);
  }

  /** @returns what the audit line says beside the usual */
  async #exchangeMessages(): Promise<Partial<AuditRecord> | undefined> {
    const fetched = this.#credential.fetch();
    if (fetched) await fetched;
    if (this.#failure) throw this.#failure;
    this.#upload.kept = this.#credential.kept;
    const prepared = this.#prepareHead();
    if (prepared) await prepared;
    let isRetry = false;
    for (;;) {
      const leg = this.#pooledLeg(isRetry) ?? await this.#dialLeg();
      try {
        this.#leg = leg;
        if (this.#failure) throw this.#failure;
        await this.#send(leg);
        this.#followUp(leg);
        const relayed = await this.#relay.run(leg);
        if (relayed === "whole") {
          this.#letGo(leg);
          return undefined;
        }
        if (relayed !== "refused") return await this.#switch(leg, relayed.switched);
        leg.close();
        await this.#prepareHead();
        isRetry = false;
      } catch (error) {
        leg.close();
        if (this.#failure) throw this.#failure;
        const maySendAgain = this.#maySendAgain(leg, error);
        if (isRetry || !maySendAgain) {
          throw toUpstreamError(error, this.#exchange.target.host);
        }
        isRetry = true;
        this.touch(responseTimeoutOf(this.#exchange));
      }
    }
  }

  /** RFC 9110 §9.2.2, RFC 9113 §8.7. */
  #maySendAgain(leg: UpstreamLeg, error: unknown): boolean {
    const { session: { context: { protocols } }, target } = this.#exchange;
    const fate = leg.fateAfter(error);
    if (fate === "misplaced") {
      protocols?.forget(target);
      this.#isMisplaced = true;
    }
    if (this.#relay.status > 0) return false;
    return fate === "unknown" ? this.#isReplayable : fate === "unseen" && !this.#upload.hasBegun;
  }

  #pooledLeg(isRetry: boolean): UpstreamLeg | undefined {
    return isRetry || this.#isLone ? undefined : takeLeg(this.#exchange, this.#isReplayable);
  }

  #dialLeg(): Promise<UpstreamLeg> {
    this.#cancel = new AbortController();
    return dialLeg(this.#exchange, this.#cancel.signal, this.#credential.certificate);
  }

  /** The head, with what is here of the body, in one write. */
  #send(leg: UpstreamLeg): Promise<void> {
    const { request: { body } } = this.#exchange;
    const kept = this.#credential.isReplay ? this.#credential.kept : undefined;
    const first = kept ? kept.join() : this.#upload.first();
    return leg.send(() => this.#upstreamHead(), first, body.done && body.trailers === undefined);
  }

  /** The rest of the body goes beside the response. */
  #followUp(leg: UpstreamLeg): void {
    const { request: { body }, upgrade } = this.#exchange;
    if (upgrade && !body.done) return; // what follows waits for the answer
    if (!body.done) {
      this.#upload.start(leg, () => {
        // Over, the connection is the next request's to watch.
        if (this.#relay.status === 0 && !this.#isOver) this.#watchClient();
      });
      return;
    }
    leg.end(body.trailers);
    if (!upgrade && !this.#isWatching) this.#watchClient();
  }

  /** What goes upstream, at the last moment: the check and the write are one turn (SPEC section 9.4). */
  #upstreamHead(): RequestHead {
    const { request: { head }, grant, session: { context }, startedAt } = this.#exchange;
    if (!context.policy.isLive(grant)) throw revoked();
    this.#setupMs ??= context.clock.monotonic() - startedAt;
    const { isInTarget: isTargetSensitive } = this.#credential;
    return { ...head, target: this.#target, fields: this.#fields, isTargetSensitive };
  }

  /** The head as it will be sent. @throws ProxyError `policy.placeholder`, and what signing throws */
  #prepareHead(): Promise<void> | undefined {
    const { target: { originForm } } = this.#exchange;
    const head = { fields: this.#upstreamFields(), target: this.#credential.target(originForm) };
    const signing = this.#credential.sign(head, this.#upload);
    if (signing) return this.#signed(signing).then((signed) => this.#setHead(signed));
    this.#setHead(head);
    return undefined;
  }

  #setHead({ fields, target }: OutgoingHead): void {
    const { rule } = this.#exchange;
    const place = findPlaceholder({ fields, target });
    if (place !== undefined) throw unreplaced(place, rule);
    this.#fields = fields;
    this.#target = target;
  }

  /** Who waits for a body to be signed hears of a failure at once. */
  async #signed(signing: Promise<OutgoingHead>): Promise<OutgoingHead> {
    const { signal } = (this.#cancel = new AbortController());
    const failed = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    const signed = await Promise.race([signing, failed]);
    if (this.#failure) throw this.#failure;
    return signed;
  }

  /** The client's fields less those of the hop, with the credential in use. */
  #upstreamFields(): HeaderField[] {
    const { request: { head }, target, upgrade } = this.#exchange;
    const own = this.#credential.inject(removeHopByHop(head));
    const fields = this.#exchange.secret
      ? answeredReadably(own)
      : this.#tokenWatch
      ? withPlainMessages(own)
      : own;
    if (head.version === "HTTP/2") return fields;
    // Only HTTP/1.0 may lack it: without one the upstream could pick a site that no rule was asked about.
    if (!fields.some(({ key }) => key === "host")) fields.unshift(makeField("Host", authorityOf(target)));
    if (upgrade) fields.push(makeField("Connection", "Upgrade"), ...upgrade.fields);
    if (this.#isLone && !upgrade) fields.push(makeField("Connection", "close"));
    return fields;
  }

  #letGo(leg: UpstreamLeg): void {
    this.#leg = undefined; // it may carry another request soon
    const { request: { body }, rule } = this.#exchange;
    // Who answers before the body is there may not read it at all.
    const isLast = this.#isLone || this.#relay.wasEarly && isGuarded(rule);
    if (body.isReleased && !isLast) leg.release();
    else leg.close();
  }

  async #switch(
    leg: UpstreamLeg,
    head: Parameters<typeof upgrade>[1]["head"],
  ): Promise<Partial<AuditRecord>> {
    const passed = await upgrade(this.#exchange, { leg, head, course: this, guard: this.#relay.guard });
    leg.close(); // over already; a stream gives its place back
    this.#upgraded = passed;
    const reason = this.#failure
      ? refusalOf(this.#failure).reason
      : passed.timedOut
      ? "idle-timeout" as const
      : undefined;
    return reason ? { reason } : {};
  }

  /** What is known when it begins. Its path may be long, and is not. */
  #asked(): AuditRecord {
    const { session: { origin }, client, request: { head }, target, secret } = this.#exchange;
    const { scheme, host, port } = target;
    const asked = { client: client.name, method: head.method, scheme, host, port, secret: secret?.name };
    return boundRecord({ verdict: "allow", ...asked, origin });
  }

  #measures(): Draft<Partial<AuditRecord>> {
    const { session: { context: { clock } }, startedAt } = this.#exchange;
    const measures: Draft<Partial<AuditRecord>> = {
      sent: this.#upload.sent + this.#upgraded.sent,
      received: this.#relay.received + this.#upgraded.received,
      durationMs: clock.monotonic() - startedAt,
      setupMs: this.#setupMs,
    };
    if (this.#tokens) measures.tokens = this.#tokens;
    if (this.#opened !== undefined) measures.opened = this.#opened;
    return measures;
  }

  #log(more: Partial<AuditRecord> | undefined): void {
    const { session: { context, origin }, client, request: { head }, target } = this.#exchange;
    const { status, grpcStatus, echoed } = this.#relay;
    const { secret, fault } = this.#credential;
    const record: Draft<AuditRecord> = {
      ...describeTarget(target, context),
      verdict: "allow",
      client: client.name,
      method: head.method,
      origin,
    };
    if (head.version === "HTTP/2") record.proto = "h2";
    if (status > 0) record.status = status;
    if (grpcStatus !== undefined) record.grpcStatus = grpcStatus;
    if (secret !== undefined) record.secret = secret;
    if (secret !== undefined && target.scheme === "http") record.cleartext = true;
    if (fault !== undefined) record.reason = fault;
    if (echoed > 0) record.echoed = echoed;
    context.audit.write(Object.assign(record, this.#measures(), more));
  }
}
