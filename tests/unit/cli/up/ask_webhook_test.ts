import { assertEquals, assertThrows } from "@std/assert";
import { createHmac } from "node:crypto";
import { AskWebhook, signBody } from "../../../../cli/up/ask_webhook.ts";
import { ProxyError } from "../../../../core/errors.ts";
import type { Ask } from "../../../../proxy/decide/asks.ts";
import type { ProviderRequest } from "../../../../secrets/provider_call.ts";
import { waitUntil } from "../../../support/sockets.ts";

const SECRET = "0123456789abcdef";
const ASK: Ask = {
  ...{ id: "x", client: "one", method: "GET", scheme: "https", host: "a.test", port: 443, path: "/" },
  query: "token=planted",
  ...{ sinceMs: 0, untilMs: 1_000 },
};

Deno.test("a webhook is told one after the other, signed; what fails is logged, and too many are not told", async () => {
  const sent: ProviderRequest[] = [];
  const warnings: string[] = [];
  const first = Promise.withResolvers<void>();
  await using webhook = new AskWebhook({
    ...{ url: "https://hook.test/x", secret: SECRET, now: () => 5_000, pauseMs: 0 },
    log: { warn: (line) => warnings.push(line) },
    call: async (request) => {
      sent.push(request);
      if (sent.length === 1) await first.promise;
      return { status: sent.length === 2 ? 500 : 200, headers: {}, body: "" };
    },
  });
  for (let i = 0; i < 200; i++) webhook.tell({ ...ASK, id: `${i}` });
  assertEquals(sent.length, 1);
  first.resolve();
  await waitUntil("all are told", () => warnings.length === 2);
  assertEquals(sent.length, 65);
  assertEquals(warnings, [
    "the webhook for 1 failed: it answered with 500",
    "135 requests that wait were not told to the webhook: there were too many",
  ]);
  const [{ body, headers } = { body: "", headers: {} }] = sent;
  assertEquals(JSON.parse(body ?? ""), {
    ...{ event: "request", id: "0", client: "one", method: "GET", url: "https://a.test:443/" },
    ...{ since: "1970-01-01T00:00:00.000Z", until: "1970-01-01T00:00:01.000Z" },
  });
  const mac = createHmac("sha256", SECRET).update(`5.${body}`).digest("hex");
  assertEquals(headers, {
    "Content-Type": "application/json",
    "X-Slicer-Proxy-Timestamp": "5",
    "X-Slicer-Proxy-Signature": `v1=${mac}`,
  });
  assertEquals(signBody(SECRET, 5, body ?? ""), `v1=${mac}`);
});

Deno.test("a webhook is told of what comes in any turn, also in those in which the one before ends", async () => {
  for (let turns = 0; turns < 12; turns++) {
    const sent: unknown[] = [];
    const told = Promise.withResolvers<void>();
    await using webhook = new AskWebhook({
      ...{ url: "https://hook.test/", secret: SECRET, now: () => 0, pauseMs: 0, log: { warn: () => {} } },
      call: () => {
        sent.push(0);
        if (sent.length === 1) void later(turns).then(() => webhook.tell(ASK)).then(told.resolve);
        return Promise.resolve({ status: 200, headers: {}, body: "" });
      },
    });
    webhook.tell(ASK);
    await told.promise;
    await waitUntil(`it is told after ${turns} turns`, () => sent.length === 2, 3_000);
  }
});

async function later(turns: number): Promise<void> {
  for (let i = 0; i < turns; i++) await Promise.resolve();
}

Deno.test("a webhook that hangs does not hold the stop of the proxy", async () => {
  const webhook = new AskWebhook({
    ...{ url: "https://hook.test/", secret: SECRET, now: () => 0, log: { warn: () => {} } },
    call: (_, signal) =>
      new Promise((_, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason), { once: true })
      ),
  });
  webhook.tell(ASK);
  webhook.tell(ASK);
  await webhook[Symbol.asyncDispose]();
});

Deno.test("a webhook has an https URL and a secret that nobody guesses", () => {
  for (
    const [url, secret] of [["http://a.test/", SECRET], ["a.test", SECRET], ["https://u:p@a.test/", SECRET], [
      "https://a.test/",
      "short",
    ]] as const
  ) {
    const make = () =>
      new AskWebhook({ url, secret, call: () => Promise.reject(), now: () => 0, log: { warn: () => {} } });
    assertEquals(assertThrows(make, ProxyError).code, "input.invalid");
  }
});
