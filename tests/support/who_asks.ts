/**
 * An upstream that says from which address it was asked, over TLS on port 443, and in clear on 80.
 *
 *     deno run -A who_asks.ts V4 V6 CERT KEY
 */
const [v4 = "", v6 = "", certFile = "", keyFile = ""] = Deno.args;
const [cert, key] = [certFile, keyFile].map((file) => Deno.readTextFileSync(file));
const answer = (_: Request, { remoteAddr }: Deno.ServeHandlerInfo<Deno.NetAddr>) =>
  new Response(remoteAddr.hostname);
const onListen = () => {};
for (const hostname of [v4, v6]) {
  Deno.serve({ hostname, port: 443, cert: cert ?? "", key: key ?? "", onListen }, answer);
  Deno.serve({ hostname, port: 80, onListen }, answer);
}
await Deno.stdout.write(new TextEncoder().encode("ready\n"));
