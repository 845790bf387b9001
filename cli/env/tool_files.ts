/**
 * Files that tools want to find before they start, with placeholders where a login would be: Claude Code's, Codex' and
 * opencode's own formats. No refresh token is in them, and they do not end, so that no tool tries to renew what it was given.
 *
 * @module
 */
import { makePlaceholder } from "../../policy/placeholder.ts";

/** A file below the home folder of whoever runs the tool. */
export interface ToolFile {
  /** Relative to the home folder. */
  readonly path: string;
  readonly content: string;
}

/** The year 2100: what a placeholder says of its end. */
const FAR_MS = Date.UTC(2_100, 0, 1);
const ACCOUNT = "00000000-0000-4000-8000-000000000000";

const FILES: Readonly<Record<string, () => ToolFile>> = {
  "oauth-claude": () => ({
    path: ".claude/.credentials.json",
    content: json({
      claudeAiOauth: {
        accessToken: makePlaceholder("sk-ant-oat01-", 108),
        refreshToken: makePlaceholder("sk-ant-ort01-", 108),
        expiresAt: FAR_MS,
        scopes: ["user:inference", "user:profile"],
        subscriptionType: "max",
      },
    }),
  }),
  "oauth-codex": () => ({
    path: ".codex/auth.json",
    content: json({
      OPENAI_API_KEY: null,
      tokens: {
        id_token: placeholderJwt(),
        access_token: placeholderJwt(),
        refresh_token: makePlaceholder("rt_", 90),
        account_id: ACCOUNT,
      },
      last_refresh: new Date(FAR_MS).toISOString(),
    }),
  }),
  "oauth-github-copilot": () => ({
    path: ".local/share/opencode/auth.json",
    content: json({
      "github-copilot": {
        type: "oauth",
        refresh: makePlaceholder("gho_", 40),
        access: makePlaceholder("gho_", 40),
        expires: FAR_MS,
      },
    }),
  }),
};

/** The file that tools for this type of secret want, or undefined. */
export function fileFor(type: string): ToolFile | undefined {
  return Object.hasOwn(FILES, type) ? FILES[type]?.() : undefined;
}

/** A token whose claims can be read, as Codex does (RFC 7519); its signature is the placeholder. */
function placeholderJwt(): string {
  const part = (value: unknown) => {
    const base64 = btoa(JSON.stringify(value));
    return base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  };
  const claims = {
    email: "placeholder@slicer-proxy.invalid",
    exp: FAR_MS / 1_000,
    "https://api.openai.com/auth": { chatgpt_plan_type: "pro", chatgpt_account_id: ACCOUNT },
  };
  return `${part({ alg: "RS256", typ: "JWT" })}.${part(claims)}.${makePlaceholder("", 86)}`;
}

function json(value: unknown): string {
  return JSON.stringify(value, undefined, 2) + "\n";
}
