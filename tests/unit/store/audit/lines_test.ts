import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { linesBackwards, linesFrom, seekLine } from "../../../../store/audit/lines.ts";

/** Runs `work` with a file of these bytes. */
async function withFile(bytes: Uint8Array, work: (file: Deno.FsFile) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(path, bytes);
    using file = await Deno.open(path);
    await work(file);
  } finally {
    await Deno.remove(path);
  }
}

async function collect(batches: AsyncIterable<readonly string[]>): Promise<string[]> {
  return (await Array.fromAsync(batches)).flat().filter((line) => line !== "");
}

/** Lines as short as records and longer than a block, with characters that a block's end may cut. */
const line = fc.oneof(
  { weight: 5, arbitrary: fc.string({ minLength: 1, maxLength: 40 }) },
  { weight: 1, arbitrary: fc.nat({ max: 200_000 }).map((length) => "é€x".repeat(1 + length / 3)) },
).map((text) => text.replaceAll("\n", ""));

Deno.test("linesFrom() and linesBackwards() give the lines of any part of any file", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(line, { maxLength: 30 }),
      fc.nat(),
      fc.nat(),
      fc.boolean(),
      async (lines, a, b, hasEnd) => {
        const bytes = new TextEncoder().encode(lines.join("\n") + (hasEnd ? "\n" : ""));
        const end = bytes.length - (b % 3 === 0 ? b % (bytes.length + 1) : 0);
        const start = a % (end + 1);
        const text = (from: number, to: number) => new TextDecoder().decode(bytes.subarray(from, to));
        // Where the first line begins that begins at `start` or later.
        const isAtLine = start === 0 || bytes[start - 1] === 10;
        const next = isAtLine ? start : bytes.subarray(0, end).indexOf(10, start) + 1 || end;
        const linesOf = (text: string) => text.split("\n").filter((line) => line !== "");
        await withFile(bytes, async (file) => {
          assertEquals(await collect(linesFrom(file, start, end)), linesOf(text(next, end)));
          assertEquals(await collect(linesBackwards(file, end)), linesOf(text(0, end)).reverse());
        });
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("seekLine() begins before the first line that is late enough, and not long before", async () => {
  const lines = Array.from({ length: 40_000 }, (_, i) => String(i).padStart(9, "0"));
  lines[20_000] = "no number";
  const bytes = new TextEncoder().encode(lines.map((line) => `${line}\n`).join(""));
  await withFile(bytes, async (file) => {
    for (const wanted of [0, 1, 7_777, 19_999, 20_000, 20_001, 39_999, 40_000]) {
      const at = await seekLine(
        file,
        bytes.length,
        (line) => /^\d+$/.test(line) ? Number(line) < wanted : undefined,
      );
      assertEquals([at <= wanted * 10, at > wanted * 10 - 2 * 65_536], [true, true], `${wanted}: ${at}`);
    }
  });
});

Deno.test("linesFrom() and linesBackwards() pass over a line that fills more than a MiB of blocks", async (t) => {
  const rows: readonly (readonly [blocks: number, isGiven: boolean])[] = [[16, true], [17, false]];
  for (const [blocks, isGiven] of rows) {
    await t.step(`${blocks} blocks`, async () => {
      const long = "x".repeat(blocks * 65_536 + 10);
      const encode = (text: string) => new TextEncoder().encode(text);
      const lengths = (lines: readonly string[]) => lines.map(({ length }) => length);
      await withFile(encode(`${long}\nab\ncde`), async (file) => {
        const found = await collect(linesFrom(file, 0, long.length + 7));
        assertEquals(lengths(found), isGiven ? [long.length, 2, 3] : [2, 3]);
      });
      await withFile(encode(`cde\nab\n${long}`), async (file) => {
        const found = await collect(linesBackwards(file, long.length + 7));
        assertEquals(lengths(found), isGiven ? [long.length, 2, 3] : [2, 3]);
      });
    });
  }
});

Deno.test("linesFrom() and linesBackwards() end with a file that somebody has cut", async () => {
  await withFile(new TextEncoder().encode("a\nb\n"), async (file) => {
    assertEquals(await collect(linesFrom(file, 0, 1_000)), ["a", "b"]);
    assertEquals(await collect(linesFrom(file, 100, 1_000)), []);
    assertEquals(await collect(linesFrom(file, 2, 2)), []);
    assertEquals(await collect(linesBackwards(file, 0)), []);
  });
});

Deno.test("linesFrom() gives no line where none is, and half a line at the end as it is", async () => {
  for (const [text, batches] of [["", []], ["a\nb\n", [["a", "b"]]], ["a\nb", [["a"], ["b"]]]] as const) {
    const bytes = new TextEncoder().encode(text);
    await withFile(bytes, async (file) => {
      assertEquals(await Array.fromAsync(linesFrom(file, 0, bytes.length)), batches.map((each) => [...each]));
    });
  }
});

Deno.test("linesFrom() and linesBackwards() give the lines of a small file from and to every place", async () => {
  const text = "ab\nc\n\nde";
  await withFile(new TextEncoder().encode(text), async (file) => {
    const from = [];
    const to = [];
    for (let at = 0; at <= text.length; at++) {
      from.push((await collect(linesFrom(file, at, text.length))).join(" "));
      to.push((await collect(linesBackwards(file, at))).join(" "));
    }
    assertEquals(from, ["ab c de", "c de", "c de", "c de", "de", "de", "de", "", ""]);
    assertEquals(to, ["", "a", "ab", "ab", "c ab", "c ab", "c ab", "d c ab", "de c ab"]);
  });
});

Deno.test("linesBackwards() goes on before a line that is too long, wherever its block begins", async () => {
  for (const length of [-2, -1, 0, 1].map((more) => 18 * 65_536 + more)) {
    await withFile(new TextEncoder().encode(`ab\n${"x".repeat(length)}`), async (file) => {
      assertEquals(await collect(linesBackwards(file, length + 3)), ["ab"]);
    });
  }
});
