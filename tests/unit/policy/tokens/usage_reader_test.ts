import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Tokens, type UsageForm, UsageReader } from "../../../../policy/tokens/usage_reader.ts";

/** What a reader makes of a text that comes in pieces of so many characters. */
function read(form: UsageForm, text: string, size = text.length || 1): UsageReader {
  const reader = new UsageReader(form);
  for (let at = 0; at < text.length; at += size) reader.read(text.slice(at, at + size));
  return reader;
}

function events(...items: readonly object[]): string {
  return items.map((item) => `event: x\ndata: ${JSON.stringify(item)}\n\n`).join("");
}

const ANTHROPIC = events(
  {
    type: "message_start",
    message: {
      id: "msg_1",
      content: [],
      usage: {
        input_tokens: 25,
        cache_creation_input_tokens: 100,
        cache_read_input_tokens: 1_000,
        cache_creation: { ephemeral_5m_input_tokens: 100 },
        output_tokens: 1,
      },
    },
  },
  { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Hello" } },
  { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 15 } },
  { type: "message_stop" },
);

interface Row {
  readonly name: string;
  readonly form: UsageForm;
  readonly text: string;
  readonly said: Tokens | undefined;
  readonly isFinal?: boolean;
}

const ROWS: readonly Row[] = [
  { name: "Anthropic, events", form: "events", text: ANTHROPIC, said: { input: 1_125, output: 15 } },
  {
    name: "Anthropic, events that end early",
    form: "events",
    text: ANTHROPIC.slice(0, ANTHROPIC.indexOf("event: x", 20)),
    said: { input: 1_125, output: 1 },
    isFinal: false,
  },
  ...["\n", "\r\n", "\r"].map((end): Row => ({
    name: `one document on two lines that end in ${JSON.stringify(end)}`,
    form: "events",
    text: ['data: {"usage":', 'data: {"input_tokens":5,"output_tokens":6}}', "", ""].join(end),
    said: { input: 5, output: 6 },
  })),
  {
    name: "Anthropic, events with CRLF",
    form: "events",
    text: ANTHROPIC.replaceAll("\n", "\r\n"),
    said: { input: 1_125, output: 15 },
  },
  {
    name: "Anthropic, events with CR, a mark and comments",
    form: "events",
    text: `\xef\xbb\xbf${ANTHROPIC.replace(/^event.*\n/, "").replaceAll("\n", "\r")}:usage\r\r`,
    said: { input: 1_125, output: 15 },
  },
  {
    name: "Anthropic, JSON",
    form: "json",
    text: JSON.stringify({ content: [{ text: "{" }], usage: { input_tokens: 3, output_tokens: 4 } }),
    said: { input: 3, output: 4 },
  },
  {
    name: "chat completions, JSON",
    form: "json",
    text: JSON.stringify(
      {
        choices: [],
        usage: {
          prompt_tokens: 9,
          completion_tokens: 12,
          total_tokens: 21,
          completion_tokens_details: { reasoning_tokens: 5 },
        },
      },
      undefined,
      2,
    ),
    said: { input: 9, output: 12 },
  },
  {
    name: "chat completions, events with include_usage",
    form: "events",
    text: `${
      events({ choices: [{ delta: { content: "a" } }], usage: null }, {
        choices: [],
        usage: { prompt_tokens: 7, completion_tokens: 8, total_tokens: 15 },
      })
    }data: [DONE]\n\n`,
    said: { input: 7, output: 8 },
  },
  {
    name: "chat completions, events without it",
    form: "events",
    text: `${events({ choices: [{ delta: { content: "a" } }] })}data: [DONE]\n\n`,
    said: undefined,
    isFinal: false,
  },
  {
    name: "embeddings",
    form: "json",
    text: '{"usage":{"prompt_tokens":8,"total_tokens":8}}',
    said: { input: 8, output: 0 },
  },
  {
    name: "an event that ends inside its document, before a whole one",
    form: "events",
    text: 'data: {"usage":{"prompt_tokens":1,\n\ndata: {"usage":{"prompt_tokens":2}}\n\n',
    said: { input: 2, output: 0 },
  },
  {
    name: "Responses API, events",
    form: "events",
    text: events({ type: "response.created", response: { usage: null } }, {
      type: "response.completed",
      response: { usage: { input_tokens: 36, output_tokens: 87, total_tokens: 123 } },
    }),
    said: { input: 36, output: 87 },
  },
  {
    name: "Gemini, events, cumulative",
    form: "events",
    text: events(
      { usageMetadata: { promptTokenCount: 5, candidatesTokenCount: 2, totalTokenCount: 7 } },
      {
        usageMetadata: {
          promptTokenCount: 5,
          candidatesTokenCount: 11,
          thoughtsTokenCount: 20,
          totalTokenCount: 36,
        },
      },
    ),
    said: { input: 5, output: 31 },
  },
  {
    name: "Gemini, a list",
    form: "json",
    text: '[{"candidates":[]}\n,{"usageMetadata":{"promptTokenCount":5,"totalTokenCount":9}}]',
    said: { input: 5, output: 4 },
  },
  {
    name: "one answer with the members of two providers",
    form: "json",
    text:
      '{"usage":{"input_tokens":5,"prompt_tokens":5,"output_tokens":6,"completion_tokens":6,"total_tokens":11}}',
    said: { input: 5, output: 6 },
  },
  {
    name: "what a model was made to write",
    form: "json",
    text: JSON.stringify({ text: '","usage":{"input_tokens":999}', usage: { input_tokens: 1 } }),
    said: { input: 1, output: 0 },
  },
  {
    name: "usage elsewhere, in lists, as text, with a fraction",
    form: "json",
    text:
      '{"a":{"usage":{"input_tokens":9}},"b":[{"usage":{"input_tokens":9}}],"usage":{"x":{"input_tokens":9},"input_tokens":"9","output_tokens":1.5,"prompt_tokens":[9]}}',
    said: undefined,
    isFinal: false,
  },
  {
    name: "the highest of members that are there twice",
    form: "json",
    text: '{"usage":{"input_tokens":9,"input_tokens":1},"usage":{"input_tokens":0}}',
    said: { input: 9, output: 0 },
  },
  { name: "nothing", form: "json", text: "", said: undefined, isFinal: false },
  { name: "no JSON", form: "json", text: "<html>usage</html>", said: undefined, isFinal: false },
  {
    name: "deeper than is read",
    form: "json",
    text: `${'{"a":'.repeat(65)}{"usage":{"input_tokens":9}}`,
    said: undefined,
    isFinal: false,
  },
];

