// node node_server.mjs CERT KEY: an HTTP/2 server that says what it was asked, with a trailer. Prints its port.
import { readFileSync } from "node:fs";
import http2 from "node:http2";

const [cert, key] = process.argv.slice(2, 4).map((path) => readFileSync(path));
const server = http2.createSecureServer({ cert, key });
server.on("stream", (stream, headers) => {
  let size = 0;
  stream.on("data", (piece) => size += piece.length);
  stream.on("error", () => {});
  stream.on("end", () => {
    stream.respond({ ":status": 200 }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-check": "whole" }));
    stream.end(`${headers[":method"]} ${headers[":path"]} ${headers.authorization ?? "-"} ${size}`);
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
