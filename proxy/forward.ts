/**
 * One admitted request: upstream and back, streaming in both directions at once. Heads lose what is for one hop and gain the
 * credential; bodies pass as they are. A message that ends badly on one side never ends well on the other.
 *
 * Not here: whether it may (`session.ts`), connections (`egress/dialler.ts`, `egress/pool.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import type { Credential } from "../secrets/credential.ts";
import type { AuditRecord } from "../policy/audit_record.ts";
import { type Body, responseBody } from "./http1/body.ts";
import { readBodyStart } from "./http1/body_text.ts";
import { type ByteReader, closeQuietly, writeAll } from "./streams/byte_reader.ts";
import type { ByteStream } from "./streams/byte_reader.ts";
import { refusalOf } from "./error_response.ts";
import { type HeaderField, injectCredential, listOf, makeField, removeHopByHop } from "./message/fields.ts";
import { readResponseHead, type RequestHead, type ResponseHead } from "./http1/head_reader.ts";
import { formatRequestHead, formatResponseHead } from "./http1/head_writer.ts";
import type { Grant } from "./policy_source.ts";
import {
  type AdmittedExchange,
  describeTarget,
  linger,
  type Next,
  refuseExchange,
  wantsClose,
} from "./exchange.ts";
import { isGuarded, isLoneRequest } from "./message/lone_request.ts";
import { SentBody } from "./message/sent_body.ts";
import { splice } from "./streams/splice.ts";
import type { UpstreamConnection } from "./egress/dialler.ts";

/** Forwards, answers and logs. Rejects only on a bug. */
export async function forward(exchange: AdmittedExchange): Promise<Next> {
  return await new Forwarding(exchange).run();
}

/** Methods that may be sent again when a kept connection turns out to be dead (RFC 9110 §9.2.2). */
const REPLAYABLE = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);
/** A body up to this size leaves in one write with its head. */
const COALESCE_BYTES = 65_536;

/**
 * States: before the response head, a failure is answered (`#answered` is 0); after it, the client's connection is cut. `#fail`
 * ends either, whoever calls it: the policy, a deadline, the client's going away, the stop of the proxy.
 */
class Forwarding {
  readonly #exchange: AdmittedExchange;
  readonly #grant: Grant;
  /** Made when a dial begins, which it can end. */
  #cancel: AbortController | undefined;
  readonly #isReplayable: boolean;
  /** Nothing more may be sent on its upstream connection. */
  #isLone: boolean;
  /** In use; another one after the upstream has refused it. */
  #credential: Credential | undefined;
  /** What was sent of the body, while the request could be sent again with another credential. */
  #kept: SentBody | undefined;
  #isReplay = false;
  #connection: UpstreamConnection | undefined;
  #failure: ProxyError | undefined;
  #isOver = false;
  /** The status that the client was given, 0 before. */
  #answered = 0;
  /** The last byte of the response is being written, or was. */
  #isLastWrite = false;
  /** When the head went upstream for the first time, in milliseconds since the request began. */
  #setupMs: number | undefined;
  #sent = 0;
  #received = 0;
  #uploading: "no" | "from-client" | "to-upstream" = "no";