Deno.test("said is what an answer says that it took, wherever it is cut", async (t) => {
  for (const { name, form, text, said, isFinal = true } of ROWS) {
    await t.step(name, () => {
      for (const size of [text.length || 1, 1, 2, 7]) {
        const reader = read(form, text, size);
        assertEquals([reader.said, reader.isFinal], [said, isFinal], `in pieces of ${size}`);
      }
    });
  }
});

Deno.test("textBytes counts what a model may have written, and nothing that is about the answer", async (t) => {
  const rows: readonly (readonly [string, string, number])[] = [
    ["content", events({ id: "chatcmpl-1", model: "m", choices: [{ delta: { content: "12345" } }] }), 5],
    ["arguments of a tool", events({ delta: { partial_json: '{"a":1}' } }), '{\\"a\\":1}'.length],
    ["padding", events({ obfuscation: "xxxxxxxx", delta: "ab" }), 2],
    ["no JSON", "data: hello\n\ndata: you\n\n", 8],
    ...[
      ...[
        "id",
        "object",
        "model",
        "modelVersion",
        "responseId",
        "type",
        "role",
        "status",
        "system_fingerprint",
      ],
      ...[
        "service_tier",
        "finish_reason",
        "finishReason",
        "stop_reason",
        "item_id",
        "call_id",
        "obfuscation",
      ],
    ].map((name) => [`about the answer: ${name}`, events({ [name]: "xxxxxxxx", delta: "ab" }), 2] as const),
    ["texts in a list", events({ content: ["xx", "yy", ["zz", "a"]], delta: "ab" }), 9],
    ["a list that is the document", 'data: ["xx", "yy"]\n\n', 4],
    ["a sign alone", "data: !\n\n", 1],
    ["no JSON, and a text behind it", 'data: x"abc"\n\n', 6],
    ["the end", "data: [DONE]\n\n", 0],
    ["other lines", ": ping\nevent: ping\nid: 12\n\n", 0],
  ];
  for (const [name, text, expected] of rows) {
    await t.step(name, () => {
      for (const size of [text.length, 1, 3]) assertEquals(read("events", text, size).textBytes, expected);
    });
  }
});

