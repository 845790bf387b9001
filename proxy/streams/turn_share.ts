/**
 * How much a thread passes on in one turn of its event loop. A read or write that need not wait is over at once, and the
 * loop around it goes on without giving anybody else a turn: one download from a quick server to a quick client took up to 36
 * reads and 9 MiB in a turn (measured), and a request beside it needs several turns.
 *
 * Not here: HTTP/2, whose connections share turns by themselves (`http2/frame_loop.ts`, each client's `Turns`).
 *
 * @module
 */
import { Turns } from "../../core/turns.ts";

/** A millisecond's work or less: the copies of it through TLS. Larger, and others wait; smaller, and turns cost more than bytes. */
const MOST_BYTES = 524_288;
/**
 * What a request counts that was here before the one in front of it had its answer: eight of them in a turn. Of small ones
 * thousands fit in one read, and made turns of 0.2 s (measured).
 */
export const PIPELINED_REQUEST_BYTES = MOST_BYTES / 8;
/** Smaller pieces cost no time to speak of, and most requests have no larger ones. */
const LEAST_PIECE_BYTES = 8_192;

const turns = new Turns(MOST_BYTES);

/**
 * Asks for the next piece's turn.
 *
 * @param bytes of the piece before it, which it will be like
 * @returns what to wait for; undefined when there is room in this turn
 */
export function turnAfter(bytes: number): Promise<void> | undefined {
  return bytes < LEAST_PIECE_BYTES ? undefined : turns.after(bytes);
}
