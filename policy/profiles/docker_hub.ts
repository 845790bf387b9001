/**
 * Pulling from Docker Hub: the realm that gives out tokens, the registry, and where its blobs are redirected to, by
 * addresses that are signed for one of them. A push is other methods.
 *
 * @module
 */
import { type Profile, READING } from "./profile_data.ts";

/** See the module. */
export const DOCKER_HUB: Profile = {
  name: "docker-hub",
  summary: "docker pull from Docker Hub, with or without a login; no push",
  versions: [{
    sources: [
      "https://docs.docker.com/desktop/setup/allow-list/",
      "https://distribution.github.io/distribution/spec/auth/token/",
      "https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pull",
    ],
    rules: [
      { host: "auth.docker.io", methods: ["GET"], paths: ["/token"], secret: "may" },
      { host: "registry-1.docker.io", methods: READING, paths: ["/v2/*"] },
      { host: "production.cloudflare.docker.com", methods: READING },
      {
        host: "docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com",
        methods: READING,
      },
    ],
  }],
};
