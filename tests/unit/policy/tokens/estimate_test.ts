import { assertEquals } from "@std/assert";
import {
  type Asked,
  BYTES_PER_TOKEN,
  CODED_BYTES_PER_TOKEN,
  isModelPath,
  type Seen,
  tokensOf,
} from "../../../../policy/tokens/estimate.ts";

Deno.test("isModelPath() knows the paths by which models are asked, however they are written", () => {
  for (
    const path of [
      ...[
        "/v1/messages",
        "/v1/chat/completions",
        "/openai/v1/completions/",
        "/v1/responses",
        "/v1/embeddings",
      ],
      ...["/v1beta/models/gemini-2.5-pro:generateContent", "/v1/models/m:streamGenerateContent"],
      ...["/v1/projects/p/locations/l/publishers/anthropic/models/m:streamRawPredict", "/v1/realtime"],
      ...["/model/m/invoke", "/model/m/converse-stream", "/V1/Messages", "/v1/messages/batches"],
      ...[
        "/v1/complete",
        "/v1/batches",
        "/v1/models/m:predict",
        "/v1/models/m:rawPredict",
        "/model/m/converse",
      ],
      ...[
        "/model/m/invoke-with-response-stream",
        "/v1/models/m:embedContent",
        "/v1/models/m:batchEmbedContents",
      ],
      ...[
        "/messages",
        "/v1/messages//",
        "/v1/m%65ssages",
        "/v1/%256dessages",
        "/v1/messages%2f",
        "/x/BidiGenerateContent",
      ],
    ]
  ) assertEquals(isModelPath(path), true, path);
  for (
    const path of [
      "/",
      "/v1/models",
      "/v1/messages/count_tokens",
      "/left-pad",
      "/messages/1",
      "/%zz",
      "",
      "//",
      "/v1/%25256dessages",
    ]
  ) {
    assertEquals(isModelPath(path), false, path);
  }
});

const ASKED: Asked = {
  method: "POST",
  isUpgraded: false,
  isModel: true,
  status: 200,
  isWhole: true,
  sent: 400,
  sentPerToken: 4,
};
const SAID: Seen = { said: { input: 50, output: 7 }, isFinal: true, bytes: 4_000, bytesPerToken: 4 };
const UNSAID: Seen = { ...SAID, said: undefined, isFinal: false };

Deno.test("tokensOf() takes what was said, and reckons where that is not all", async (t) => {
  const estimated = (input: number, output: number) => ({ input, output, isEstimated: true });
  const rows: readonly (readonly [string, Asked, Seen, ReturnType<typeof tokensOf>])[] = [
    ["said", ASKED, SAID, { input: 50, output: 7, isEstimated: false }],
    [
      "said by what reads",
      { ...ASKED, method: "GET", isModel: false },
      SAID,
      { input: 50, output: 7, isEstimated: false },
    ],
    ["said, but cut", { ...ASKED, isWhole: false }, SAID, estimated(50, 1_000)],
    ["only begun to say", ASKED, { ...SAID, isFinal: false }, estimated(50, 1_000)],
    ["said more than was seen", { ...ASKED, isWhole: false }, { ...SAID, bytes: 4 }, estimated(50, 7)],
    ["not said", ASKED, UNSAID, estimated(100, 1_000)],
    ["not said, asked for in a coding", { ...ASKED, sentPerToken: 1 }, UNSAID, estimated(400, 1_000)],
    ["as much in as out", { ...ASKED, sent: 4_000 }, UNSAID, estimated(1_000, 1_000)],
    ["not said, compressed", ASKED, { ...UNSAID, bytesPerToken: 1 }, estimated(100, 4_000)],
    [
      "gone before the answer",
      { ...ASKED, status: 0, isWhole: false },
      { ...UNSAID, bytes: 0 },
      estimated(100, 0),
    ],
    ["gone within an error", { ...ASKED, status: 500, isWhole: false }, UNSAID, estimated(100, 1_000)],
    ["an error", { ...ASKED, status: 429 }, UNSAID, undefined],
    ["a redirect", { ...ASKED, status: 307 }, UNSAID, undefined],
    ["never sent", { ...ASKED, status: 0, isWhole: false, sent: 0 }, { ...UNSAID, bytes: 0 }, undefined],
    ["no model", { ...ASKED, isModel: false }, UNSAID, undefined],
    ...["GET", "HEAD", "OPTIONS", "DELETE"].map((method) =>
      [`what reads: ${method}`, { ...ASKED, method }, UNSAID, undefined] as const
    ),
    ["the last status that is no refusal", { ...ASKED, status: 299 }, UNSAID, estimated(100, 1_000)],
    ["the first that is one", { ...ASKED, status: 300 }, UNSAID, undefined],
    ["only output", ASKED, { ...UNSAID, said: { input: 0, output: 3 }, bytes: 0 }, estimated(100, 3)],
    ["a socket", { ...ASKED, method: "GET", isUpgraded: true, status: 101 }, UNSAID, estimated(100, 1_000)],
  ];
  for (const [name, asked, seen, expected] of rows) {
    await t.step(name, () => assertEquals(tokensOf(asked, seen), expected));
  }
});

Deno.test("a token is reckoned for four bytes of text, and for each byte of what is compressed", () => {
  assertEquals([BYTES_PER_TOKEN, CODED_BYTES_PER_TOKEN], [4, 1]);
});
