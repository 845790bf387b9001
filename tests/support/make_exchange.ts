/** Requests in memory, as the stages behind `accept/` get them, and what became of them. */
import { Buffer } from "node:buffer";
import type { ProxyError } from "../../core/errors.ts";
import type { ProxyContext } from "../../proxy/context.ts";
import type { Exchange, Session, Tunnel } from "../../proxy/exchange.ts";
import { parseFields } from "../../proxy/http1/head_reader.ts";
import type { HeaderField } from "../../proxy/message/fields.ts";
import type {
  IncomingRequest,
  MessageBody,
  RequestHead,
  ResponseHead,
  WholeAnswer,
} from "../../proxy/message/message.ts";

/** A body of these pieces; an empty one has to be waited for. Behind them it is whole, cut short, or nothing comes. */
export class PiecedBody implements MessageBody {
  readonly closeDelimited = false;
  readonly trailers: readonly HeaderField[] | undefined = undefined;
  readonly #left: Uint8Array[];
  readonly #end: "whole" | "cut" | "hangs";
  /** How often it was waited for, and how many pieces were released. */
  waits = 0;
  releases = 0;

  constructor(pieces: readonly (string | Uint8Array)[], end: "whole" | "cut" | "hangs" = "whole") {
    this.#left = pieces.map((piece) => typeof piece === "string" ? Buffer.from(piece, "latin1") : piece);
    this.#end = end;
  }

  get done(): boolean {
    return this.#left.length === 0 && this.#end === "whole";
  }

  get isReleased(): boolean {
    return this.done;
  }

  takeFirst(): Uint8Array {
    return new Uint8Array(0);
  }

  take(): Uint8Array {
    return this.#left.shift() ?? new Uint8Array(0);
  }

  release(): void {
    this.releases++;
  }

  fill(): Promise<boolean> {
    this.waits++;
    if (this.#left.length > 0) return Promise.resolve(true);
    return this.#end === "hangs" ? new Promise(() => {}) : Promise.resolve(false);
  }
}

/** What a request is, less what it mostly is: GET /a of up.test in a TLS tunnel to it. */
export interface MadeRequest {
  readonly head?: Partial<RequestHead>;
  /** Lines of the head, `Name: value`. */
  readonly lines?: readonly string[];
  readonly body?: MessageBody;
  readonly session?: Partial<Session>;
}

/** An exchange, and what was done with its request. */
export interface MadeExchange {
  readonly exchange: Exchange;
  readonly answers: readonly WholeAnswer[];
  readonly informed: readonly ResponseHead[];
  readonly cuts: readonly unknown[];
  /** How the client was watched: whether more of its body may be read ahead. */
  readonly watches: readonly boolean[];
  /** The client goes away. Nothing where nobody watches. */
  goAway(why?: ProxyError): void;
}

/** Makes one for the client `one` of the context's policy. */
export function makeExchange(context: ProxyContext, made: MadeRequest = {}): MadeExchange {
  const answers: WholeAnswer[] = [];
  const informed: ResponseHead[] = [];
  const cuts: unknown[] = [];
  const watches: boolean[] = [];
  let goAway: (why?: ProxyError) => void = () => {};
  const request: Partial<IncomingRequest> = {
    head: {
      ...{ method: "GET", target: "/a", version: "HTTP/1.1" },
      fields: parseFields(made.lines ?? [], { maxHeaderCount: 100 }, "client.malformed"),
      ...made.head,
    },
    body: made.body ?? new PiecedBody([]),
    watch: (onGone, mayReadAhead = false) => {
      goAway = onGone;
      watches.push(mayReadAhead);
    },
    inform: (head) => Promise.resolve(void informed.push(head)),
    answer: (whole) => Promise.resolve(void answers.push(whole)),
    cut: (why) => void cuts.push(why),
  };
  const [client = { name: "one", version: "1" }] = context.policy.clients();
  const tunnel: Tunnel = { scheme: "https", host: "up.test", port: 443, client };
  const origin = { src: "192.0.2.1:40000", proxyPort: 3128 };
  const state = { source: "192.0.2.1", origin, isIdle: false, isStopping: false, identify: () => true };
  return {
    exchange: {
      session: { tunnel, isTls: true, state, origin, context, ...made.session },
      request: request as IncomingRequest,
      startedAt: context.clock.monotonic(),
    },
    ...{ answers, informed, cuts, watches },
    goAway: (why) => goAway(why),
  };
}
