/**
 * Which variables tools want for a credential, and what they take for one of the right shape. A new tool is one row.
 *
 * Not here: the mark by which placeholders are known (`policy/placeholder.ts`), files of tools (`tool_files.ts`).
 *
 * @module
 */
import { makePlaceholder } from "../../policy/placeholder.ts";

/** What a credential looks like: how it begins, and how long it is. */
export interface Shape {
  readonly prefix: string;
  readonly length: number;
}

/** Variables of one shape, for a host or a type of secret. */
interface Row {
  readonly names: readonly string[];
  readonly shape: Shape;
}

const shape = (prefix: string, length: number): Shape => ({ prefix, length });

const GITHUB = ["GH_TOKEN", "GITHUB_TOKEN"];

/** By the type of a login, whatever its host. */
const BY_TYPE: Readonly<Record<string, readonly Row[]>> = {
  "oauth-claude": [{ names: ["CLAUDE_CODE_OAUTH_TOKEN"], shape: shape("sk-ant-oat01-", 108) }],
  "oauth-codex": [], // a file alone
  "oauth-github-copilot": [{ names: ["COPILOT_GITHUB_TOKEN"], shape: shape("gho_", 40) }],
  "oauth-xai": [{ names: ["XAI_API_KEY"], shape: shape("xai-", 84) }],
  "github-app-user": [{ names: GITHUB, shape: shape("ghu_", 40) }],
  "aws": [
    { names: ["AWS_ACCESS_KEY_ID"], shape: shape("AKIA", 20) },
    { names: ["AWS_SECRET_ACCESS_KEY"], shape: shape("", 40) },
  ],
};

/** By host, for credentials that are what the provider gave out. `type` narrows a row. */
const BY_HOST: readonly (Row & { readonly host: string; readonly type?: string })[] = [
  // With a key Claude Code asks its API as a developer does, with a bearer as a gateway's user: never both.
  {
    host: "api.anthropic.com",
    type: "header",
    names: ["ANTHROPIC_API_KEY"],
    shape: shape("sk-ant-api03-", 108),
  },
  { host: "api.anthropic.com", names: ["ANTHROPIC_AUTH_TOKEN"], shape: shape("sk-ant-oat01-", 108) },
  { host: "api.openai.com", names: ["OPENAI_API_KEY"], shape: shape("sk-proj-", 164) },
  { host: "api.x.ai", names: ["XAI_API_KEY"], shape: shape("xai-", 84) },
  {
    host: "generativelanguage.googleapis.com",
    names: ["GEMINI_API_KEY", "GOOGLE_API_KEY"],
    shape: shape("AIza", 39),
  },
  { host: "openrouter.ai", names: ["OPENROUTER_API_KEY"], shape: shape("sk-or-v1-", 73) },
  { host: "api.groq.com", names: ["GROQ_API_KEY"], shape: shape("gsk_", 56) },
  { host: "api.mistral.ai", names: ["MISTRAL_API_KEY"], shape: shape("", 32) },
  { host: "api.deepseek.com", names: ["DEEPSEEK_API_KEY"], shape: shape("sk-", 35) },
  { host: "huggingface.co", names: ["HF_TOKEN"], shape: shape("hf_", 37) },
  { host: "api.githubcopilot.com", names: ["COPILOT_GITHUB_TOKEN"], shape: shape("gho_", 40) },
  { host: "api.github.com", names: GITHUB, shape: shape("ghp_", 40) },
  { host: "github.com", names: GITHUB, shape: shape("ghp_", 40) },
  { host: "gitlab.com", names: ["GITLAB_TOKEN"], shape: shape("glpat-", 26) },
  { host: "registry.npmjs.org", names: ["NPM_TOKEN", "NODE_AUTH_TOKEN"], shape: shape("npm_", 40) },
  { host: "upload.pypi.org", names: ["TWINE_PASSWORD"], shape: shape("pypi-", 179) },
  { host: "slack.com", names: ["SLACK_BOT_TOKEN"], shape: shape("xoxb-", 57) },
  { host: "api.linear.app", names: ["LINEAR_API_KEY"], shape: shape("lin_api_", 48) },
  { host: "api.notion.com", names: ["NOTION_TOKEN"], shape: shape("ntn_", 50) },
  { host: "api.cloudflare.com", names: ["CLOUDFLARE_API_TOKEN"], shape: shape("", 40) },
  { host: "api.stripe.com", names: ["STRIPE_API_KEY"], shape: shape("sk_test_", 107) },
];

/** What is asked about a secret. */
export interface SecretFacts {
  readonly type: string;
  /** A host or `*.suffix`. */
  readonly host: string;
  /** Names of one's own. */
  readonly env: readonly string[];
}

/**
 * The variables for a secret with their placeholders, known names first. A name of one's own has the shape of the first known
 * one, or none in particular.
 *
 * @param covers whether the secret's host covers a host
 */
export function variablesFor(
  { type, env }: SecretFacts,
  covers: (host: string) => boolean,
): ReadonlyMap<string, string> {
  const byType = Object.hasOwn(BY_TYPE, type) ? BY_TYPE[type] : undefined;
  const fitting = BY_HOST.filter((row) => covers(row.host) && (row.type === undefined || row.type === type));
  // Of a host with several rows the first that fits: its tools take one of them.
  const rows = byType ?? fitting.filter((row, i) => fitting.findIndex(({ host }) => host === row.host) === i);
  const found = new Map<string, string>();
  for (const { names, shape: { prefix, length } } of rows) {
    for (const name of names) if (!found.has(name)) found.set(name, makePlaceholder(prefix, length));
  }
  const { prefix, length } = rows[0]?.shape ?? { prefix: "", length: 40 };
  for (const name of env) found.set(name, makePlaceholder(prefix, length));
  return found;
}
