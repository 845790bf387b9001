// node grpc_server.mjs CERT KEY: the service of s.proto and its reflection, by @grpc/grpc-js. Prints its port.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";

const [cert, key] = process.argv.slice(2, 4).map((path) => readFileSync(path));
const definition = protoLoader.loadSync(fileURLToPath(new URL("s.proto", import.meta.url)));
const { p } = grpc.loadPackageDefinition(definition);
const unary = (call, done) => {
  const trailers = new grpc.Metadata();
  trailers.set("x-auth", String(call.metadata.get("authorization")[0] ?? "-"));
  trailers.set("x-mine-bin", call.metadata.get("x-mine-bin")[0] ?? Buffer.from("-"));
  done(null, { text: `got ${call.request.text}` }, trailers);
};
const server = new grpc.Server();
server.addService(p.S.service, {
  Unary: unary,
  Fail: (_call, done) => done({ code: grpc.status.NOT_FOUND, details: "nothing here" }),
  Collect: (call, done) => {
    const texts = [];
    call.on("data", ({ text }) => texts.push(text));
    call.on("end", () => done(null, { text: texts.join("+") }));
  },
  Count: (call) => {
    for (let i = 1; i <= Number(call.request.text); i++) call.write({ text: String(i) });
    call.end();
  },
  Both: (call) => {
    call.on("data", ({ text }) => call.write({ text: `re ${text}` }));
    call.on("end", () => call.end());
  },
  Endless: (call) => {
    const timer = setInterval(() => call.write({ text: "tick" }), 20);
    call.on("cancelled", () => {
      clearInterval(timer);
      console.log("cancelled");
    });
  },
});
server.addService(p.Other.service, { Unary: unary });
new ReflectionService(definition).addToServer(server);
const credentials = grpc.ServerCredentials.createSsl(null, [{ cert_chain: cert, private_key: key }]);
server.bindAsync("127.0.0.1:0", credentials, (_error, port) => console.log(port));