  constructor(exchange: AdmittedExchange) {
    this.#exchange = exchange;
    const { client, rule, secret } = exchange;
    this.#grant = {
      client,
      rule,
      ...(secret ? { credential: { secret: secret.name, version: secret.version } } : {}),
    };
    this.#isReplayable = exchange.body.done && REPLAYABLE.has(exchange.head.method);
    this.#isLone = isLoneRequest({ method: exchange.head.method, hasBody: !exchange.body.done }, rule);
  }

  async run(): Promise<Next> {
    const { session: { context, stream }, body, upgrade } = this.#exchange;
    const release = context.grants.hold(
      this.#grant,
      (why) => this.#fail(why === "shutdown" ? stopping() : revoked()),
    );
    const deadline = context.deadlines.start(this.#responseTimeoutMs, () => this.#onIdle());
    this.#touch = (ms) => deadline.restart(ms);
    if (body.done && !upgrade) this.#watchClient();
    try {
      return await this.#exchangeMessages();
    } catch (error) {
      if (!(error instanceof ProxyError)) context.reportBug(error);
      const failure = this.#failure ?? (error instanceof ProxyError ? error : undefined);
      this.#fail(failure ?? new ProxyError("internal", "Cannot forward the request"));
      if (this.#answered === 0) return await this.#answerFailure(failure ?? error);
      stream.abort();
      this.#log({ reason: refusalOf(failure ?? error).reason });
      return "taken";
    } finally {
      // The upstream connection may serve another request by now: whoever calls `#fail` late must not touch it.
      this.#isOver = true;
      release();
      deadline.stop();
    }
  }

  get #responseTimeoutMs(): number {
    const { rule, session: { context: { limits } } } = this.#exchange;
    return rule.responseTimeoutMs ?? limits.responseTimeoutMs;
  }

  #touch: (ms: number) => void = () => {};

  /** Ends everything that is under way upstream; pending reads and writes reject. Only the first reason counts. */
  #fail(failure: ProxyError): void {
    if (this.#failure || this.#isOver) return;
    this.#failure = failure;
    this.#cancel?.abort(failure);
    closeQuietly(this.#connection?.stream);
    if (this.#answered > 0) this.#exchange.session.stream.abort();
  }

  #onIdle(): void {
    if (this.#uploading === "from-client") {
      this.#fail(
        new ProxyError("client.timeout", "Cannot forward the request: the client stopped sending its body"),
      );
    } else {
      this.#fail(
        new ProxyError("upstream.timeout", "Cannot forward the request: the upstream did not answer in time"),
      );
    }
  }

  /** A client that goes away while it waits costs the upstream (and somebody's token budget) nothing more. */
  #watchClient(): void {
    const { reader } = this.#exchange.session;
    if (reader.size > 0) return;
    const gone = () => {
      // A client may close as soon as it has the last byte, which we may learn before our write resolves.
      if (!this.#isLastWrite && (reader.ended || reader.size === 0)) this.#fail(clientGone());
    };
    reader.fill().then((hasMore) => {
      if (!hasMore) gone();
    }, gone);
  }

  async #answerFailure(failure: unknown): Promise<Next> {
    const { session, target, client } = this.#exchange;
    const refusal = refusalOf(failure);
    if (refusal.reason === "client-closed") {
      this.#log({ reason: refusal.reason });
      session.stream.abort();
      return "taken";
    }
    const known = {
      method: this.#exchange.head.method,
      ...describeTarget(target, session.context),
      client: client.name,
    };
    // A piece of the body whose write failed is still in the reader, and must not be read as a request.
    const exchange = { ...this.#exchange, body: { done: this.#isUploaded } };
    if (refusal.status === 403 || refusal.status === 400) {
      return await refuseExchange(exchange, refusal, known);
    }
    // Policy said yes, the upstream failed: the line says both.
    return await refuseExchange(exchange, refusal, {
      ...known,
      verdict: "allow",
      ...this.#measures(),
    });
  }

  /** True once the whole request body was sent. */
  get #isUploaded(): boolean {
    return this.#exchange.body.done && this.#uploading === "no";
  }

  async #exchangeMessages(): Promise<Next> {
    await this.#fetchCredential();
    let isRetry = false;
    for (;;) {
      const connection = await this.#connect(isRetry);
      try {
        await this.#sendHead(connection);
        const next = await this.#relayResponse(connection);
        if (next !== "replay") return next;
        isRetry = false;
      } catch (error) {
        closeQuietly(connection.stream);
        if (this.#failure) throw this.#failure;
        const isStale = connection.isReused && this.#isReplayable && this.#answered === 0 && !isRetry &&
          (!(error instanceof ProxyError) || error.code === "upstream.closed");
        if (!isStale) throw toUpstreamError(error);
        isRetry = true;
        this.#touch(this.#responseTimeoutMs);
      }
    }
  }

  /** @throws ProxyError `credential.unavailable`, `policy.revoked` */
  async #fetchCredential(): Promise<void> {
    const { session: { context: { policy } }, secret, target, head } = this.#exchange;
    if (!secret) return;
    const found = policy.credential(secret.name, {
      host: target.host,
      method: head.method,
      path: target.path,
    });
    const credential = found instanceof Promise ? await found : found;
    if (this.#failure) throw this.#failure;
    if (credential?.version !== secret.version) throw revoked();
    this.#credential = credential;
    if (credential.generation !== undefined) this.#kept = new SentBody();
  }

  /**
   * Whether the upstream refused the access token, and the request can be sent again with a newer one. Nothing of the
   * response has left for the client yet.
   */
  async #isWorthReplay({ stream, reader }: UpstreamConnection, response: ResponseHead): Promise<boolean> {
    const { session: { context: { policy, limits, deadlines } }, head: { method } } = this.#exchange;
    const { status } = response;
    const refused = this.#credential;
    if (refused?.generation === undefined || this.#isReplay || (status !== 401 && status !== 403)) {
      return false;
    }
    // A 403 means many things: what it says tells a refused token from a refused request.
    const bodyStart = status === 403
      ? await readBodyStart(reader, response, { method, limits, deadlines })
      : "";
    const next = await policy.rejected(refused, { status, bodyStart });
    if (this.#failure) throw this.#failure;
    if (!next || !this.#isUploaded || !this.#kept?.isWhole) return false;
    this.#credential = next;
    this.#isReplay = true;
    closeQuietly(stream);
    return true;
  }

  async #connect(isRetry: boolean): Promise<UpstreamConnection> {
    const { session: { context }, target } = this.#exchange;
    const key = { ...target, grant: this.#grant };
    const pooled = isRetry || this.#isLone ? undefined : context.pool.take(key, this.#isReplayable);
    const connection = pooled ?? await this.#dial();
    this.#connection = connection;
    if (this.#failure) {
      closeQuietly(connection.stream);
      throw this.#failure;
    }
    return connection;
  }

  async #dial(): Promise<UpstreamConnection> {
    const { session: { context }, target, rule, client } = this.#exchange;
    this.#cancel = new AbortController();
    return await context.dialler.dial({ ...target, client, ruleHost: rule.host }, this.#cancel.signal);
  }

  /** The head, with what is here of the body, in one write; then the rest of the body beside the response. */
  async #sendHead({ stream }: UpstreamConnection): Promise<void> {
    const { session: { context, reader }, body, startedAt } = this.#exchange;
    const headBytes = formatRequestHead(this.#upstreamHead());
    const bytes = this.#isReplay && this.#kept
      ? this.#kept.after(headBytes)
      : withBody(headBytes, reader, body, (piece) => this.#onSent(piece));
    // The last moment: nothing is awaited between this check and the write (SPEC section 9.4).
    if (!context.policy.isLive(this.#grant)) throw revoked();
    this.#setupMs ??= context.clock.monotonic() - startedAt;
    await writeAll(stream, bytes);
    if (body.done) {
      if (!this.#exchange.upgrade) this.#watchClient();
      return;
    }
    this.#uploading = "from-client";
    this.#upload(stream).catch((error) => this.#onUploadError(error));
  }

  #upstreamHead(): RequestHead {
    const { head, target, upgrade } = this.#exchange;
    let fields = removeHopByHop(head.fields);
    if (this.#credential) fields = injectCredential(fields, this.#credential);
    if (upgrade) fields = [...fields, makeField("Connection", "Upgrade"), ...upgrade.fields];
    if (this.#isLone && !upgrade) fields = [...fields, makeField("Connection", "close")];
    return { method: head.method, target: target.originForm, version: head.version, fields };
  }

  async #upload(stream: ByteStream): Promise<void> {
    const { session: { reader, context: { limits } }, body } = this.#exchange;
    for (;;) {
      const count = body.take(reader.available);
      if (count > 0) {
        this.#uploading = "to-upstream";
        const piece = reader.available.subarray(0, count);
        await writeAll(stream, piece);
        this.#onSent(piece);
        reader.consume(count);
      }
      if (body.done) break;
      this.#uploading = "from-client";
      this.#touch(limits.bodyIdleTimeoutMs);
      if (count === 0 && !await reader.fill()) throw clientGone();
    }
    this.#uploading = "no";
    this.#touch(this.#responseTimeoutMs);
    if (this.#answered === 0) this.#watchClient();
  }

  #onSent(piece: Uint8Array): void {
    this.#sent += piece.length;
    this.#kept?.add(piece);
  }

  #onUploadError(error: unknown): void {
    // The upstream may have answered early and closed: whoever reads its answer says what it is.
    if (error instanceof ProxyError) this.#fail(error);
    else if (this.#uploading === "from-client") this.#fail(clientGone());
  }

  async #relayResponse(connection: UpstreamConnection): Promise<Next | "replay"> {
    const { session: { context: { limits } }, head, upgrade } = this.#exchange;
    for (let interim = 0;; interim++) {
      const response = await readResponseHead(connection.reader, limits);
      if (response.status < 200) responseBody(response, head.method, limits); // it must not announce one
      if (response.status === 101) {
        if (!upgrade || listOf(response.fields, "upgrade").join() !== upgrade.protocol) {
          throw new ProxyError(
            "upstream.malformed",
            "Cannot use the response: it switches to a protocol not asked for",
          );
        }
        return await this.#switchProtocols(connection, response);
      }
      if (response.status >= 200) return await this.#relayFinal(connection, response);
      if (interim >= limits.maxInterimResponses) {
        throw new ProxyError("upstream.malformed", "Cannot use the response: too many interim responses");
      }
      // RFC 9110 §15.2: an HTTP/1.0 client must not get one.
      if (head.version === "HTTP/1.1") {
        await this.#writeClient(
          formatResponseHead({ ...response, version: "HTTP/1.1", fields: clean(response) }),
        );
      }
    }
  }

  async #relayFinal(connection: UpstreamConnection, response: ResponseHead): Promise<Next | "replay"> {
    const { session, head } = this.#exchange;
    const { limits } = session.context;
    if (response.status === 407) {
      throw new ProxyError(
        "upstream.malformed",
        "Cannot use the response: the upstream answered 407, as only a proxy may",
      );
    }
    const body = responseBody(response, head.method, limits);
    // Who answers before the body is there may not read it at all.
    if (!this.#isUploaded && isGuarded(this.#exchange.rule)) this.#isLone = true;
    if (await this.#isWorthReplay(connection, response)) return "replay";
    // An early answer to an unfinished upload: the rest of it belongs to nobody.
    const close = wantsClose(head) || body.closeDelimited || session.state.isStopping || !this.#isUploaded;
    const fields = clean(response);
    if (close) fields.push(makeField("Connection", "close"));
    const headBytes = formatResponseHead({ ...response, version: "HTTP/1.1", fields });
    // A body that is malformed from its start can still be answered: nothing of the response has left yet.
    const first = withBody(headBytes, connection.reader, body, (piece) => this.#received += piece.length);
    this.#answered = response.status;
    this.#touch(limits.bodyIdleTimeoutMs);
    this.#isLastWrite = body.done;
    await this.#writeClient(first);
    await this.#download(connection.reader, body);
    if (this.#isUploaded) this.#keepUpstream(connection, response, body);
    else closeQuietly(connection.stream);
    this.#log({});
    if (!close) return "keep";
    await linger(session);
    return "close";
  }

  async #download(reader: ByteReader, body: Body): Promise<void> {
    const { limits } = this.#exchange.session.context;
    while (!body.done) {
      const count = body.take(reader.available);
      if (count > 0) {
        this.#isLastWrite = body.done;
        await this.#writeClient(reader.available.subarray(0, count));
        reader.consume(count);
        this.#received += count;
        this.#touch(limits.bodyIdleTimeoutMs);
      } else if (!await reader.fill()) {
        if (body.closeDelimited) return;
        throw new ProxyError(
          "upstream.closed",
          "Cannot complete the response: upstream closed inside its body",
        );
      }
    }
  }

  #keepUpstream(connection: UpstreamConnection, response: ResponseHead, body: Body): void {
    const { session: { context }, head, target } = this.#exchange;
    this.#connection = undefined; // it may carry another request while this one still lingers
    const isPersistent = !this.#isLone && response.version === "HTTP/1.1" && head.version === "HTTP/1.1" &&
      !body.closeDelimited &&
      !listOf(response.fields, "connection").includes("close");
    if (isPersistent) context.pool.put({ ...target, grant: this.#grant }, connection);
    else closeQuietly(connection.stream);
  }

  async #switchProtocols(connection: UpstreamConnection, response: ResponseHead): Promise<Next> {
    const { session: { stream, reader, context } } = this.#exchange;
    const { limits, deadlines, grants } = context;
    const fields = [
      ...clean(response),
      makeField("Connection", "Upgrade"),
      ...response.fields.filter(({ key }) => key === "upgrade"),
    ];
    this.#answered = 101;
    await this.#writeClient(formatResponseHead({ ...response, version: "HTTP/1.1", fields }));
    const joined = splice(stream, connection.stream, {
      deadlines,
      firstToB: reader.takeAll(),
      firstToA: connection.reader.takeAll(),
      idleTimeoutMs: limits.tunnelIdleTimeoutMs,
      afterATimeoutMs: limits.halfCloseTimeoutMs,
      afterBTimeoutMs: limits.halfCloseTimeoutMs,
    });
    this.#touch(Number.MAX_SAFE_INTEGER);
    const release = grants.hold(this.#grant, () => joined.abort());
    await joined.done;
    release();
    this.#sent += joined.bytesToB;
    this.#received += joined.bytesToA;
    const reason = this.#failure
      ? refusalOf(this.#failure).reason
      : joined.timedOut
      ? "idle-timeout" as const
      : undefined;
    this.#log(reason ? { reason } : {});
    return "taken";
  }

  async #writeClient(bytes: Uint8Array): Promise<void> {
    try {
      await writeAll(this.#exchange.session.stream, bytes);
    } catch {
      throw this.#failure ?? clientGone();
    }
  }

  #measures(): Partial<AuditRecord> {
    const { session: { context: { clock } }, startedAt } = this.#exchange;
    return {
      sent: this.#sent,
      received: this.#received,
      durationMs: clock.monotonic() - startedAt,
      setupMs: this.#setupMs,
    };
  }

  #log(more: Partial<AuditRecord>): void {
    const { session: { context, origin }, client, head, target } = this.#exchange;
    context.audit.write({
      verdict: "allow",
      client: client.name,
      method: head.method,
      ...describeTarget(target, context),
      ...(this.#answered > 0 ? { status: this.#answered } : {}),
      ...(this.#credential ? { secret: this.#credential.secret } : {}),
      ...more,
      ...this.#measures(),
      origin,
    });
  }
}

/** The head with as much of the body as is here already. */
function withBody(
  head: Uint8Array,
  reader: ByteReader,
  body: Body,
  onBody: (piece: Uint8Array) => void,
): Uint8Array {
  if (body.done || reader.size === 0 || reader.size > COALESCE_BYTES) return head;
  const count = body.take(reader.available);
  const piece = reader.available.subarray(0, count);
  const bytes = new Uint8Array(head.length + count);
  bytes.set(head);
  bytes.set(piece, head.length);
  onBody(piece);
  reader.consume(count);
  return bytes;
}

/** The response fields for the client: not those of the hop, nor what only this proxy says. */
function clean({ fields }: ResponseHead): HeaderField[] {
  return removeHopByHop(fields).filter(({ key }) => !key.startsWith("x-slicer-proxy-"));
}

function toUpstreamError(error: unknown): unknown {
  if (error instanceof ProxyError || !(error instanceof Error)) return error;
  const isConnectionError = error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.UnexpectedEof || error instanceof Deno.errors.ConnectionAborted ||
    error instanceof Deno.errors.InvalidData || error instanceof Deno.errors.Interrupted ||
    error instanceof Deno.errors.BadResource || error instanceof Deno.errors.TimedOut ||
    error instanceof Deno.errors.NotConnected;
  if (!isConnectionError) return error;
  return new ProxyError("upstream.closed", "Cannot complete the request: the upstream connection broke", {
    cause: error,
  });
}

function clientGone(): ProxyError {
  return new ProxyError("client.closed", "Cannot answer: the client closed the connection");
}

function stopping(): ProxyError {
  return new ProxyError("limit.reached", "Cannot go on: the proxy is stopping", { reason: "shutdown" });
}

function revoked(): ProxyError {
  return new ProxyError(
    "policy.revoked",
    "Cannot go on: the client, rule or secret that admitted this is gone",
    {
      reason: "revoked",
    },
  );
}
