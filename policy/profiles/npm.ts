/**
 * npm and pnpm, from the public registry: documents and files of packages. `/-/` is the rest of the registry's API: who the
 * token is for, and which others it has. To publish and to audit are other methods.
 *
 * @module
 */
import { type Profile, READING } from "./profile_data.ts";

const HOST = "registry.npmjs.org";

/** See the module. */
export const NPM: Profile = {
  name: "npm",
  summary: "npm and pnpm install from the public registry; no publish, no audit",
  versions: [{
    sources: [
      "https://docs.npmjs.com/cli/v11/using-npm/registry",
      "https://github.com/npm/registry/blob/main/docs/REGISTRY-API.md",
    ],
    rules: [
      { host: HOST, methods: READING, paths: ["/-/*"], deny: true },
      { host: HOST, methods: READING, paths: ["/*"], secret: "may" },
    ],
  }],
};
