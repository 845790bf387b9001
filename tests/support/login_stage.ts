/** A provider, an upstream that takes only the provider's present token, and the proxy with an adopted login between. */
import type { Rule } from "../../policy/rule.ts";
import { Rig } from "../unit/secrets/support.ts";
import { readRequest, type SeenRequest, startRawUpstream, type Upstream } from "./echo_upstream.ts";
import { FakeProvider, header } from "./fake_provider.ts";
import { openTlsTunnel, type RawPeer } from "./raw_peer.ts";
import { startTestProxy, type TestProxy, TOKEN } from "./start_proxy.ts";

export const HOUR = 3_600_000;

/** See each field. */
export interface StageOptions {
  readonly type?: "oauth-claude" | "oauth-xai" | "oauth-codex";
  /** The upstream's answer to any but the present token, in pieces that are sent one after the other. */
  readonly refusal?: readonly string[];
  /** The upstream answers as soon as it has the head. */
  readonly isHasty?: boolean;
  /** The upstream takes no token at all. */
  readonly isClosed?: boolean;
  /** Of the adopted token, milliseconds. */
  readonly leftMs?: number;
}

export interface LoginStage extends AsyncDisposable {
  readonly provider: FakeProvider;
  readonly rig: Rig;
  readonly upstream: Upstream;
  readonly proxy: TestProxy;
  /** Names the secret `login`. */
  readonly rule: Rule;
  readonly target: string;
  /** The value with the provider's present tokens. */
  login(leftMs?: number): unknown;
  /** A tunnel of the client, with TLS inside. */
  open(): Promise<RawPeer>;
}

/** Sets it up. The upstream's name is `api.test`, and the client may go anywhere on 443 and the provider's port. */
export async function setUpLogin(
  {
    type = "oauth-claude",
    refusal = answer(401, "who are you?"),
    isHasty = false,
    isClosed = false,
    leftMs = HOUR,
  }: StageOptions = {},
): Promise<LoginStage> {
  await using stack = new AsyncDisposableStack();
  const provider = stack.use(await FakeProvider.start());
  const rig = stack.use(await Rig.start({ isStarted: false }));
  const seen: SeenRequest[] = [];
  const upstream = stack.use(
    await startRawUpstream(async (peer) => {
      for (;;) {
        const request = isHasty ? await readHead(peer) : await readRequest(peer);
        if (!request) return;
        seen.push(request);
        const isRight = !isClosed && header(request, "authorization") === `Bearer ${provider.accessToken}`;
        const isUpgrade = header(request, "upgrade") !== "";
        const welcome = isUpgrade
          ? ["HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello"]
          : answer(200, "welcome");
        for (const piece of isRight ? welcome : refusal) {
          await peer.send(piece);
          await new Promise((resolve) => setTimeout(resolve, 5)); // so that they do not arrive as one
        }
        if (isRight && isUpgrade) await peer.readAll();
      }
    }, { names: ["api.test"] }),
  );
  const login = (leftMs = HOUR) => loginOf(type, provider, rig.clock.now() + leftMs);
  await rig.adopt(type, login(leftMs), { host: "api.test" });
  const proxy = stack.use(
    await startTestProxy({
      credentials: rig.credentials,
      onSecretChange: (listener) => rig.state.onChange(listener),
    }),
  );
  const rule = proxy.policy.allow("one", { host: "api.test", ports: [upstream.port], secret: "login" });
  proxy.policy.allow("one", { host: "*", ports: [443, provider.port] });
  const target = `api.test:${upstream.port}`;
  const moved = stack.move();
  return {
    provider,
    rig,
    upstream: Object.defineProperty(upstream, "seen", { value: seen }),
    proxy,
    rule,
    target,
    login,
    open: () => openTlsTunnel(proxy.httpPort, target, TOKEN, proxy.caPem),
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

/** A GET, with header lines that end with CRLF. */
export function get(target: string, more = ""): string {
  return `GET /v1/messages HTTP/1.1\r\nHost: ${target}\r\n${more}\r\n`;
}

/** A whole answer of an upstream, as one piece. */
export function answer(status: number, body: string, fields = ""): readonly string[] {
  return [`HTTP/1.1 ${status} X\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`];
}

function loginOf(type: string, { accessToken, refreshToken, tokenEndpoint }: FakeProvider, endsAt: number) {
  if (type === "oauth-claude") {
    return {
      claudeAiOauth: {
        accessToken,
        refreshToken,
        expiresAt: endsAt,
        scopes: ["user:inference"],
        token_endpoint: tokenEndpoint,
      },
    };
  }
  return {
    access_token: accessToken,
    refresh_token: refreshToken,
    token_endpoint: tokenEndpoint,
    expires_at: endsAt,
    ...(type === "oauth-codex" ? { account_id: "acct-1" } : {}),
  };
}

async function readHead(peer: RawPeer): Promise<SeenRequest | undefined> {
  try {
    const [requestLine = "", ...headers] = (await peer.readHead()).slice(0, -4).split("\r\n");
    return { requestLine, headers, body: "" };
  } catch {
    return undefined;
  }
}
