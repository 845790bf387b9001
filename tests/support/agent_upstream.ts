/**
 * The servers of the outside world for the helper's tests, as a process of its own: files by host name over HTTP and
 * HTTPS, a resolver over HTTPS that knows one name, and a name server that knows none and writes down what it is asked.
 *
 *     deno run -A agent_upstream.ts FOLDER ADDRESS CERT KEY
 *
 * @module
 */
import { createSocket } from "node:dgram";
import { formatDnsAnswer, parseDnsQuery } from "../../core/dns_message.ts";

const [folder = "", hostname = "", certFile = "", keyFile = ""] = Deno.args;

async function serveFile(request: Request): Promise<Response> {
  const url = new URL(request.url);
  const host = url.hostname; // HTTP/2 has no Host field
  const seen = `${request.method} ${url.protocol}//${host}${url.pathname}`;
  await Deno.writeTextFile(`${folder}/seen.log`, seen + "\n", { append: true });
  if (host === "dns.example.com" && request.method === "POST") {
    const query = parseDnsQuery(new Uint8Array(await request.arrayBuffer()));
    const isKnown = query.name === "api.example.com";
    const answer = { rcode: isKnown ? 0 : 3, addresses: isKnown ? [hostname] : [], ttl: 60 };
    return new Response(new Uint8Array(formatDnsAnswer(query, answer)), {
      headers: { "content-type": "application/dns-message" },
    });
  }
  const path = `${folder}/${host}${decodeURIComponent(url.pathname)}`.replace(/\/$/, "/index.html");
  if (path.includes("..")) return new Response("no", { status: 400 });
  try {
    const body = await Deno.readFile(path);
    const type = path.endsWith(".html") ? "text/html" : "application/octet-stream";
    return new Response(request.method === "HEAD" ? null : body, {
      headers: { "content-type": type, "content-length": String(body.length) },
    });
  } catch {
    return new Response("not found\n", { status: 404 });
  }
}

Deno.serve({ hostname, port: 80, onListen: () => {} }, serveFile);
Deno.serve({
  hostname,
  port: 443,
  cert: await Deno.readTextFile(certFile),
  key: await Deno.readTextFile(keyFile),
  onListen: () => {},
}, serveFile);

const names = createSocket("udp4");
names.on("message", (message, from) => {
  const query = parseDnsQuery(message);
  Deno.writeTextFileSync(`${folder}/names.log`, query.name + "\n", { append: true });
  const answer = new Uint8Array(message);
  answer[2] = 0x81;
  answer[3] = 0x83; // NXDOMAIN
  names.send(answer, from.port, from.address);
});
names.bind(53, hostname, () => Deno.writeTextFileSync(`${folder}/ready`, ""));
