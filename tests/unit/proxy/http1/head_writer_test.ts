import { assertEquals, assertRejects } from "@std/assert";
import { makeField } from "../../../../proxy/message/fields.ts";
import {
  formatRequestHead,
  formatResponseHead,
  writeRequestHead,
  writeResponseHead,
} from "../../../../proxy/http1/head_writer.ts";

/** Takes a byte, or all, of each write when it is told to. */
class SlowOutput {
  readonly views: Uint8Array[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #atOnce: number;
  text = "";

  constructor(atOnce = Infinity) {
    this.#atOnce = atOnce;
  }

  write(bytes: Uint8Array): Promise<number> {
    this.views.push(bytes);
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#waiting.push(() => {
      const count = Math.min(this.#atOnce, bytes.length);
      this.text += String.fromCharCode(...bytes.subarray(0, count));
      resolve(count);
    });
    return promise;
  }

  async drain(writing: Promise<void>): Promise<string> {
    let isOver = false;
    const over = writing.finally(() => isOver = true);
    while (!isOver) {
      this.#waiting.shift()?.();
      await Promise.resolve();
    }
    await over;
    return this.text;
  }
}

const head = (path: string) =>
  ({ method: "GET", target: path, version: "HTTP/1.1", fields: [makeField("Host", "a.test")] }) as const;
const bytesOf = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));

Deno.test("heads that wait for their receivers do not share memory", async () => {
  const outputs = Array.from({ length: 100 }, () => new SlowOutput());
  const writing = outputs.map((output, i) => writeRequestHead(output, head(`/${i}`), bytesOf(`body ${i}`)));
  const sent = await Promise.all(outputs.map((output, i) => output.drain(writing[i] ?? Promise.reject())));
  assertEquals(sent, outputs.map((_, i) => `GET /${i} HTTP/1.1\r\nHost: a.test\r\n\r\nbody ${i}`));
});

Deno.test("a head's memory is used again once all of it is written, however small the pieces", async () => {
  const slow = new SlowOutput(1);
  const writing = writeRequestHead(slow, head("/slow"));
  const beside = new SlowOutput();
  await beside.drain(writeRequestHead(beside, head("/beside")));
  assertEquals(await slow.drain(writing), "GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n");
  const [first] = slow.views;
  assertEquals(beside.views[0]?.buffer === first?.buffer, false);
  const after = new SlowOutput();
  await after.drain(writeRequestHead(after, head("/after")));
  assertEquals(after.views[0]?.buffer === first?.buffer, true);
});

Deno.test("a write that failed keeps its memory: who knows what still reads it", async () => {
  const views: Uint8Array[] = [];
  const broken = {
    write(bytes: Uint8Array): Promise<number> {
      views.push(bytes);
      return Promise.reject(new Deno.errors.BrokenPipe("gone"));
    },
  };
  await assertRejects(() => writeRequestHead(broken, head("/lost")), Deno.errors.BrokenPipe);
  for (let i = 0; i < 100; i++) {
    const output = new SlowOutput();
    await output.drain(writeRequestHead(output, head("/next")));
    assertEquals(output.views[0]?.buffer === views[0]?.buffer, false);
  }
});

Deno.test("what is larger than the kept buffers, and what is no ASCII, is written byte for byte", async () => {
  for (const value of ["x".repeat(10_000), "\xe9\xff".repeat(20), "\xe9".repeat(4_000)]) {
    const output = new SlowOutput();
    const response = {
      version: "HTTP/1.1",
      status: 200,
      reason: "OK",
      fields: [makeField("A", value)],
    } as const;
    const sent = await output.drain(writeResponseHead(output, response, bytesOf("body")));
    assertEquals(sent, `HTTP/1.1 200 OK\r\nA: ${value}\r\n\r\nbody`);
  }
});

Deno.test("a head of 4,096 bytes with what follows it takes its turn in the kept memory, and a larger one does not", async () => {
  for (const [size, isKept] of [[4_096, true], [4_097, false]] as const) {
    const rest = new Uint8Array(size - formatRequestHead(head("/")).length);
    const buffers: (ArrayBufferLike | undefined)[] = [];
    for (let i = 0; i < 2; i++) {
      const output = new SlowOutput();
      await output.drain(writeRequestHead(output, head("/"), rest));
      buffers.push(output.views[0]?.buffer);
    }
    assertEquals([buffers[0] === buffers[1], buffers[0]?.byteLength], [isKept, size], String(size));
  }
});

Deno.test("the memory of 64 heads is kept, and of no more", async () => {
  const writeMany = async () => {
    const outputs = Array.from({ length: 100 }, () => new SlowOutput());
    const writing = outputs.map((output) => writeRequestHead(output, head("/")));
    await Promise.all(outputs.map((output, i) => output.drain(writing[i] ?? Promise.reject())));
    return outputs.map(({ views }) => views[0]?.buffer);
  };
  const first = new Set(await writeMany());
  assertEquals((await writeMany()).filter((buffer) => first.has(buffer)).length, 64);
});

Deno.test("heads that are formatted are one byte a character, with what follows", () => {
  for (const value of ["a", "\xe9", "a\xe9", "\xe9\xe9", "\xff".repeat(5_000)]) {
    const fields = [makeField("A", value)];
    const request = formatRequestHead({ ...head("/"), fields }, bytesOf("body"));
    assertEquals(request, bytesOf(`GET / HTTP/1.1\r\nA: ${value}\r\n\r\nbody`));
    const response = formatResponseHead({ version: "HTTP/1.1", status: 204, reason: "", fields });
    assertEquals(response, bytesOf(`HTTP/1.1 204 \r\nA: ${value}\r\n\r\n`));
  }
});
