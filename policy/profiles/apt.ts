/**
 * apt, from the archives that Debian and Ubuntu are set up with. Mirrors of a country or a cloud have names of their own,
 * which need rules of their own.
 *
 * @module
 */
import { type Profile, type ProfileRule, READING } from "./profile_data.ts";

/** An archive has its indexes and its packages in two folders: all that apt reads. */
const archive = (host: string, ...folders: readonly string[]): ProfileRule => ({
  host,
  methods: READING,
  paths: folders.flatMap((folder) => [`/${folder}/dists/*`, `/${folder}/pool/*`]),
});

/** See the module. */
export const APT: Profile = {
  name: "apt",
  summary: "apt-get update and install from the main archives of Debian and Ubuntu",
  versions: [{
    sources: [
      "https://wiki.debian.org/DebianRepository/Format",
      "https://wiki.debian.org/SourcesList",
      "https://documentation.ubuntu.com/server/how-to/software/package-management/",
    ],
    rules: [
      archive("deb.debian.org", "debian", "debian-security"),
      archive("security.debian.org", "debian-security"),
      archive("archive.ubuntu.com", "ubuntu"),
      archive("security.ubuntu.com", "ubuntu"),
      archive("ports.ubuntu.com", "ubuntu-ports"),
    ],
  }],
};
