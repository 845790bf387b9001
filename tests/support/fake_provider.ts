/**
 * A provider of credentials over real TLS that behaves as the real ones do: refresh tokens work once, using one twice
 * kills the login, and an answer may be slow, lost, malformed or an error in a 200. It checks what it is sent.
 */
import { Buffer } from "node:buffer";
import { createPublicKey, verify } from "node:crypto";
import { parseCidr } from "../../core/cidr.ts";
import { Deadlines } from "../../core/deadlines.ts";
import { DEFAULT_LIMITS, type Limits } from "../../core/limits.ts";
import { hasNativeCalls } from "../../core/native.ts";
import { Admission } from "../../proxy/accept/admission.ts";
import { providerCall } from "../../proxy/egress/provider_call.ts";
import { Dialler } from "../../proxy/egress/dialler.ts";
import type { ProviderCall } from "../../secrets/provider_call.ts";
import { readRequest, type SeenRequest, startRawUpstream } from "./echo_upstream.ts";
import { upstreamAuthority } from "./test_authority.ts";

// Opened here: it stays open for the process, which the sanitizer would count against the first test.
hasNativeCalls();

/** An answer. */
export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: unknown;
}

/**
 * What to do with the next request instead of answering well: answer something else; do the work and cut the connection
 * (`lost`); cut it before (`cut`); or do the work and wait for {@linkcode FakeProvider.release} before answering (`slow`), or
 * wait without doing anything (`stuck`).
 */
export type Mood = Answer | "lost" | "cut" | "slow" | "stuck";

export interface FakeProviderOptions {
  /** Of access tokens, seconds; undefined leaves `expires_in` out. Default 3600. */
  readonly expiresIn?: number | string | null;
  /** The public key that a GitHub App's tokens must verify with. */
  readonly appPublicKeyPem?: string;
  /** Its name; the default is one that only tests resolve. */
  readonly host?: string;
  /** What token answers hold beside the usual. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** One account with one login. */
export class FakeProvider implements AsyncDisposable {
  readonly origin: string;
  readonly port: number;
  /** Every request, in order. */
  readonly seen: SeenRequest[] = [];
  /** Every token ever issued: none may be found anywhere. */
  readonly issued: string[] = [];
  /** What the next requests meet. */
  readonly moods: Mood[] = [];
  /** The only refresh token that works; undefined once the login is dead. */
  refreshToken: string | undefined;
  accessToken = "";
  expiresIn: number | string | null;
  readonly #options: FakeProviderOptions;
  readonly #close: () => PromiseLike<void>;
  #serial = 0;
  #gate = Promise.withResolvers<void>();

  private constructor(port: number, options: FakeProviderOptions, close: () => PromiseLike<void>) {
    this.port = port;
    this.origin = `https://${options.host ?? "auth.test"}:${port}`;
    this.#options = options;
    this.#close = close;
    this.expiresIn = options.expiresIn === undefined ? 3_600 : options.expiresIn;
    this.#issue();
  }

