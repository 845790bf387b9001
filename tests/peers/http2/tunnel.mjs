// A TLS connection through CONNECT, as Node's programs open one. PROXY is http://proxy:TOKEN@HOST:PORT, CA a file.
import { readFileSync } from "node:fs";
import http from "node:http";
import tls from "node:tls";

const { PROXY, CA } = process.env;
export const ca = readFileSync(CA);

export async function openTunnel(target) {
  const { hostname, port, username, password } = new URL(PROXY);
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  const request = http.request({
    hostname,
    port,
    method: "CONNECT",
    path: target,
    headers: { host: target, "proxy-authorization": authorization },
  });
  request.end();
  const socket = await new Promise((resolve, reject) => {
    request.on("connect", (response, socket) =>
      response.statusCode === 200 ? resolve(socket) : reject(new Error(`CONNECT: ${response.statusCode}`))
    );
    request.on("error", reject);
  });
  const secure = tls.connect({ socket, servername: "localhost", ca, ALPNProtocols: ["h2"] });
  await new Promise((resolve, reject) => secure.on("secureConnect", resolve).on("error", reject));
  return secure;
}
