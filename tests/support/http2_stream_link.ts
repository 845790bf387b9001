/** The connection of an HTTP/2 stream as its stream sees it: it writes down what it is told, and takes as much as a test lets it. */
import { Http2Error } from "../../proxy/http2/error.ts";
import { ReceivedField } from "../../proxy/http2/field.ts";
import type { Outgoing } from "../../proxy/http2/flow.ts";
import { HpackDecoder } from "../../proxy/http2/hpack.ts";
import { HeaderBlockWriter } from "../../proxy/http2/hpack_encoder.ts";
import type { StreamLink } from "../../proxy/http2/stream.ts";
import { codeName } from "../wire/http2/frame_text.ts";

/** A header list. */
export function fields(...lines: readonly string[]): ReceivedField[] {
  return lines.map((line) => {
    const at = line.indexOf("=", 1);
    return new ReceivedField(line.slice(0, at), line.slice(at + 1), false);
  });
}

export class WatchedLink implements StreamLink {
  #told: string[] = [];
  readonly #decoder = new HpackDecoder({ maxBytes: 65_536, maxFields: 256 });
  /** What a window may grow by when it is asked to. */
  growth = 0;
  /** The milliseconds that were named when it was asked. */
  readonly grewAfterMs: number[] = [];
  /** While true, what is sent waits for {@linkcode take}. */
  isFull = false;
  #waiting: { readonly out: Outgoing; readonly done: PromiseWithResolvers<void> } | undefined;

  /** What it was told since it was asked last. */
  told(): string[] {
    const told = this.#told;
    this.#told = [];
    return told;
  }

  /** Lets go what waits. */
  take(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (!waiting) throw new TypeError("nothing waits");
    waiting.out.waiting = undefined;
    waiting.done.resolve();
  }

  sendHeaders(id: number, write: (block: HeaderBlockWriter) => void, end: boolean): void {
    const block = new HeaderBlockWriter();
    block.begin();
    write(block);
    const list = this.#decoder.decode(block.bytes) ?? [];
    this.#told.push(
      ["HEADERS", id, ...(end ? ["ES"] : []), ...list.map(({ key, value }) => `${key}=${value}`)].join(" "),
    );
  }

  sendData(out: Outgoing, bytes: Uint8Array, end: boolean): Promise<void> {
    this.#told.push(`DATA ${out.id}${end ? " ES" : ""} ${bytes.length}`);
    if (!this.isFull) return Promise.resolve();
    const done = Promise.withResolvers<void>();
    this.#waiting = { out, done };
    const deadline = { restart: () => {}, stop: () => {} };
    out.waiting = { out, bytes, end, done, deadline, at: 0, movedAt: 0 };
    return done.promise;
  }

  dropData(out: Outgoing, error: Http2Error): void {
    this.#told.push(`drop ${out.id}`);
    out.waiting?.done.reject(error);
    out.waiting = undefined;
    this.#waiting = undefined;
  }

  sendReset(id: number, code: number): void {
    this.#told.push(`RST_STREAM ${id} ${codeName(code)}`);
  }

  sendCredit(id: number, increment: number): void {
    this.#told.push(`WINDOW_UPDATE ${id} ${increment}`);
  }

  growWindow(size: number, ms: number): number {
    this.grewAfterMs.push(ms);
    if (this.growth > 0) this.#told.push(`grow ${size}`);
    return this.growth;
  }

  shrinkWindow(count: number): void {
    this.#told.push(`shrink ${count}`);
  }

  giveCredit(count: number): void {
    if (count !== 0) this.#told.push(`credit ${count}`);
  }

  remove(id: number): void {
    this.#told.push(`remove ${id}`);
  }

  makeError(h2Code: number, what: string, isUnprocessed?: boolean): Http2Error {
    return new Http2Error("upstream.closed", h2Code, `Cannot use the HTTP/2 stream: ${what}`, {
      ...(isUnprocessed === undefined ? {} : { isUnprocessed }),
    });
  }
}
