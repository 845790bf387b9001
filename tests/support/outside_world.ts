/**
 * Stand-ins for the places that docs/RECIPES.md names, as a process of its own in a network namespace: a git host, an image
 * registry with its token realm and its CDN, and the interfaces that agents and `gh` ask. Each takes only the real credential,
 * and writes down what it was sent.
 *
 *     deno run -A outside_world.ts FOLDER ADDRESS CERT KEY
 *
 * @module
 */
import { serveGit } from "./git_server.ts";
import { REGISTRY_HOSTS, serveRegistryFile } from "./registry_files.ts";

/** What only the host has: by variable, as the document's commands read them. */
export const REAL: Readonly<Record<string, string>> = {
  GITHUB_PAT: "ghp_real0000000000000000000000000000real",
  DOCKER_USER: "acme",
  DOCKER_PAT: "dckr_pat_real-of-the-host",
  ANTHROPIC_API_KEY: "sk-ant-api03-real-of-the-host",
  OPENAI_API_KEY: "sk-proj-real-of-the-host",
  COPILOT_PAT: "github_pat_real-of-the-host",
  LLM_KEY: "llm-key-real-of-the-host",
};

/** The hosts that are served. */
export const HOSTS = [
  "github.com",
  "api.github.com",
  "auth.docker.io",
  "registry-1.docker.io",
  "production.cloudflare.docker.com",
  "api.anthropic.com",
  "api.openai.com",
  "chatgpt.com",
  "api.individual.githubcopilot.com",
  "api.example.com",
  ...REGISTRY_HOSTS,
] as const;

/** The access tokens in the logins that the host adopts. */
export const CLAUDE_LOGIN = "sk-ant-oat01-real-of-the-host";
export const CODEX_ACCOUNT = "acct-real-of-the-host";

/** What the registry's realm gives out: good for one repository, and for minutes. */
const PULL_TOKEN = "short-lived-pull-token";
const LAYER = new TextEncoder().encode("a layer of the image\n");
const CONFIG = new TextEncoder().encode(
  JSON.stringify({
    architecture: "amd64",
    os: "linux",
    config: {},
    rootfs: { type: "layers", diff_ids: [] },
  }),
);

type Serve = (request: Request, url: URL) => Response | Promise<Response>;

const [folder = "", hostname = "", certFile = "", keyFile = ""] = import.meta.main ? Deno.args : [];

const SERVED: Readonly<Record<string, Serve>> = {
  "github.com": (request) =>
    has(request, `Basic ${btoa(`x-access-token:${REAL.GITHUB_PAT}`)}`)
      ? serveGit(`${folder}/git`, request)
      : challenge('Basic realm="GitHub"'),
  "api.github.com": (request, { pathname }) => {
    if (pathname === "/copilot_internal/user") {
      return has(request, `Bearer ${REAL.COPILOT_PAT}`)
        ? Response.json({ login: "acme", endpoints: { api: "https://api.individual.githubcopilot.com" } })
        : challenge("Bearer");
    }
    if (!has(request, `Bearer ${REAL.GITHUB_PAT}`)) return challenge("Bearer");
    return Response.json({ full_name: pathname.replace("/repos/", ""), default_branch: "main" });
  },
  "auth.docker.io": (request, { searchParams }) =>
    has(request, `Basic ${btoa(`${REAL.DOCKER_USER}:${REAL.DOCKER_PAT}`)}`) &&
      searchParams.get("scope") === "repository:acme/app:pull"
      ? Response.json({ token: PULL_TOKEN, expires_in: 300 })
      : challenge("Basic"),
  "registry-1.docker.io": serveRegistry,
  "production.cloudflare.docker.com": (request, { pathname, searchParams }) => {
    // A signed URL is the CDN's credential: another beside it would be refused there.
    if (searchParams.get("verify") !== "signed" || request.headers.has("authorization")) {
      return new Response("", { status: 400 });
    }
    return new Response(pathname.endsWith(layerDigest) ? LAYER : CONFIG);
  },
  "api.anthropic.com": (request, { pathname }) => {
    const isKey = request.headers.get("x-api-key") === REAL.ANTHROPIC_API_KEY;
    const isLogin = has(request, `Bearer ${CLAUDE_LOGIN}`) &&
      /oauth-2025-04-20/.test(request.headers.get("anthropic-beta") ?? "");
    if (!isKey && !isLogin) return challenge("Bearer");
    return pathname === "/v1/messages" ? anthropicAnswer(request) : Response.json({});
  },
  "api.openai.com": (request, url) =>
    has(request, `Bearer ${REAL.OPENAI_API_KEY}`) ? openaiAnswer(request, url) : challenge("Bearer"),
  "chatgpt.com": (request, url) =>
    request.headers.get("chatgpt-account-id") === CODEX_ACCOUNT &&
      (request.headers.get("authorization") ?? "").endsWith(".real-signature")
      ? openaiAnswer(request, url)
      : challenge("Bearer"),
  "api.individual.githubcopilot.com": (request) =>
    has(request, `Bearer ${REAL.COPILOT_PAT}`)
      ? Response.json({ choices: [{ message: { role: "assistant", content: "hello from the stand-in" } }] })
      : challenge("Bearer"),
  "api.example.com": (request, url) =>
    has(request, `Bearer ${REAL.LLM_KEY}`) ? exampleAnswer(url) : challenge("Bearer"),
  ...Object.fromEntries(REGISTRY_HOSTS.map((host) => [host, serveFile])),
};

