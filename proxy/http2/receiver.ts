/**
 * What each frame of a peer does: checked against the state of its stream and of the connection, and handed on. Everything
 * that a peer can make us do for nothing has a budget.
 *
 * Not here: bytes that become frames (`frame_loop.ts`), what a header list becomes in a role (`server.ts`, `client.ts`).
 *
 * @module
 */
import { Budget } from "./budget.ts";
import { H2 } from "./error.ts";
import { Fault } from "./fault.ts";
import type { DataSender, ReceiveWindow } from "./flow.ts";
import { checkFrame, contentOf, FLAG, FRAME, type Frame, readUint31, readUint32 } from "./frames.ts";
import { type HeaderBlock, HeaderBlocks } from "./header_blocks.ts";
import type { Output } from "./output.ts";
import { applySettings, type PeerSettings } from "./settings.ts";
import type { StreamCore } from "./stream.ts";
import type { Http2Limits } from "./types.ts";

/** What our PING holds, of which one at most is under way. */
const PING_PAYLOAD = new Uint8Array([0x73, 0x6c, 0x69, 0x63, 0x65, 0x72, 0x70, 0x78]);

/** What a stream that ended in order gives back. */
const RESETS_PER_WHOLE = 0.5;

/** The connection, as its frames change it. */
export interface Receiving {
  readonly limits: Http2Limits;
  readonly isFromServer: boolean;
  readonly streams: ReadonlyMap<number, StreamCore>;
  readonly peer: PeerSettings;
  readonly output: Output;
  readonly sender: DataSender;
  readonly window: ReceiveWindow;
  readonly control: Budget;
  /** Of whoever is behind the peer, over all its connections. */
  readonly peerResets: Budget | undefined;
  /** True for a stream id that nobody has used yet. */
  isIdle(id: number): boolean;
  /** Gives credit of the connection's window. */
  giveCredit(count: number): void;
  /** Resets a stream, which need not be one (any more). */
  cut(id: number, fault: Fault): void;
  /** @throws Fault */
  onHeaders(block: HeaderBlock): void;
  onGoAway(lastId: number, code: number): void;
  onSettings(): void;
  /** The peer has acknowledged ours. */
  onSettingsSeen(): void;
}

/** See the module. */
export class Receiver {
  readonly #to: Receiving;
  readonly #blocks: HeaderBlocks;
  readonly #resets: Budget;
  readonly #resetIds = new Set<number>();
  #hasSettings = false;
  #onPong: (() => void) | undefined;
  #resetsIn = 0;

  constructor(to: Receiving) {
    this.#to = to;
    this.#blocks = new HeaderBlocks(to.limits);
    const { maxHttp2Resets, maxHttp2ClientResets, http2ResetsPerSecond } = to.limits;
    const max = to.isFromServer ? maxHttp2Resets : maxHttp2ClientResets;
    this.#resets = new Budget(max, http2ResetsPerSecond);
  }

  /** Streams that the peer reset. */
  get resetsIn(): number {
    return this.#resetsIn;
  }

  /** Inside a header block, or before the first SETTINGS: more has to come at once. */
  get isExpecting(): boolean {
    return this.#blocks.isOpen || !this.#hasSettings;
  }

  /** @throws Fault for the connection */
  take(frame: Frame): void {
    if (!this.#hasSettings && (frame.type !== FRAME.SETTINGS || (frame.flags & FLAG.ACK) !== 0)) {
      throw new Fault("connection", H2.PROTOCOL_ERROR, "a first frame other than SETTINGS (RFC 9113 §3.4)");
    }
    this.#blocks.admit(frame);
    try {
      checkFrame(frame);
      this.#handle(frame);
    } catch (fault) {
      if (!(fault instanceof Fault) || fault.scope === "connection") throw fault;
      // A peer must not make us reset without end either (CVE-2025-8671, "MadeYouReset").
      this.spendReset();
      this.#to.cut(frame.id, fault);
    }
  }

  /** Calls back when the peer has seen everything up to now. */
  ping(onPong: () => void): void {
    this.#onPong = onPong;
    this.#to.output.frame(FRAME.PING, 0, 0, PING_PAYLOAD);
  }

  /** We have reset it. */
  rememberReset(id: number): void {
    this.#resetIds.add(id);
    if (this.#resetIds.size > this.#to.limits.maxHttp2RememberedResets) {
      for (const oldest of this.#resetIds) {
        this.#resetIds.delete(oldest);
        break;
      }
    }
  }

