/**
 * cargo, from crates.io: the sparse index, and the crates. To publish, and the site's API, is another host.
 *
 * @module
 */
import { type Profile, READING } from "./profile_data.ts";

/** See the module. */
export const CARGO: Profile = {
  name: "cargo",
  summary: "cargo fetch and build from crates.io; no publish",
  versions: [{
    sources: [
      "https://doc.rust-lang.org/cargo/reference/registry-index.html#sparse-protocol",
      "https://index.crates.io/config.json",
    ],
    rules: [
      { host: "index.crates.io", methods: READING, paths: ["/*"] },
      { host: "static.crates.io", methods: READING, paths: ["/crates/*"] },
    ],
  }],
};
