// node grpc_client.mjs HOST:PORT: every kind of call by @grpc/grpc-js, through the proxy of the environment (grpc_proxy).
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const [target] = process.argv.slice(2);
const credentials = grpc.credentials.createSsl(readFileSync(process.env.CA));
const { p } = grpc.loadPackageDefinition(
  protoLoader.loadSync(fileURLToPath(new URL("s.proto", import.meta.url))),
);
const client = new p.S(target, credentials);
const texts = async (call) => {
  const all = [];
  for await (const { text } of call) all.push(text);
  return all;
};
/** A call with one answer: its text and trailers, or its status. */
const one = (start) =>
  new Promise((resolve) => {
    let text = "";
    const call = start((error, answer) => text = error ? `${grpc.status[error.code]} ${error.details}` : answer.text);
    call.on("status", ({ metadata }) => setImmediate(() => resolve([text, metadata])));
  });
const deadline = () => ({ deadline: Date.now() + 20_000 });

const mine = new grpc.Metadata();
mine.set("authorization", "Bearer MINE");
mine.set("x-mine-bin", Buffer.from([1, 2, 255]));
const [text, trailers] = await one((done) => client.Unary({ text: "one" }, mine, deadline(), done));
console.log("unary:", text, trailers.get("x-auth")[0], trailers.get("x-mine-bin")[0].toString("hex"));
console.log("fail:", (await one((done) => client.Fail({ text: "two" }, deadline(), done)))[0]);
const other = new p.Other(target, credentials);
const [denied] = await one((done) => other.Unary({ text: "three" }, deadline(), done));
console.log("denied:", denied.replace(/ .*no-rule.*/s, " no-rule"));
const [collected] = await one((done) => {
  const call = client.Collect(deadline(), done);
  for (const each of ["a", "b", "c"]) call.write({ text: each });
  call.end();
  return call;
});
console.log("client stream:", collected);
console.log("server stream:", (await texts(client.Count({ text: "5" }, deadline()))).join());
const both = client.Both(deadline());
for (const each of ["x", "y"]) both.write({ text: each });
both.end();
console.log("bidi:", (await texts(both)).join());
console.log(
  "deadline:",
  await texts(client.Endless({}, { deadline: Date.now() + 500 })).catch(({ code }) => grpc.status[code]),
);
const endless = client.Endless({}, deadline());
endless.once("data", () => endless.cancel());
console.log("cancel:", await texts(endless).catch(({ code }) => grpc.status[code]));

const reflection = grpc.loadPackageDefinition(protoLoader.loadSync(
  fileURLToPath(new URL("node_modules/@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto", import.meta.url)),
)).grpc.reflection.v1.ServerReflection;
const about = new reflection(target, credentials).ServerReflectionInfo(deadline());
about.write({ listServices: "" });
about.once("data", (answer) => {
  console.log("reflection:", answer.listServicesResponse.service.map(({ name }) => name).filter((name) => name.startsWith("p.")).join());
  about.end();
  process.exit(0);
});
