/**
 * A server that speaks as much of PostgreSQL's protocol as a link needs, keeps what it hears, and answers as a test says: one
 * column of text, `it`. What a real one would make of a question is for the tests with a server.
 *
 * @module
 */
import { closeQuietly } from "../../../../proxy/streams/byte_reader.ts";

/** How a question is answered: with these rows, with an error of that SQLSTATE, or never. */
export type WireAnswer = readonly string[] | { readonly code: string } | "nothing";

const TEXT = new TextEncoder();
const TEXT_TYPE = 25;

/** See the module. */
export class WireServer implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open: Deno.Conn[] = [];
  readonly #work: Promise<void>[] = [];
  readonly #answer: (question: string) => WireAnswer;
  readonly #staysOpen: boolean;
  readonly #status: Readonly<Record<string, string>>;
  /** What came: a question as it was parsed, `max N` for each part of an answer that was asked for, and `bye`. */
  readonly heard: string[] = [];
  /** The names and values that each connection began with. */
  readonly startups: string[] = [];
  /** Connections that have ended. */
  ended = 0;

  /** With `staysOpen` it waits for the other end to close, even after a goodbye. */
  constructor(
    answer: (question: string) => WireAnswer = () => [],
    { isStandby = false, staysOpen = false } = {},
  ) {
    this.#answer = answer;
    this.#staysOpen = staysOpen;
    this.#status = { in_hot_standby: isStandby ? "on" : "off", default_transaction_read_only: "off" };
    this.#work.push(this.#accept());
  }

  get address(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  /** Tells all that listen. */
  async notify(channel: string, payload: string): Promise<void> {
    const said = message("A", int32(1), text(channel), text(payload));
    for (const conn of this.#open) await writeAll(conn, said);
  }

  async #accept(): Promise<void> {
    for (;;) {
      const conn = await this.#listener.accept().catch(() => undefined); // it is closed
      if (!conn) return;
      this.#open.push(conn);
      this.#work.push(this.#serve(conn).catch(() => {}).finally(() => this.ended++)); // it has gone
    }
  }

  async #serve(conn: Deno.Conn): Promise<void> {
    let startup = true;
    let left = new Uint8Array();
    let session = { question: "", sent: 0, hasFailed: false };
    const buffer = new Uint8Array(65_536);
    for (;;) {
      const count = await conn.read(buffer);
      if (count === null) return;
      left = Uint8Array.of(...left, ...buffer.subarray(0, count));
      for (;;) {
        const head = startup ? 0 : 1;
        if (left.length < head + 4) break;
        const length = head + new DataView(left.buffer).getUint32(head);
        if (left.length < length) break;
        const [kind, body] = [startup ? "" : String.fromCharCode(left[0] ?? 0), left.slice(head + 4, length)];
        left = left.slice(length);
        if (startup) {
          startup = false;
          this.startups.push(new TextDecoder().decode(body.subarray(4)).replaceAll("\0", " ").trim());
          await writeAll(conn, this.#welcome());
        } else session = await this.#take(conn, session, { kind, body });
      }
    }
  }

  #welcome(): Uint8Array {
    const status = Object.entries(this.#status).map(([name, value]) => message("S", text(name), text(value)));
    return joined([message("R", int32(0)), ...status, READY]);
  }

  async #take(
    conn: Deno.Conn,
    session: { question: string; sent: number; hasFailed: boolean },
    { kind, body }: { readonly kind: string; readonly body: Uint8Array },
  ): Promise<typeof session> {
    const say = (...parts: Uint8Array[]) => writeAll(conn, joined(parts));
    const [name = "", sql = ""] = new TextDecoder().decode(body).split("\0");
    if (kind === "X") {
      this.heard.push("bye");
      if (!this.#staysOpen) closeQuietly(conn);
    }
    if (kind === "S") {
      await say(READY);
      return { ...session, hasFailed: false };
    }
    if (kind === "Q") await this.#answerSimply(name, say);
    if (session.hasFailed) return session;
    if (kind === "P") {
      this.heard.push(`${name === "" ? "" : "named "}${sql}`);
      await say(message("1"));
      return { ...session, question: sql };
    }
    if (kind === "D") {
      const parameters = new Set(session.question.match(/\$\d/g)).size;
      await say(
        message("t", int16(parameters), ...Array<Uint8Array>(parameters).fill(int32(TEXT_TYPE))),
        COLUMN,
      );
    }
    if (kind === "B") {
      await say(message("2"));
      return { ...session, sent: 0 };
    }
    return kind === "E" ? await this.#execute(session, body, say) : session;
  }

  async #execute(
    session: { question: string; sent: number; hasFailed: boolean },
    body: Uint8Array,
    say: (...parts: Uint8Array[]) => Promise<void>,
  ): Promise<typeof session> {
    const most = new DataView(body.buffer).getUint32(1);
    if (most > 0) this.heard.push(`max ${most}`);
    const answer = this.#answer(session.question);
    if (answer === "nothing") return session;
    if ("code" in answer) {
      await say(refusal(answer.code));
      return { ...session, hasFailed: true };
    }
    const part = answer.slice(session.sent, most > 0 ? session.sent + most : undefined);
    const isCut = most > 0 && part.length === most;
    await say(...part.map(row), isCut ? message("s") : message("C", text(`SELECT ${part.length}`)));
    return { ...session, sent: session.sent + part.length };
  }

  /** A question without parameters, which is parsed and answered in one go. */
  async #answerSimply(question: string, say: (...parts: Uint8Array[]) => Promise<void>): Promise<void> {
    this.heard.push(question);
    const answer = this.#answer(question);
    if (answer === "nothing") return;
    if ("code" in answer) await say(refusal(answer.code), READY);
    else await say(COLUMN, ...answer.map(row), message("C", text(`SELECT ${answer.length}`)), READY);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const conn of this.#open) closeQuietly(conn);
    await Promise.all(this.#work);
  }
}

function int16(number: number): Uint8Array {
  return Uint8Array.of((number >> 8) & 0xff, number & 0xff);
}

function int32(number: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, number);
  return bytes;
}

function text(value: string): Uint8Array {
  return TEXT.encode(`${value}\0`);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function message(kind: string, ...parts: Uint8Array[]): Uint8Array {
  const body = joined(parts);
  return joined([TEXT.encode(kind), int32(4 + body.length), body]);
}

const READY = message("Z", TEXT.encode("I"));
const COLUMN = message(
  "T",
  ...[int16(1), text("it"), int32(0), int16(0), int32(TEXT_TYPE), int16(-1), int32(-1), int16(0)],
);

function row(value: string): Uint8Array {
  const bytes = TEXT.encode(value);
  return message("D", int16(1), int32(bytes.length), bytes);
}

function refusal(code: string): Uint8Array {
  return message("E", text("SERROR"), text(`C${code}`), text("Msaid so"), text(""));
}

async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}
