import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import type { StoredRecord } from "../../../../policy/audit_record.ts";
import { type LinePlace, linePlace, sinkOf } from "../../../../proxy/records/audit_sinks.ts";

const record = (port: number): StoredRecord => ({ verdict: "allow", port, timeMs: 0, repeated: 1 });

/** A sink that keeps ports, and fails while it is told to. */
function makeSink() {
  const sink: LinePlace & { readonly ports: (number | undefined)[]; isFailing: boolean } = {
    format: "text",
    ports: [],
    isFailing: false,
    write(records) {
      if (sink.isFailing) return Promise.reject(new Error("disk full"));
      sink.ports.push(...records.map(({ port }) => port));
      return Promise.resolve();
    },
  };
  return sink;
}

Deno.test("linePlace() gets a line per record, in its form", async () => {
  for (
    const [format, text] of [
      ["text", "allow client=- port=1\nallow client=- port=2 repeated=3\n"],
      [
        "json",
        '{"v":1,"time":"1970-01-01T00:00:00.000Z","verdict":"allow","client":"-","port":1}\n' +
        '{"v":1,"time":"1970-01-01T00:00:00.000Z","verdict":"allow","client":"-","port":2,"repeated":3}\n',
      ],
    ] as const
  ) {
    let written = "";
    const sink = sinkOf([linePlace({ write: (lines) => Promise.resolve(void (written += lines)) }, format)]);
    await sink.write([record(1), { ...record(2), repeated: 3 }]);
    assertEquals(written, text);
  }
});

Deno.test("sinkOf() fails while one of its places does, and gives none of them a record twice", async () => {
  const [one, two] = [makeSink(), makeSink()];
  const sink = sinkOf([one, two]);
  const batch = [record(1), record(2)];
  two.isFailing = true;
  await assertRejects(() => sink.write(batch), Error, "disk full");
  await assertRejects(() => sink.write(batch)); // nothing new
  batch.push(record(3));
  await assertRejects(() => sink.write(batch));
  assertEquals([one.ports, two.ports], [[1, 2, 3], []]);
  one.isFailing = true;
  two.isFailing = false;
  batch.push(record(4));
  await assertRejects(() => sink.write(batch));
  assertEquals([one.ports, two.ports], [[1, 2, 3], []]); // whoever sees a line can look it up
  one.isFailing = false;
  await sink.write(batch);
  await sink.write([record(5)]);
  assertEquals([one.ports, two.ports], [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]);
});

Deno.test("sinkOf() writes all when the records that a place had are given up", async () => {
  const [one, two] = [makeSink(), makeSink()];
  const sink = sinkOf([one, two]);
  two.isFailing = true;
  await assertRejects(() => sink.write([record(1), record(2)]));
  two.isFailing = false;
  await sink.write([record(3)]);
  assertEquals([one.ports, two.ports], [[1, 2, 3], [3]]);
});

Deno.test("sinkOf() prints each form once, and has nothing written where nothing is new", async () => {
  const seen: (readonly string[])[] = [];
  let isFailing = false;
  const place = (format: LinePlace["format"]): LinePlace => ({
    format,
    write: (_records, lines) => Promise.resolve(void seen.push(lines)),
  });
  const last: LinePlace = {
    format: "text",
    write: () => isFailing ? Promise.reject(new Error("disk full")) : Promise.resolve(),
  };
  const sink = sinkOf([place("text"), place("json"), place("text"), last]);
  isFailing = true;
  const batch = [record(1)];
  await assertRejects(() => sink.write(batch));
  assertStrictEquals(seen[0], seen[2]);
  assertEquals(seen.map((lines) => lines.length), [1, 1, 1]);
  await assertRejects(() => sink.write(batch));
  assertEquals(seen.length, 3);
  batch.push(record(2));
  isFailing = false;
  await sink.write(batch);
  assertEquals(seen.slice(3).map((lines) => lines.length), [1, 1, 1]); // one record was there before
});

Deno.test("sinkOf() pauses between two places, and writes what was printed before", async () => {
  const seen: string[] = [];
  const place = (name: string, format: LinePlace["format"]): LinePlace => ({
    format,
    write: (_records, lines) => Promise.resolve(void seen.push(`${name} ${lines.join("").trim()}`)),
  });
  const sink = sinkOf([place("a", "text"), place("b", "json"), place("c", "text")]);
  const pause = () => Promise.resolve(void seen.push("pause"));
  assertEquals(sink.print?.(record(1))[0], "allow client=- port=1\n");
  await sink.write([record(1), record(2)], { printed: [["one\n", "{}\n"]], pause });
  const json = '{"v":1,"time":"1970-01-01T00:00:00.000Z","verdict":"allow","client":"-","port":2}';
  const text = "one\nallow client=- port=2";
  assertEquals(seen, [`a ${text}`, "pause", `b {}\n${json}`, "pause", `c ${text}`]);
});
