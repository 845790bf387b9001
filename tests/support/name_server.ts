/** A name server on a free port of 127.0.0.1, UDP and TCP, whose answers a test writes; and messages to answer with. */
import { closeQuietly } from "../../proxy/streams/byte_reader.ts";

export const TYPE = { A: 1, CNAME: 5, SOA: 6, MX: 15, TXT: 16, AAAA: 28, SRV: 33 } as const;

/** A record of a message. `name` and names in `data` are written without compression. */
export interface TestRecord {
  readonly name: string;
  readonly type: number;
  readonly ttl?: number;
  readonly data: Uint8Array;
}

/** A question that came. */
export interface Asked {
  readonly bytes: Uint8Array;
  readonly name: string;
  readonly type: number;
  readonly transport: "udp" | "tcp";
  /** The port it came from. */
  readonly from: number;
}

/** What is sent back: nothing, a message, or several. */
export type TestAnswer = Uint8Array | readonly Uint8Array[] | undefined;

export interface TestNameServer extends AsyncDisposable {
  readonly port: number;
  /** All that was asked, in order. */
  readonly asked: Asked[];
  /** Connections over TCP so far. */
  readonly connections: number;
  /** Closes those that are open. */
  closeConnections(): void;
}

/** Starts one that answers by `answer`; what that returns may come later. */
export function startNameServer(
  answer: (asked: Asked) => TestAnswer | Promise<TestAnswer>,
): TestNameServer {
  const tcp = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = tcp.addr as Deno.NetAddr;
  const udp = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port });
  const asked: Asked[] = [];
  const open = new Set<Deno.TcpConn>();
  const work: Promise<void>[] = [];
  let connections = 0;
  const read = (bytes: Uint8Array, transport: Asked["transport"], from: number): Asked => {
    const { name, next } = questionName(bytes);
    const each = { bytes, name, type: (bytes[next] ?? 0) * 256 + (bytes[next + 1] ?? 0), transport, from };
    asked.push(each);
    return each;
  };
  work.push((async () => {
    for await (const [bytes, from] of udp) {
      const question = read(bytes.slice(), "udp", (from as Deno.NetAddr).port);
      work.push((async () => {
        for (const message of listOf(await answer(question))) await udp.send(message, from).catch(() => {});
      })());
    }
  })());
  work.push((async () => {
    for await (const conn of tcp) {
      connections++;
      open.add(conn);
      work.push(serve(conn, (bytes) => answer(read(bytes, "tcp", (conn.remoteAddr as Deno.NetAddr).port))));
    }
  })());
  return {
    port,
    asked,
    get connections() {
      return connections;
    },
    closeConnections: () => {
      for (const conn of open) closeQuietly(conn);
    },
    [Symbol.asyncDispose]: async () => {
      udp.close();
      tcp.close();
      for (const conn of open) closeQuietly(conn);
      await Promise.allSettled(work);
    },
  };
}

async function serve(
  conn: Deno.TcpConn,
  answer: (bytes: Uint8Array) => TestAnswer | Promise<TestAnswer>,
): Promise<void> {
  let buffer = new Uint8Array(0);
  const into = new Uint8Array(4_096);
  try {
    for (;;) {
      const count = await conn.read(into);
      if (count === null) return;
      buffer = Uint8Array.from([...buffer, ...into.subarray(0, count)]);
      while (buffer.length >= 2 && buffer.length >= 2 + (buffer[0] ?? 0) * 256 + (buffer[1] ?? 0)) {
        const end = 2 + (buffer[0] ?? 0) * 256 + (buffer[1] ?? 0);
        const message = buffer.slice(2, end);
        buffer = buffer.slice(end);
        for (const each of listOf(await answer(message))) {
          await conn.write(Uint8Array.from([each.length >> 8, each.length & 0xff, ...each]));
        }
      }
    }
  } catch {
    // The test has closed it, or the client has.
  } finally {
    closeQuietly(conn);
  }
}

function listOf(answer: TestAnswer): readonly Uint8Array[] {
  return answer === undefined ? [] : answer instanceof Uint8Array ? [answer] : answer;
}

function questionName(bytes: Uint8Array): { readonly name: string; readonly next: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = bytes[at] ?? 0; length > 0; length = bytes[at] ?? 0) {
    labels.push(String.fromCharCode(...bytes.subarray(at + 1, at + 1 + length)));
    at += 1 + length;
  }
  return { name: labels.join("."), next: at + 1 };
}

/** The answer to a question, with these records. */
export function reply(
  { bytes }: Pick<Asked, "bytes">,
  { answers = [], authority = [], rcode = 0, flags = 0, id }: {
    readonly answers?: readonly TestRecord[];
    readonly authority?: readonly TestRecord[];
    readonly rcode?: number;
    readonly flags?: number;
    readonly id?: number;
  } = {},
): Uint8Array {
  const { next } = questionName(bytes);
  const header = bytes.slice(0, 12);
  const view = new DataView(header.buffer);
  if (id !== undefined) view.setUint16(0, id);
  view.setUint16(2, 0x8180 | flags | rcode);
  view.setUint16(6, answers.length);
  view.setUint16(8, authority.length);
  view.setUint16(10, 0);
  return Uint8Array.from([
    ...header,
    ...bytes.subarray(12, next + 4),
    ...[...answers, ...authority].flatMap(recordBytes),
  ]);
}

function recordBytes({ name, type, ttl = 60, data }: TestRecord): readonly number[] {
  const fixed = new Uint8Array(10);
  const view = new DataView(fixed.buffer);
  view.setUint16(0, type);
  view.setUint16(2, 1);
  view.setUint32(4, ttl);
  view.setUint16(8, data.length);
  return [...nameBytes(name), ...fixed, ...data];
}

/** A name as in a message. */
export function nameBytes(name: string): Uint8Array {
  const labels = name === "" ? [] : name.split(".");
  return Uint8Array.from([
    ...labels.flatMap((label) => [label.length, ...new TextEncoder().encode(label)]),
    0,
  ]);
}

/** An A record. */
export function a(name: string, address: string, ttl = 60): TestRecord {
  return { name, type: TYPE.A, ttl, data: Uint8Array.from(address.split(".").map(Number)) };
}

/** A CNAME record. */
export function cname(name: string, target: string, ttl = 60): TestRecord {
  return { name, type: TYPE.CNAME, ttl, data: nameBytes(target) };
}

/** A SOA record, which says how long there is nothing. */
export function soa(name: string, ttl: number, minimum: number): TestRecord {
  const numbers = new Uint8Array(20);
  new DataView(numbers.buffer).setUint32(16, minimum);
  return {
    name,
    type: TYPE.SOA,
    ttl,
    data: Uint8Array.from([...nameBytes("ns"), ...nameBytes("me"), ...numbers]),
  };
}
