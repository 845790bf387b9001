/**
 * Claude Code, with a key or a login: the model, and what it asks about its own account. Telemetry, error reports, updates
 * and files that are kept at the provider are no part of it.
 *
 * @module
 */
import { type Profile, READING } from "./profile_data.ts";

const HOST = "api.anthropic.com";

/** See the module. */
export const CLAUDE_CODE: Profile = {
  name: "claude-code",
  summary: "Claude Code with your key or login, which has to be a secret; no telemetry, no updates",
  versions: [{
    sources: [
      "https://code.claude.com/docs/en/network-config",
      "https://docs.claude.com/en/api/messages",
      "https://docs.claude.com/en/api/messages-count-tokens",
      "https://docs.claude.com/en/api/models-list",
    ],
    rules: [
      { host: HOST, methods: ["POST"], paths: ["/v1/messages", "/v1/messages/count_tokens"], secret: "must" },
      { host: HOST, methods: READING, paths: ["/v1/models", "/v1/models/*"], secret: "must" },
      {
        host: HOST,
        methods: READING,
        paths: [
          "/api/claude_cli/bootstrap",
          "/api/hello",
          "/api/oauth/claude_cli/*",
          "/api/oauth/profile",
          "/api/oauth/usage",
        ],
        secret: "must",
      },
    ],
  }],
};
