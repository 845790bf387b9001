/** Rules that speak of MCP, with the protocol's own client and server, through the proxy. */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { EventStore } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import {
  CallToolResultSchema,
  CreateMessageRequestSchema,
  type JSONRPCMessage,
} from "@modelcontextprotocol/sdk/types.js";
import { startMcpServer } from "../support/mcp_server.ts";
import { startTestProxy, TOKEN } from "../support/start_proxy.ts";

for (const form of ["streamable HTTP", "HTTP with SSE"] as const) {
  Deno.test(`one tool of an MCP server, over ${form}`, async (t) => {
    await using server = await startMcpServer();
    await using proxy = await startTestProxy();
    proxy.policy.allow("one", {
      ...{
        host: "mcp.test",
        ports: [server.port],
        paths: ["/mcp", "/sse", "/messages"],
        mcpTool: ["read_*"],
      },
    });
    using http = Deno.createHttpClient({
      proxy: { url: `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}` },
      caCerts: [proxy.caPem],
    });
    const options = {
      fetch: (url: string | URL, init?: RequestInit) => fetch(url, { ...init, client: http }),
    };
    const base = `https://mcp.test:${server.port}`;
    const transport = form === "streamable HTTP"
      ? new StreamableHTTPClientTransport(new URL(`${base}/mcp`), options)
      : new SSEClientTransport(new URL(`${base}/sse`), options);
    const client = new Client({ name: "test", version: "1" }, { capabilities: { sampling: {} } });
    client.setRequestHandler(CreateMessageRequestSchema, () => ({
      ...{ model: "m", role: "assistant" as const, content: { type: "text" as const, text: "hello" } },
    }));
    try {
      await t.step("begins a session", () => client.connect(transport));
      await t.step("lists tools", async () => {
        assertEquals((await client.listTools()).tools.map(({ name }: { name: string }) => name), [
          "read_file",
          "write_file",
        ]);
      });
      await t.step("calls the one, which asks the client something", async () => {
        const { content } = await client.callTool({ name: "read_file", arguments: {} });
        assertMatch(JSON.stringify(content), /was told.*hello/);
      });
      await t.step("and not the other", async () => {
        await assertRejects(() => client.callTool({ name: "write_file", arguments: {} }), Error, "no-rule");
        await assertRejects(() => client.listPrompts(), Error);
        assertEquals(server.called, ["read_file"]);
      });
      await t.step("and the log says which", async () => {
        await proxy.waitLine(/allow .*says=mcp:tools\/call\(read_file\)/);
        await proxy.waitLine(/deny .*reason=no-rule .*says=mcp:tools\/call\(write_file\)/);
        await proxy.waitLine(/allow .*says=mcp:-response/);
      });
      if (transport instanceof StreamableHTTPClientTransport) {
        await t.step("ends it", () => transport.terminateSession());
      }
    } finally {
      await client.close();
    }
  });
}

Deno.test("in audit mode the log says what a denied message was about, and nothing of other bodies", async () => {
  await using proxy = await startTestProxy({ mode: "audit" });
  using http = Deno.createHttpClient({
    proxy: { url: `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}` },
    caCerts: [proxy.caPem],
  });
  for (const accept of ["application/json, text/event-stream", "application/json"]) {
    const response = await fetch(`https://mcp.test/${accept.length}`, {
      ...{ client: http, method: "POST", headers: { accept, "content-type": "application/json" } },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "read_file" } }),
    });
    assertEquals(response.status, 403);
    await response.body?.cancel();
  }
  assertMatch(await proxy.waitLine(/path=\/35 /), /reason=no-rule .*says=mcp:tools\/call\(read_file\)/);
  assertEquals((await proxy.waitLine(/path=\/16 /)).includes("says="), false);
});

interface Replaying {
  send(id: string, message: JSONRPCMessage): Promise<void>;
}

/** Events of all streams, in order. */
class KeptEvents implements EventStore {
  readonly #events: { readonly stream: string; readonly message: JSONRPCMessage }[] = [];

  storeEvent(stream: string, message: JSONRPCMessage): Promise<string> {
    return Promise.resolve(String(this.#events.push({ stream, message })));
  }

  getStreamIdForEventId(id: string): Promise<string | undefined> {
    return Promise.resolve(this.#events[Number(id) - 1]?.stream);
  }

  async replayEventsAfter(id: string, { send }: Replaying) {
    const stream = await this.getStreamIdForEventId(id) ?? "";
    for (const [i, event] of this.#events.entries()) {
      if (i >= Number(id) && event.stream === stream) await send(String(i + 1), event.message);
    }
    return stream;
  }
}

Deno.test("a stream is resumed behind its last event, and no tool is called again", async () => {
  await using server = await startMcpServer({ eventStore: new KeptEvents() });
  await using proxy = await startTestProxy();
  proxy.policy.allow("one", {
    host: "mcp.test",
    ports: [server.port],
    paths: ["/mcp"],
    mcpTool: ["write_*"],
  });
  using http = Deno.createHttpClient({
    proxy: { url: `http://proxy:${TOKEN}@127.0.0.1:${proxy.httpPort}` },
    caCerts: [proxy.caPem],
  });
  const resumed: string[] = [];
  const transport = new StreamableHTTPClientTransport(new URL(`https://mcp.test:${server.port}/mcp`), {
    fetch: (url: string | URL, init?: RequestInit) => {
      const last = new Headers(init?.headers).get("last-event-id");
      if (last !== null) resumed.push(`${init?.method} ${last}`);
      return fetch(url, { ...init, client: http });
    },
  });
  const client = new Client({ name: "test", version: "1" });
  try {
    await client.connect(transport);
    const call = { method: "tools/call", params: { name: "write_file", arguments: {} } } as const;
    const ids: string[] = [];
    const first = await client.request(call, CallToolResultSchema, {
      onresumptiontoken: (id: string) => void ids.push(id),
    });
    const [began] = ids; // the event that begins the stream; its answer is behind it
    const again = await client.request(call, CallToolResultSchema, { resumptionToken: String(began) });
    assertEquals(again, first);
    assertEquals([server.called, resumed], [["write_file"], [`GET ${began}`]]);
  } finally {
    await client.close();
  }
  await proxy.waitLine(/^allow .*method=GET .*says=mcp:-stream/); // the stream ends with its client
});
