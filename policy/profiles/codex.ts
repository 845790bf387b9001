/**
 * Codex, with a ChatGPT login or with an API key: each has its host, and only the one whose secret is given is allowed.
 * Tasks in the cloud, and files that are kept at the provider, are no part of it.
 *
 * @module
 */
import { type Profile, READING } from "./profile_data.ts";

/** See the module. */
export const CODEX: Profile = {
  name: "codex",
  summary: "Codex with your ChatGPT login or API key, which has to be a secret; no cloud tasks",
  versions: [{
    sources: [
      "https://developers.openai.com/codex/auth",
      "https://github.com/openai/codex/tree/main/codex-rs/model-provider",
      "https://platform.openai.com/docs/api-reference/responses",
    ],
    rules: [
      // GET is also how a WebSocket begins, which later versions use for responses.
      {
        host: "chatgpt.com",
        methods: ["GET", "POST"],
        paths: ["/backend-api/codex/*"],
        secret: "must",
      },
      { host: "chatgpt.com", methods: READING, paths: ["/backend-api/wham/usage"], secret: "must" },
      { host: "api.openai.com", methods: ["GET", "POST"], paths: ["/v1/responses"], secret: "must" },
      { host: "api.openai.com", methods: ["POST"], paths: ["/v1/responses/compact"], secret: "must" },
      { host: "api.openai.com", methods: READING, paths: ["/v1/models", "/v1/models/*"], secret: "must" },
    ],
  }],
};
