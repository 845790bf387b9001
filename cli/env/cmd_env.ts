/**
 * `env`: what a VM of one client needs in its environment: the way to the proxy, the CA, and placeholders with which tools
 * start that want a credential. The proxy puts the real one in their place; one that it does not replace it denies.
 *
 * @module
 */
import { ProxyError } from "../../core/errors.ts";
import { parseIp } from "../../core/cidr.ts";
import { formatHost, formatHostPort, type HostPort, parseAuthority } from "../../core/host_port.ts";
import { parseName } from "../../core/names.ts";
import { hostWithin } from "../../policy/rule.ts";
import { type ApiClient, apiClient, type JsonObject, segment } from "../api/client.ts";
import type { CommandArgs } from "../command/command.ts";
import { usageError } from "../command/parse.ts";
import { readSecret } from "../rules/secret_input.ts";
import type { Io } from "../terminal/io.ts";
import { formatEnvironment, FORMATS } from "./formats.ts";
import { fileFor, type ToolFile } from "./tool_files.ts";
import { variablesFor } from "./tools.ts";

/** What stands where a token belongs that nobody has given. */
const TOKEN_PLACE = "TOKEN";

/** Prints it. */
export async function run(args: CommandArgs, io: Io): Promise<void> {
  const client = parseName("client", args.argument("CLIENT"));
  const user = parseName("user", args.textOf("user"));
  const format = FORMATS.find((each) => each === args.textOf("format")) ?? "sh";
  const api = await apiClient(args, io);
  const given = await readSecret(args, io, { what: "token", value: "token", files: ["token-file"] });
  if (given && args.has("rotate")) {
    throw usageError("Cannot use a token and --rotate together", "leave out one of them");
  }
  // Everything that can fail comes before the old token ends.
  const rules = await api.list(`clients/${segment(client)}`);
  const { variables: placeholders, files } = placeholdersFor(rules, await api.list("secrets"));
  const proxy = await proxyPlaces(args, api);
  const token = given?.text ?? (args.has("rotate") ? await rotate(api, client, io) : undefined);
  // The way out comes last: a secret's own name must not stand in for it.
  const variables = new Map([
    ...placeholders,
    ...proxyVariables(proxy, token ?? TOKEN_PLACE, args.has("plain")),
    ...caVariables(args),
  ]);
  io.output.data(formatEnvironment({ variables, files }, format, user));
  if (token === undefined) {
    io.output.warn(
      `put the client's token where ${TOKEN_PLACE} stands: it is not stored, so --token-file names it, or --rotate makes a new one`,
    );
  }
  if (format === "dotenv" && files.length > 0) {
    io.output.warn(
      `left out, since this format holds variables alone: ${files.map(({ path }) => `~/${path}`).join(", ")}`,
    );
  }
}

interface ProxyPlaces {
  readonly plain: HostPort;
  readonly tls: HostPort;
}

/** Where VMs find the proxy: what it is bound to, unless that is no address of one machine. @throws ProxyError `cli.usage` */
async function proxyPlaces(args: CommandArgs, api: ApiClient): Promise<ProxyPlaces> {
  const { bind: first, binds, http_port: httpPort, https_port: httpsPort } = await api.object(
    "GET",
    "status",
  );
  const bind = (Array.isArray(binds) ? binds.find(isOfOneMachine) : undefined) ?? first;
  const named = args.text("proxy");
  if (typeof httpPort !== "number" || typeof httpsPort !== "number" || typeof bind !== "string") {
    throw new ProxyError("api.refused", "Cannot find the proxy's ports: its status does not tell them");
  }
  const text = named ?? bind;
  const place = parseAuthority(parseIp(text) ? formatHost(text) : text, httpPort);
  if (!place) throw usageError("Cannot use this --proxy: it is no host", "write --proxy 192.168.222.1");
  const { host } = place;
  if (named === undefined && (host === "0.0.0.0" || host === "::")) {
    throw usageError(
      `Cannot tell where VMs find the proxy: it listens on ${bind}`,
      "write --proxy 192.168.64.1",
    );
  }
  return { plain: { host, port: httpPort }, tls: { host, port: httpsPort } };
}

/** True for an address that VMs can be told of. */
function isOfOneMachine(address: unknown): boolean {
  return typeof address === "string" && !["0.0.0.0", "::", "::1"].includes(address) &&
    !address.startsWith("127.");
}

/** In both cases, for some programs read the one and some the other. */
function proxyVariables(
  { plain, tls }: ProxyPlaces,
  token: string,
  isPlain: boolean,
): readonly (readonly [string, string])[] {
  // encodeURIComponent leaves characters that a shell or a parser of .env files gives a meaning.
  const encoded = encodeURIComponent(token).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16)}`,
  );
  const http = `http://proxy:${encoded}@${formatHostPort(plain)}`;
  const https = isPlain ? http : `https://proxy:${encoded}@${formatHostPort(tls)}`;
  const none = `localhost,127.0.0.1,::1,${plain.host}`;
  return [["HTTP_PROXY", http], ["HTTPS_PROXY", https], ["NO_PROXY", none]].flatMap((
    [name = "", value = ""],
  ) => [
    [name, value] as const,
    [name.toLowerCase(), value] as const,
  ]);
}

function caVariables(args: CommandArgs): readonly (readonly [string, string])[] {
  const ca = args.textOf("ca");
  const bundle = args.textOf("ca-bundle");
  return [
    // These add to the program's own list, so the proxy's CA alone does.
    ...["NODE_EXTRA_CA_CERTS", "DENO_CERT"].map((name) => [name, ca] as const),
    // These replace it: all that the VM trusts.
    ...[
      "SSL_CERT_FILE",
      "REQUESTS_CA_BUNDLE",
      "CURL_CA_BUNDLE",
      "PIP_CERT",
      "AWS_CA_BUNDLE",
      "GIT_SSL_CAINFO",
    ]
      .map((name) => [name, bundle] as const),
    ...["CARGO_HTTP_CAINFO", "NIX_SSL_CERT_FILE"].map((name) => [name, bundle] as const),
    // Node reads the proxy variables only when it is told to.
    ["NODE_USE_ENV_PROXY", "1"],
  ];
}

/** For each secret that a rule of the client names, in the rules' order. The first secret has a variable. */
function placeholdersFor(rules: readonly JsonObject[], secrets: readonly JsonObject[]) {
  const variables = new Map<string, string>();
  const files = new Map<string, ToolFile>();
  for (const name of new Set(rules.map(({ secret }) => secret))) {
    const secret = secrets.find((each) => each.name === name);
    if (typeof secret?.host !== "string" || typeof secret.type !== "string") continue;
    const { host, type } = secret;
    const env = Array.isArray(secret.env) ? secret.env.map(String) : [];
    for (const [variable, value] of variablesFor({ host, type, env }, (known) => hostWithin(known, host))) {
      if (!variables.has(variable)) variables.set(variable, value);
    }
    const file = fileFor(type);
    if (file && !files.has(file.path)) files.set(file.path, file);
  }
  return { variables, files: [...files.values()] };
}

async function rotate(api: ApiClient, client: string, io: Io): Promise<string> {
  const { token } = await api.object("POST", `clients/${segment(client)}/rotate`);
  if (typeof token !== "string") {
    throw new ProxyError("api.refused", "Cannot show the token: the API's answer holds none");
  }
  io.output.note(`client ${client} has a new token; the old one no longer works`);
  return token;
}
