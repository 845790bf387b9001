// node connect_client.mjs HOST:PORT: the same calls in all three protocols that Connect speaks.
import { Code, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { Other, S } from "./connect_service.mjs";
import { openTunnel } from "./tunnel.mjs";

const [target] = process.argv.slice(2);
const rows = { connect: createConnectTransport, grpc: createGrpcTransport, "grpc-web": createGrpcWebTransport };
for (const [name, makeTransport] of Object.entries(rows)) {
  const socket = await openTunnel(target);
  const transport = makeTransport({
    httpVersion: "2",
    baseUrl: `https://${target}`,
    nodeOptions: { createConnection: () => socket },
  });
  const client = createClient(S, transport);
  const failure = (error) => `${Code[error.code]} ${error.rawMessage.replace(/.*no-rule.*/s, "no-rule")}`;
  const texts = async (answers) => {
    const all = [];
    for await (const { text } of answers) all.push(text);
    return all.join();
  };
  const both = async function* () {
    yield { text: "x" };
    yield { text: "y" };
  };
  console.log([
    name,
    (await client.unary({ text: "one" }, { headers: { authorization: "Bearer MINE" } })).text,
    await client.fail({ text: "two" }).catch(failure),
    await createClient(Other, transport).unary({ text: "three" }).catch(failure),
    await texts(client.count({ text: "3" })),
    await texts(client.both(both())),
  ].join(" | "));
  socket.destroy();
}
process.exit(0);