/** The public registries, as `makeRegistries` wrote them. */
function serveFile(_request: Request, url: URL): Promise<Response> {
  return serveRegistryFile(`${folder}/registries`, url);
}

/** For programs that want a registry: npm's document of a package, cargo's index and search. */
function exampleAnswer({ pathname, origin }: URL): Response {
  const answers: Readonly<Record<string, unknown>> = {
    "/v1/npm/demo": {
      name: "demo",
      "dist-tags": { latest: "1.0.0" },
      versions: { "1.0.0": { name: "demo", version: "1.0.0" } },
    },
    "/v1/index/config.json": { dl: `${origin}/v1/dl`, api: `${origin}/v1` },
    "/v1/api/v1/crates": {
      crates: [{ name: "demo", max_version: "1.0.0", description: "d" }],
      meta: { total: 1 },
    },
  };
  return Response.json(answers[pathname] ?? { data: ["model-1"] });
}

/** The distribution spec's pull: the realm, a manifest, and blobs that another host has. */
function serveRegistry(request: Request, { pathname }: URL): Response {
  if (!has(request, `Bearer ${PULL_TOKEN}`)) {
    return challenge('Bearer realm="https://auth.docker.io/token",service="registry.docker.io"');
  }
  if (pathname === "/v2/") return Response.json({});
  if (pathname.startsWith("/v2/acme/app/manifests/")) {
    return new Response(request.method === "HEAD" ? null : manifest, {
      headers: {
        "content-type": "application/vnd.oci.image.manifest.v1+json",
        "content-length": String(manifest.length),
        "docker-content-digest": manifestDigest,
      },
    });
  }
  const digest = pathname.replace("/v2/acme/app/blobs/", "");
  const location = `https://production.cloudflare.docker.com/registry-v2/${digest}?verify=signed`;
  return new Response(null, { status: 307, headers: { location } });
}

async function anthropicAnswer(request: Request): Promise<Response> {
  const { stream } = JSON.parse(await request.text() || "{}");
  const text = "hello from the stand-in";
  const message = { id: "msg_1", type: "message", role: "assistant", model: "claude-stand-in" };
  const usage = { input_tokens: 1, output_tokens: 1 };
  if (!stream) {
    return Response.json({ ...message, content: [{ type: "text", text }], stop_reason: "end_turn", usage });
  }
  return events([
    ["message_start", { message: { ...message, content: [], stop_reason: null, usage } }],
    ["content_block_start", { index: 0, content_block: { type: "text", text: "" } }],
    ["content_block_delta", { index: 0, delta: { type: "text_delta", text } }],
    ["content_block_stop", { index: 0 }],
    ["message_delta", { delta: { stop_reason: "end_turn", stop_sequence: null }, usage }],
    ["message_stop", {}],
  ]);
}

function openaiAnswer({ method }: Request, { pathname }: URL): Response {
  // Codex asks for much else, a WebSocket among it, and goes on without.
  if (method !== "POST" || !pathname.endsWith("/responses")) {
    return Response.json({ detail: "Not Found" }, { status: 404 });
  }
  const text = "hello from the stand-in";
  const item = { type: "message", role: "assistant", id: "m1", content: [{ type: "output_text", text }] };
  const usage = { input_tokens: 1, output_tokens: 1, total_tokens: 2 };
  return events([
    ["response.created", { response: { id: "r1" } }],
    ["response.output_item.done", { output_index: 0, item }],
    ["response.completed", { response: { id: "r1", output: [item], usage } }],
  ]);
}

function events(list: readonly (readonly [string, Record<string, unknown>])[]): Response {
  const text = list.map(([type, data]) => `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`);
  return new Response(text.join(""), { headers: { "content-type": "text/event-stream" } });
}

function has(request: Request, authorization: string): boolean {
  return request.headers.get("authorization") === authorization;
}

function challenge(scheme: string): Response {
  return new Response("who are you?\n", { status: 401, headers: { "www-authenticate": scheme } });
}

async function digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return `sha256:${[...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

const layerDigest = await digestOf(LAYER);
const manifest = new TextEncoder().encode(JSON.stringify({
  schemaVersion: 2,
  mediaType: "application/vnd.oci.image.manifest.v1+json",
  config: {
    mediaType: "application/vnd.oci.image.config.v1+json",
    size: CONFIG.length,
    digest: await digestOf(CONFIG),
  },
  layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar", size: LAYER.length, digest: layerDigest }],
}));
const manifestDigest = await digestOf(manifest);

async function serveOutside(request: Request): Promise<Response> {
  const url = new URL(request.url);
  const serve = Object.hasOwn(SERVED, url.hostname) ? SERVED[url.hostname] : undefined;
  const answer = await serve?.(request, url) ?? new Response("", { status: 404 });
  const line = `${request.method} ${url.hostname}${url.pathname} ${answer.status}\n`;
  await Deno.writeTextFile(`${folder}/seen.log`, line, { append: true });
  return answer;
}

if (import.meta.main) {
  // For apt, which speaks HTTP in clear.
  Deno.serve({ hostname, port: 80, onListen: () => {} }, serveOutside);
  Deno.serve({
    hostname,
    port: 443,
    cert: await Deno.readTextFile(certFile),
    key: await Deno.readTextFile(keyFile),
    onListen: () => Deno.stdout.writeSync(new TextEncoder().encode("ready\n")),
  }, serveOutside);
}
