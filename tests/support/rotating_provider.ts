/** A token endpoint that uses up refresh tokens, over plain HTTP on loopback, and knows who has used which how often. */
import { ProxyError } from "../../core/errors.ts";

/** One use of a refresh token. */
export interface TokenUse {
  readonly by: string;
  readonly token: string;
  readonly atMs: number;
  /** False for one that was not good any more. */
  readonly isTaken: boolean;
}

export class RotatingProvider implements AsyncDisposable {
  readonly uses: TokenUse[] = [];
  /** Tokens that two asked with at a time. */
  readonly clashes: string[] = [];
  /** Takes the token used last once more, for the same answer, as some providers do. */
  isGraceful = true;
  /** Is waited for when a request has come, before it is answered. */
  onRequest: (by: string) => Promise<void> | void = () => {};
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #underWay = new Set<string>();
  readonly #prefix: string;
  #number = 0;

  /** @param prefix of its tokens: no two secrets may hold one login */
  constructor(prefix = "") {
    this.#prefix = prefix;
    const options = { hostname: "127.0.0.1", port: 0, onListen() {} };
    this.#server = Deno.serve(options, (request) => this.#answer(request));
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/token`;
  }

  /** What the next renewal has to show. */
  get refreshToken(): string {
    return this.#refreshToken(this.#number);
  }

  /** What is good upstream. */
  get accessToken(): string {
    return `${this.#prefix}access-token-number-${this.#number}`;
  }

  usesOf(number: number): readonly TokenUse[] {
    return this.uses.filter(({ token }) => token === this.#refreshToken(number));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  #refreshToken(number: number): string {
    return `${this.#prefix}refresh-token-number-${number}`;
  }

  async #answer(request: Request): Promise<Response> {
    const by = request.headers.get("x-host") ?? "";
    const token = new URLSearchParams(await request.text()).get("refresh_token") ?? "";
    const isAgain = token === this.#refreshToken(this.#number - 1) && this.isGraceful;
    const isTaken = token === this.refreshToken || isAgain;
    this.uses.push({ by, token, atMs: performance.now(), isTaken });
    if (this.#underWay.has(token)) this.clashes.push(token);
    this.#underWay.add(token);
    try {
      await this.onRequest(by);
    } finally {
      this.#underWay.delete(token);
    }
    if (!isTaken) return Response.json({ error: "invalid_grant" }, { status: 400 });
    if (!isAgain) this.#number++;
    return Response.json({
      access_token: this.accessToken,
      refresh_token: this.refreshToken,
      token_type: "Bearer",
      expires_in: 3_600,
    });
  }
}

/** Calls to it in the name of a host, as `providerCall()` makes them. */
export function callAs(host: string, provider: string) {
  return async (
    request: {
      readonly headers: Readonly<Record<string, string>>;
      readonly body?: string;
      maySend?: () => boolean;
    },
    signal: AbortSignal,
  ) => {
    if (request.maySend?.() === false) {
      throw new ProxyError("limit.reached", "Cannot call: it took too long to get there");
    }
    const headers = { ...request.headers, "x-host": host };
    const response = await fetch(provider, { method: "POST", headers, body: request.body ?? "", signal });
    return {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: await response.text(),
    };
  };
}

/** The login that it begins with, as `secret create --type oauth-refresh` takes it. */
export function firstLogin({ refreshToken }: RotatingProvider): string {
  return JSON.stringify({
    token_endpoint: "https://login.example.com/token",
    client_id: "client",
    client_secret: "client-secret",
    refresh_token: refreshToken,
  });
}
