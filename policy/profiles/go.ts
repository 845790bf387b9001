/**
 * go, from its module mirror, with the checksum database. Modules that the mirror does not have come from where they are
 * hosted, which is another host each (`github-read`).
 *
 * @module
 */
import { type Profile, READING } from "./profile_data.ts";

/** See the module. */
export const GO: Profile = {
  name: "go",
  summary: "go mod download and go install from the module mirror, with checksums",
  versions: [{
    sources: [
      "https://go.dev/ref/mod#goproxy-protocol",
      "https://go.dev/ref/mod#checksum-database",
      "https://proxy.golang.org/",
    ],
    rules: [
      { host: "proxy.golang.org", methods: READING, paths: ["/*"] },
      {
        host: "sum.golang.org",
        methods: READING,
        paths: ["/latest", "/lookup/*", "/supported", "/tile/*"],
      },
    ],
  }],
};
