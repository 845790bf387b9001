// node node_client.mjs HOST:PORT: a GET, one that no rule allows, and a POST of 300,000 bytes, all at once.
import http2 from "node:http2";
import { openTunnel } from "./tunnel.mjs";

const [target] = process.argv.slice(2);
const socket = await openTunnel(target);
const session = http2.connect(`https://${target}`, { createConnection: () => socket });

async function ask(headers, body) {
  const stream = session.request(headers);
  let status = 0;
  let reason = "";
  stream.on("response", (head) => {
    status = head[":status"];
    reason = head["x-slicer-proxy-reason"] ?? "";
  });
  stream.setEncoding("utf8");
  stream.end(body);
  let text = "";
  for await (const piece of stream) text += piece;
  return `${status} ${reason || text}`;
}

const answers = await Promise.all([
  ask({ ":path": "/v1/a", authorization: "Bearer MINE" }),
  ask({ ":path": "/other" }),
  ask({ ":path": "/v1/b", ":method": "POST" }, "x".repeat(300_000)),
]);
console.log(answers.join("\n"));
session.close();