  /** The stream is none any more, and we have not reset it: what comes for it is an error (RFC 9113 §5.1). */
  checkClosedStream(id: number): void {
    if (this.#to.isIdle(id)) throw new Fault("connection", H2.PROTOCOL_ERROR, "a frame on an idle stream");
    if (!this.#resetIds.has(id)) {
      throw new Fault("connection", H2.STREAM_CLOSED, "a frame on a closed stream");
    }
    this.#spendControl();
  }

  /** A stream has ended in order: who completes much may cancel more. */
  onWhole(): void {
    this.#resets.give(RESETS_PER_WHOLE);
    this.#to.peerResets?.give(RESETS_PER_WHOLE);
  }

  /** @throws Fault for the connection when its budget of resets is used up */
  spendReset(): void {
    this.#to.peerResets?.charge(1);
    if (!this.#resets.take()) {
      throw new Fault("connection", H2.ENHANCE_YOUR_CALM, "streams that are reset without end", true);
    }
  }

  /** @throws Fault */
  #handle(frame: Frame): void {
    switch (frame.type) {
      case FRAME.DATA:
        this.#onData(frame);
        return;
      case FRAME.HEADERS:
      case FRAME.CONTINUATION: {
        const whole = this.#blocks.add(frame);
        if (!whole) return;
        this.#to.control.give(1);
        this.#to.onHeaders(whole);
        return;
      }
      case FRAME.RST_STREAM:
        this.#onReset(frame);
        return;
      case FRAME.WINDOW_UPDATE:
        this.#onWindowUpdate(frame);
        return;
      case FRAME.SETTINGS:
        this.#onSettings(frame);
        return;
      case FRAME.PING:
        this.#onPing(frame);
        return;
      case FRAME.GOAWAY:
        this.#spendControl();
        this.#to.onGoAway(readUint31(frame.payload, 0), readUint32(frame.payload, 4));
        return;
      case FRAME.PUSH_PROMISE:
        throw new Fault("connection", H2.PROTOCOL_ERROR, "a push, which was switched off");
      default: // PRIORITY, which is of no use any more, and types that we do not know (RFC 9113 §5.5).
        this.#spendControl();
    }
  }

  #onData(frame: Frame): void {
    const { flags, id, payload } = frame;
    const { window, control, streams } = this.#to;
    if (!window.take(payload.length)) {
      throw new Fault("connection", H2.FLOW_CONTROL_ERROR, "DATA beyond the connection's window");
    }
    const content = contentOf(frame);
    const end = (flags & FLAG.END_STREAM) !== 0;
    if (content.length > 0) control.give(1);
    else if (!end) this.#spendControl();
    const stream = streams.get(id);
    if (!stream) {
      this.checkClosedStream(id);
      this.#to.giveCredit(payload.length);
      return;
    }
    let kept = 0;
    try {
      stream.receiveData(content, payload.length, end);
      kept = content.length;
    } finally {
      this.#to.giveCredit(payload.length - kept);
    }
  }

  #onReset({ id, payload }: Frame): void {
    this.#resetsIn++;
    if (this.#to.isIdle(id)) throw new Fault("connection", H2.PROTOCOL_ERROR, "a reset of an idle stream");
    // Opening and resetting streams costs a peer less than us (CVE-2023-44487, "rapid reset").
    this.spendReset();
    this.#to.streams.get(id)?.receiveReset(readUint32(payload, 0));
  }

  #onWindowUpdate({ id, payload }: Frame): void {
    this.#spendControl();
    const { streams, sender } = this.#to;
    const increment = readUint31(payload, 0);
    const stream = streams.get(id);
    if (id !== 0 && !stream && this.#to.isIdle(id)) {
      throw new Fault("connection", H2.PROTOCOL_ERROR, "a WINDOW_UPDATE of an idle stream");
    }
    if (increment === 0) {
      const scope = id === 0 || !stream ? "connection" : "stream";
      throw new Fault(scope, H2.PROTOCOL_ERROR, "a WINDOW_UPDATE of nothing (RFC 9113 §6.9)");
    }
    if (id === 0) sender.addWindow(increment);
    else if (stream) sender.addStreamWindow(stream.outgoing, increment);
  }

  #onSettings({ flags, payload }: Frame): void {
    this.#spendControl();
    if ((flags & FLAG.ACK) !== 0) return this.#to.onSettingsSeen();
    const { peer, output, streams, sender, isFromServer } = this.#to;
    const before = peer.initialWindowSize;
    applySettings(peer, payload, isFromServer);
    this.#hasSettings = true;
    output.frame(FRAME.SETTINGS, FLAG.ACK, 0, NOTHING);
    const change = peer.initialWindowSize - before;
    try {
      for (const stream of streams.values()) sender.addStreamWindow(stream.outgoing, change);
    } catch {
      // RFC 9113 §6.9.2: caused by SETTINGS it is an error of the connection.
      throw new Fault("connection", H2.FLOW_CONTROL_ERROR, "SETTINGS that make a window too large");
    }
    this.#to.onSettings();
  }

  #onPing({ flags, payload }: Frame): void {
    if ((flags & FLAG.ACK) === 0) {
      this.#spendControl();
      this.#to.output.frame(FRAME.PING, FLAG.ACK, 0, payload);
      return;
    }
    const onPong = this.#onPong;
    if (!onPong || !PING_PAYLOAD.every((byte, i) => byte === payload[i])) this.#spendControl();
    else {
      this.#onPong = undefined;
      onPong();
    }
  }

  #spendControl(): void {
    if (this.#to.control.take()) return;
    throw new Fault("connection", H2.ENHANCE_YOUR_CALM, "control frames without end", true);
  }
}

const NOTHING = new Uint8Array(0);
