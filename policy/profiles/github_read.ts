/**
 * Reading from GitHub: clone, fetch, git-lfs, archives, single files, releases, and the part of the REST API that is about
 * repositories. No push, by no way: what `--git read` does not know as reading is no part of it. GraphQL is not here: it
 * reads all that a token can.
 *
 * @module
 */
import { type Profile, READING } from "./profile_data.ts";

/** See the module. */
export const GITHUB_READ: Profile = {
  name: "github-read",
  summary: "clone, fetch and download from GitHub, and read its REST API on repositories; no push",
  versions: [{
    sources: [
      "https://git-scm.com/docs/http-protocol",
      "https://docs.github.com/en/rest/repos",
      "https://docs.github.com/en/repositories/working-with-files/using-files/downloading-source-code-archives",
      "https://docs.github.com/en/actions/reference/runners/self-hosted-runners",
    ],
    rules: [
      { host: "github.com", git: "read", secret: "may" },
      {
        host: "github.com",
        methods: READING,
        paths: ["/*/*/releases/download/*", "/*/*/releases/latest/download/*"],
        secret: "may",
      },
      { host: "codeload.github.com", git: "read" },
      { host: "raw.githubusercontent.com", git: "read", secret: "may" },
      { host: "media.githubusercontent.com", git: "read", secret: "may" },
      // Where releases and git-lfs are redirected to, by addresses that are signed for one file.
      { host: "release-assets.githubusercontent.com", methods: READING },
      { host: "github-cloud.githubusercontent.com", methods: READING },
      { host: "api.github.com", methods: READING, paths: ["/repos/*"], secret: "may" },
    ],
  }],
};