  static async start(options: FakeProviderOptions = {}): Promise<FakeProvider> {
    const upstream = await startRawUpstream(async (peer) => {
      const request = await readRequest(peer);
      if (!request) return;
      provider.seen.push(request);
      const mood = provider.moods.shift();
      if (mood === "stuck") await provider.#gate.promise;
      if (mood === "cut" || mood === "stuck") return;
      const answer = typeof mood === "object" ? mood : provider.#answer(request);
      if (mood === "lost") return;
      if (mood === "slow") await provider.#gate.promise;
      const body = typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body);
      const headers = Object.entries(answer.headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`)
        .join("");
      await peer.send(
        `HTTP/1.1 ${answer.status} X\r\nContent-Type: application/json\r\n${headers}` +
          `Content-Length: ${body.length}\r\n\r\n${body}`,
      );
    }, { names: [options.host ?? "auth.test"] });
    const provider = new FakeProvider(upstream.port, options, () => upstream[Symbol.asyncDispose]());
    return provider;
  }

  /** The token endpoint of all grants. */
  get tokenEndpoint(): string {
    return `${this.origin}/oauth/token`;
  }

  /** Requests to the token endpoint so far. */
  get refreshes(): number {
    return this.seen.filter(({ requestLine }) => requestLine.includes(" /oauth/token ")).length;
  }

  /** Lets slow answers go. */
  release(): void {
    this.#gate.resolve();
    this.#gate = Promise.withResolvers();
  }

  /** Somebody else renews the login. */
  rotateElsewhere(): { readonly access: string; readonly refresh: string } {
    this.#issue();
    return { access: this.accessToken, refresh: this.refreshToken ?? "" };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
    await this.#close();
  }

  #issue(): void {
    const serial = ++this.#serial;
    this.accessToken = `planted-access-${serial}-${crypto.randomUUID()}`;
    this.refreshToken = `planted-refresh-${serial}-${crypto.randomUUID()}`;
    this.issued.push(this.accessToken, this.refreshToken);
  }

  #tokenBody(withRefresh: boolean): Answer {
    return {
      status: 200,
      body: {
        access_token: this.accessToken,
        token_type: "Bearer",
        ...(withRefresh ? { refresh_token: this.refreshToken } : {}),
        ...(this.expiresIn === null ? {} : { expires_in: this.expiresIn }),
        ...this.#options.extra,
      },
    };
  }

  #answer(request: SeenRequest): Answer {
    const [method = "", target = ""] = request.requestLine.split(" ");
    if (target === "/oauth/token" && method === "POST") return this.#token(request);
    if (target === "/copilot_internal/v2/token") return this.#copilot(request);
    if (/\/installation$|^\/app\/installations/.test(target)) return this.#githubApp(method, target, request);
    return { status: 404, body: {} };
  }

  #token(request: SeenRequest): Answer {
    const isJson = /application\/json/.test(header(request, "content-type"));
    const form: Record<string, string> = isJson
      ? JSON.parse(request.body)
      : Object.fromEntries(new URLSearchParams(request.body));
    if (form.grant_type === "client_credentials") {
      const basic = header(request, "authorization");
      const pair = Buffer.from(basic.replace(/^Basic /, ""), "base64").toString();
      const isKnown = pair === "id%3A1:planted+secret%2B%25" ||
        (form.client_id === "id:1" && form.client_secret === "planted secret+%");
      if (!isKnown) return { status: 401, body: { error: "invalid_client" } };
      this.#issue();
      return this.#tokenBody(false);
    }
    if (form.grant_type === "urn:ietf:params:oauth:grant-type:jwt-bearer") return this.#jwtBearer(form);
    const isNamed = form.client_id || header(request, "authorization").startsWith("Basic ");
    if (form.grant_type !== "refresh_token" || !isNamed) {
      return { status: 400, body: { error: "invalid_request" } };
    }
    if (form.refresh_token !== this.refreshToken) {
      this.refreshToken = undefined; // reuse: the whole login is dead
      return {
        status: 400,
        body: { error: "invalid_grant", error_description: `${form.refresh_token} was used` },
      };
    }
    this.#issue();
    return this.#tokenBody(true);
  }

  /** As Google does: an ID token for whoever wants one for an audience. */
  #jwtBearer({ assertion = "" }: Record<string, string>): Answer {
    if (!isSignedWith(this.#options.appPublicKeyPem, assertion)) {
      return { status: 400, body: { error: "invalid_grant", error_description: "Invalid JWT Signature." } };
    }
    const claims = JSON.parse(Buffer.from(assertion.split(".")[1] ?? "", "base64url").toString());
    this.#issue();
    if (claims.target_audience === undefined) return this.#tokenBody(false);
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const payload = { aud: claims.target_audience, exp: claims.iat + 3_660, jti: this.accessToken };
    const idToken = `${part({ alg: "none" })}.${part(payload)}.x`;
    this.issued.push(idToken);
    return { status: 200, body: { id_token: idToken } };
  }

  #copilot(request: SeenRequest): Answer {
    if (!/^token ghu_/.test(header(request, "authorization"))) {
      return { status: 401, body: { message: "Bad credentials" } };
    }
    if (header(request, "editor-version") === "") {
      return { status: 400, body: { message: "missing Editor-Version" } };
    }
    this.#issue();
    return {
      status: 200,
      body: { token: `tid=${this.accessToken};exp=1`, refresh_in: 1_500, expires_at: 5 },
    };
  }

  #githubApp(method: string, target: string, request: SeenRequest): Answer {
    const jwt = header(request, "authorization").replace(/^Bearer /, "");
    if (!isSignedWith(this.#options.appPublicKeyPem, jwt)) {
      return { status: 401, body: { message: "A JSON web token could not be decoded" } };
    }
    if (target === "/repos/acme/widgets/installation" || target === "/orgs/acme/installation") {
      return { status: 200, body: { id: 77 } };
    }
    if (target.startsWith("/app/installations?")) return { status: 200, body: [{ id: 77 }] };
    if (method === "POST" && target === "/app/installations/77/access_tokens") {
      this.#issue();
      const expiresAt = new Date(Date.UTC(2026, 10, 1) + 3_600_000).toISOString();
      return { status: 201, body: { token: `ghs_${this.accessToken}`, expires_at: expiresAt } };
    }
    return { status: 404, body: { message: "Not Found" } };
  }
}

function isSignedWith(publicKeyPem: string | undefined, jwt: string): boolean {
  const [head = "", payload = "", signature = ""] = jwt.split(".");
  return verify(
    "RSA-SHA256",
    Buffer.from(`${head}.${payload}`),
    createPublicKey(publicKeyPem ?? ""),
    Buffer.from(signature, "base64url"),
  );
}

/** The value of a header, empty when it is not there. */
export function header(request: SeenRequest, name: string): string {
  const line = request.headers.find((each) => each.toLowerCase().startsWith(`${name}:`));
  return line === undefined ? "" : line.slice(name.length + 1).trim();
}

/** The real way to providers; every name is this machine. */
export async function testProviderCall(
  { limits = {}, allowCidrs = ["127.0.0.0/8"], denyCidrs = [], trusted = true }: {
    readonly limits?: Partial<Limits>;
    readonly allowCidrs?: readonly string[];
    readonly denyCidrs?: readonly string[];
    readonly trusted?: boolean;
  } = {},
): Promise<ProviderCall> {
  const { caPem } = await upstreamAuthority();
  const all = { ...DEFAULT_LIMITS, ...limits };
  const dialler = new Dialler({
    limits: all,
    deadlines: new Deadlines(),
    admission: new Admission(all),
    resolve: () => Promise.resolve(["127.0.0.1"]),
    addresses: { allowCidrs: allowCidrs.map(parseCidr), denyCidrs: denyCidrs.map(parseCidr) },
    caCertsFor: () => trusted ? [caPem] : [],
    ownAddresses: () => [],
  });
  return providerCall(dialler, all);
}
