// node connect_server.mjs CERT KEY: Connect, gRPC and gRPC-Web by @connectrpc/connect-node. Prints its port.
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { S } from "./connect_service.mjs";

const [cert, key] = process.argv.slice(2, 4).map((path) => readFileSync(path));
const handler = connectNodeAdapter({
  routes: (router) =>
    router.service(S, {
      unary: ({ text }, { requestHeader }) => ({ text: `got ${text} ${requestHeader.get("authorization")}` }),
      fail: () => {
        throw new ConnectError("nothing here", Code.NotFound);
      },
      async *count({ text }) {
        for (let i = 1; i <= Number(text); i++) yield { text: String(i) };
      },
      async *both(requests) {
        for await (const { text } of requests) yield { text: `re ${text}` };
      },
    }),
});
const server = http2.createSecureServer({ cert, key }, handler);
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
