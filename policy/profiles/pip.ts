/**
 * pip, uv and Poetry, from PyPI: the simple index, and the files that it points to. To upload is another host.
 *
 * @module
 */
import { type Profile, READING } from "./profile_data.ts";

/** See the module. */
export const PIP: Profile = {
  name: "pip",
  summary: "pip and uv install from PyPI; no upload",
  versions: [{
    sources: [
      "https://docs.pypi.org/api/index-api/",
      "https://packaging.python.org/en/latest/specifications/simple-repository-api/",
    ],
    rules: [
      { host: "pypi.org", methods: READING, paths: ["/simple/*"] },
      { host: "files.pythonhosted.org", methods: READING, paths: ["/packages/*"] },
    ],
  }],
};
