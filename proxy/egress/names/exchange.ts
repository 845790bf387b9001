/**
 * What all ways to a name server have in common: a question goes out under an id of its own, bytes come back, and whoever
 * asked says whether they are the answer.
 *
 * Not here: the ways (`datagram.ts`, `stream_links.ts`, `http2_link.ts`).
 *
 * @module
 */
import { formatDnsQuery } from "../../../core/dns_message.ts";
import { answersQuestion, type DnsQuestion } from "../../../core/dns_response.ts";

/** A question on its way. */
export interface Exchange {
  readonly query: Uint8Array;
  /** Whether these bytes answer it: the id, the question section, and that it is an answer at all. */
  readonly isAnswer: (bytes: Uint8Array) => boolean;
}

/** A way to a name server. */
export interface Way extends Disposable {
  /**
   * Sends a question and waits for its answer.
   *
   * @returns bytes for which `isAnswer` holds
   * @throws FailedLookup, or the signal's reason
   */
  ask(exchange: Exchange, signal: AbortSignal): Promise<Uint8Array>;
  /** Connections that are open now get no further question: they may be dead, and nobody would be told. */
  leave(): void;
}

/** @param id 16 bits; random ones, that nobody off the path can guess, where the way is open to anybody's datagrams */
export function makeExchange(question: DnsQuestion, id = randomId()): Exchange {
  return {
    query: formatDnsQuery({ id, ...question }),
    isAnswer: (bytes) => answersQuestion(bytes, id, question),
  };
}

function randomId(): number {
  return crypto.getRandomValues(new Uint16Array(1))[0] ?? 0;
}
