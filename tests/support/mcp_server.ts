/** A server of the Model Context Protocol over TLS on loopback, made with the protocol's own SDK. */
import { createServer } from "node:https";
import type { EventStore } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { SSEServerTransport } from "@modelcontextprotocol/sdk/server/sse.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { upstreamAuthority } from "./test_authority.ts";

export interface McpServerOptions {
  /** Answers in JSON instead of events. */
  readonly isJson?: boolean;
  /** Keeps events, so that streams can be resumed. */
  readonly eventStore?: EventStore;
  /** The names in its certificate; the first one is for its URLs. */
  readonly hosts?: readonly string[];
}

/** A server with two tools, one of which asks its client something, in both forms of the transport. */
export async function startMcpServer(
  { isJson = false, eventStore, hosts = ["mcp.test"] }: McpServerOptions = {},
) {
  const called: string[] = [];
  const make = () => {
    const server = new McpServer({ name: "test", version: "1" });
    server.registerTool("read_file", { description: "reads" }, async () => {
      called.push("read_file");
      const { content } = await server.server.createMessage({
        messages: [{ role: "user", content: { type: "text", text: "?" } }],
        maxTokens: 10,
      });
      return { content: [{ type: "text", text: `asked, and was told ${JSON.stringify(content)}` }] };
    });
    server.registerTool("write_file", { description: "writes" }, () => {
      called.push("write_file");
      return { content: [] };
    });
    return server;
  };
  const { certPem, keyPem } = await (await upstreamAuthority()).issue([...hosts]);
  const sessions = new Map<string, StreamableHTTPServerTransport | SSEServerTransport>();
  const http = createServer({ cert: certPem, key: keyPem }, async (request, response) => {
    const url = new URL(request.url ?? "/", "https://mcp.test");
    const id = String(request.headers["mcp-session-id"] ?? url.searchParams.get("sessionId") ?? "");
    const known = sessions.get(id);
    if (url.pathname === "/sse") {
      const transport = new SSEServerTransport("/messages", response);
      sessions.set(transport.sessionId, transport);
      return await make().connect(transport);
    }
    if (known instanceof SSEServerTransport) return await known.handlePostMessage(request, response);
    if (known) return await known.handleRequest(request, response);
    const transport: StreamableHTTPServerTransport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => crypto.randomUUID(),
      enableJsonResponse: isJson,
      ...(eventStore ? { eventStore } : {}),
      onsessioninitialized: (id: string) => void sessions.set(id, transport),
    });
    await make().connect(transport);
    await transport.handleRequest(request, response);
  });
  const listening = Promise.withResolvers<void>();
  http.listen(0, "127.0.0.1", () => listening.resolve());
  await listening.promise;
  const address = http.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return {
    ...{ port, called },
    [Symbol.asyncDispose]: async () => {
      for (const transport of sessions.values()) await transport.close();
      const closed = Promise.withResolvers<void>();
      http.close(() => closed.resolve());
      http.closeAllConnections();
      await closed.promise;
    },
  };
}