Deno.test("each member that providers send counts, and of the same said twice the most", async (t) => {
  const said = (usage: object, name = "usage") => read("json", JSON.stringify({ [name]: usage })).said;
  const rows: (readonly [name: string, usage: object, said: Tokens | undefined])[] = [
    ["Anthropic", { input_tokens: 2, output_tokens: 3 }, { input: 2, output: 3 }],
    ["made for the cache", { cache_creation_input_tokens: 4, output_tokens: 3 }, { input: 4, output: 3 }],
    ["from the cache", { input_tokens: 2, cache_read_input_tokens: 8, output_tokens: 3 }, {
      input: 10,
      output: 3,
    }],
    ["OpenAI", { prompt_tokens: 5, completion_tokens: 7 }, { input: 5, output: 7 }],
    ["both forms", { prompt_tokens: 5, input_tokens: 6, completion_tokens: 7, output_tokens: 1 }, {
      input: 6,
      output: 7,
    }],
  ];
  rows.push(
    ["nothing", { input_tokens: 0 }, { input: 0, output: 0 }],
    ["no member of ours", { others: 5 }, undefined],
    ["more than there can be", { input_tokens: 5e12, output_tokens: 1e12 }, { input: 1e12, output: 1e12 }],
    ["a total alone", { total_tokens: 9 }, { input: 0, output: 9 }],
    ["a total, and what was read", { prompt_tokens: 5, total_tokens: 9 }, { input: 5, output: 4 }],
  );
  for (const [name, usage, expected] of rows) await t.step(name, () => assertEquals(said(usage), expected));
  await t.step("behind what is 64 deep, and no deeper", () => {
    const behind = (depth: number) =>
      read("json", `{"a":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)},"usage":{"input_tokens":5}}`).said;
    assertEquals([behind(64), behind(65)], [{ input: 5, output: 0 }, undefined]);
  });
  await t.step("in another place", () => {
    const usage = { input_tokens: 2, output_tokens: 3 };
    const elsewhere = [{ other: usage }, { message: { other: usage } }, { other: { usage } }, usage, [[{
      usage,
    }]]];
    for (const each of elsewhere) assertEquals(read("json", JSON.stringify(each)).said, undefined);
    for (const each of [{ message: { usage } }, { response: { usage } }, [{ usage }]]) {
      assertEquals(read("json", JSON.stringify(each)).said, { input: 2, output: 3 });
    }
  });
  await t.step("Gemini", () => {
    const usage = {
      promptTokenCount: 1,
      toolUsePromptTokenCount: 2,
      candidatesTokenCount: 4,
      thoughtsTokenCount: 8,
    };
    assertEquals(said(usage, "usageMetadata"), { input: 3, output: 12 });
  });
});

const numbers = fc.integer({ min: 0, max: 1e9 });
const usages = fc.dictionary(
  fc.constantFrom("input_tokens", "cache_read_input_tokens", "output_tokens", "total_tokens", "other"),
  numbers,
);
const documents = fc.letrec((tie) => ({
  value: fc.oneof({ depthSize: "small" }, fc.string(), fc.integer(), fc.double(), tie("list"), tie("object")),
  list: fc.array(tie("value"), { maxLength: 3 }),
  object: fc.dictionary(fc.oneof(fc.string(), fc.constant("usage")), tie("value"), { maxKeys: 4 }),
}));
const answers = fc.tuple(documents.object as fc.Arbitrary<object>, usages).map(([more, usage]) => ({
  ...more,
  usage,
}));

Deno.test("property: said is what JSON.parse() finds in its place, for any document, in any pieces", () => {
  fc.assert(
    fc.property(
      answers,
      fc.integer({ min: 1, max: 9 }),
      fc.boolean(),
      ({ usage, ...rest }, size, isEvents) => {
        const answer: Record<string, unknown> = { ...rest, usage };
        for (const key of ["message", "response", "usageMetadata"]) delete answer[key];
        const text = unescape(encodeURIComponent(JSON.stringify(answer)));
        const { said } = isEvents ? read("events", `data: ${text}\n\n`, size) : read("json", text, size);
        const of = (name: string) => usage[name] ?? 0;
        const input = of("input_tokens") + of("cache_read_input_tokens");
        const isSaid = Object.keys(usage).some((name) => name !== "other");
        const output = Math.max(of("output_tokens"), of("total_tokens") - input);
        assertEquals(said, isSaid ? { input, output } : undefined);
      },
    ),
    { numRuns: 500, seed: 20_261_127 },
  );
});

Deno.test("property: any bytes are read without an error, and no number is out of range", () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...'{}[]",:\\0129eE.-\r\n ab', '"usage":', '"input_tokens":'), {
        maxLength: 200,
      }),
      (parts) => {
        for (const form of ["json", "events"] as const) {
          const { said, textBytes } = read(form, parts.join(""), 3);
          assert(textBytes >= 0 && textBytes <= parts.join("").length);
          if (said) assert(Number.isFinite(said.input + said.output) && said.input >= 0 && said.output >= 0);
        }
      },
    ),
    { numRuns: 2_000, seed: 20_261_127 },
  );
});

Deno.test("reading costs the same for each byte, whatever the answer is made of", () => {
  const size = 4_000_000;
  const shapes = ["[", '{"a":', '"\\', "data: x\n", "\r", ":", "9", '{"usage":{"input_tokens":'];
  for (const form of ["json", "events"] as const) {
    for (const shape of shapes) {
      const text = shape.repeat(Math.ceil(size / shape.length));
      const before = performance.now();
      read(form, text, 16_384);
      const took = performance.now() - before;
      assert(took < 4_000, `${form} ${shape}: ${Math.round(took)} ms`); // about 40 here
    }
  }
});
