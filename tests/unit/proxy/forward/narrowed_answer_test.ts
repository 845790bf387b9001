import { assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { gzipSync } from "node:zlib";
import { ProxyError } from "../../../../core/errors.ts";
import { DEFAULT_LIMITS } from "../../../../core/limits.ts";
import { Admission } from "../../../../proxy/accept/admission.ts";
import type { AdmittedExchange } from "../../../../proxy/exchange.ts";
import { narrowAnswer } from "../../../../proxy/forward/narrowed_answer.ts";
import { makeField } from "../../../../proxy/message/fields.ts";
import type { MessageBody, ResponseHead } from "../../../../proxy/message/message.ts";
import { PiecedBody } from "../../../support/make_exchange.ts";

const MIB = 1_048_576;
const list = (...names: string[]) =>
  JSON.stringify({ jsonrpc: "2.0", id: 1, result: { tools: names.map((name) => ({ name })) } });

interface Answered extends Partial<ResponseHead> {
  readonly lines?: readonly (readonly [string, string])[];
  readonly body: MessageBody;
  readonly maxHeldBytesPerClient?: number;
}

/** Narrows an answer to the tool `read`. */
function narrow({ lines = [], body, maxHeldBytesPerClient = MIB, ...more }: Answered) {
  const limits = { ...DEFAULT_LIMITS, maxHeldBytesPerClient, bodyIdleTimeoutMs: 7_000 };
  const admission = new Admission(limits);
  const touched: number[] = [];
  const exchange = {
    ...{
      session: { context: { admission, limits } },
      client: { name: "one", version: "1" },
      tools: ["read"],
    },
  } as unknown as AdmittedExchange;
  const course = { failure: undefined, touch: (ms: number) => void touched.push(ms), fail: () => {} };
  const head: ResponseHead = {
    ...{ version: "HTTP/1.1", status: 200, reason: "OK", ...more },
    fields: lines.map((field) => makeField(...field)),
  };
  /** Whether nothing is held. */
  const isFree = () => {
    const isAll = admission.held("one").take(maxHeldBytesPerClient);
    if (isAll) admission.held("one").give(maxHeldBytesPerClient);
    return isAll;
  };
  return { narrowed: narrowAnswer(exchange, course, { head, body }), head, body, touched, isFree };
}

Deno.test("narrowAnswer() takes other tools out, writes the length anew, and drops what was about the old bytes", async () => {
  const text = list("read", "drop");
  const { narrowed, body, touched, isFree } = narrow({
    lines: [
      ["Content-Type", "application/json"],
      ...["Content-Length", "Trailer", "ETag", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest"]
        .map((name) => [name, "x"] as const),
      ["X-Mine", "y"],
    ],
    body: new PiecedBody(["", text.slice(0, 9), "", text.slice(9)]),
  });
  const { head, body: said, drop } = await narrowed;
  const wanted = list("read");
  assertEquals(head.fields.map(({ line }) => line), [
    ...["Content-Type: application/json", "X-Mine: y", `Content-Length: ${wanted.length}`],
  ]);
  assertEquals([Buffer.from(said.take()).toString(), said.done], [wanted, true]);
  const { releases, waits } = body as PiecedBody;
  assertEquals([touched, isFree(), releases, waits], [[7_000, 7_000], false, 4, 2]); // waits where nothing is here
  drop();
  assertEquals(isFree(), true);
});

Deno.test("narrowAnswer() reads lists however they come: chunks, gzip, events, and HTTP/2 which has no chunks", async (t) => {
  const text = list("read", "drop");
  const packed = gzipSync(text);
  const chunked = (bytes: Uint8Array) =>
    Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n0\r\n\r\n")]);
  const json = ["Content-Type", "application/json"] as const;
  const rows: readonly (readonly [string, Answered, string])[] = [
    ["chunks", {
      lines: [json, ["Transfer-Encoding", "chunked"]],
      body: new PiecedBody([chunked(Buffer.from(text))]),
    }, list("read")],
    ["gzip", { lines: [json, ["Content-Encoding", "gzip"]], body: new PiecedBody([packed]) }, list("read")],
    ["gzip in chunks", {
      lines: [json, ["Content-Encoding", "gzip"], ["Transfer-Encoding", "chunked"]],
      body: new PiecedBody([chunked(packed)]),
    }, list("read")],
    ["events", {
      lines: [["Content-Type", "text/event-stream; charset=utf-8"]],
      body: new PiecedBody([`data: ${text}\n\n`]),
    }, `data: ${list("read")}\n\n`],
    ["no type", { body: new PiecedBody([text]) }, list("read")],
    ["the last status", { status: 299, body: new PiecedBody([text]) }, list("read")],
    ["nothing to take out", { body: new PiecedBody([list("read")]) }, list("read")],
  ];
  for (const [name, answered, expected] of rows) {
    await t.step(name, async () => {
      const { body } = await narrow(answered).narrowed;
      assertEquals(Buffer.from(body.take()).toString(), expected);
    });
  }
  await t.step("HTTP/2", async () => {
    const body = new PiecedBody([text]);
    const { head } = await narrow({ version: "HTTP/2", lines: [["transfer-encoding", "chunked"]], body })
      .narrowed;
    assertEquals(head.fields.map(({ line }) => line), [`content-length: ${list("read").length}`]);
  });
});

Deno.test("narrowAnswer() leaves what is no list as it is: no body, errors, and what answers nothing yet", async (t) => {
  const rows: readonly (readonly [string, Answered])[] = [
    ["no body", { body: new PiecedBody([]) }],
    ["202", { status: 202, body: new PiecedBody(["x"]) }],
    ["199", { status: 199, body: new PiecedBody(["x"]) }],
    ["300", { status: 300, body: new PiecedBody(["x"]) }],
    ["404", { status: 404, body: new PiecedBody(["x"]) }],
  ];
  for (const [name, answered] of rows) {
    await t.step(name, async () => {
      const { narrowed, head, body, isFree } = narrow(answered);
      const passed = await narrowed;
      assertEquals([passed.head, passed.body, isFree()], [head, body, true]);
      passed.drop();
    });
  }
});

Deno.test("narrowAnswer() refuses what it cannot read, whole or in one way, and holds nothing of it", async (t) => {
  const cannot = "Cannot take tools out of the response as the rule says:";
  const spaces = (size: number) => Buffer.alloc(size, " ");
  const rows: readonly (readonly [string, Answered, code: string, message: string])[] = [
    [
      "larger than 1 MiB",
      { body: new PiecedBody([spaces(MIB), "x"]) },
      "upstream.malformed",
      `${cannot} it is larger than 1 MiB`,
    ],
    ["no JSON", { body: new PiecedBody(["{"]) }, "upstream.malformed", cannot],
    [
      "no UTF-8",
      { body: new PiecedBody([new Uint8Array([0xff])]) },
      "upstream.malformed",
      `${cannot} its body is not UTF-8`,
    ],
    [
      "a coding that is not read",
      { lines: [["Content-Encoding", "x"]], body: new PiecedBody(["\0"]) },
      "upstream.malformed",
      cannot,
    ],
    [
      "cut short",
      { body: new PiecedBody(["{"], "cut") },
      "upstream.closed",
      "Cannot complete the response: upstream closed inside its body",
    ],
    [
      "too many held",
      { body: new PiecedBody(["12345", "6"]), maxHeldBytesPerClient: 5 },
      "limit.reached",
      "Cannot read the response: too many bodies are held at once",
    ],
  ];
  for (const [name, answered, code, message] of rows) {
    await t.step(name, async () => {
      const { narrowed, isFree } = narrow(answered);
      const error = await assertRejects(() => narrowed, ProxyError);
      assertEquals([error.code, error.message.slice(0, message.length), isFree()], [
        code as typeof error.code,
        message,
        true,
      ]);
      if (code === "limit.reached") assertEquals(error.reason, "overload");
    });
  }
  await t.step("1 MiB is not too large", async () => {
    const text = list("read");
    const body = new PiecedBody([text, spaces(MIB - text.length)]);
    const { body: narrowed } = await narrow({ body }).narrowed;
    assertEquals(narrowed.take().length > 0, true);
  });
});
