/**
 * Variables and files in the forms in which a VM takes them. Pure: every value is quoted for its reader.
 *
 * @module
 */
import { quoteShell } from "../../core/escape.ts";
import type { ToolFile } from "./tool_files.ts";

/** What a VM needs. */
export interface VmEnvironment {
  readonly variables: ReadonlyMap<string, string>;
  readonly files: readonly ToolFile[];
}

/** The values of `--format`. */
export const FORMATS = ["sh", "dotenv", "json", "cloud-init"] as const;
export type Format = typeof FORMATS[number];

/** Where cloud-init puts the variables: login shells read it. */
const PROFILE = "/etc/profile.d/slicer-proxy-env.sh";

/** The whole text, without its last newline. `user` is whose home the files of cloud-init go to. */
export function formatEnvironment(environment: VmEnvironment, format: Format, user: string): string {
  switch (format) {
    case "sh":
      return [...exportLines(environment), ...environment.files.map(fileLine)].join("\n");
    case "dotenv":
      return [...environment.variables].map(([name, value]) => `${name}=${quoteDotenv(value)}`).join("\n");
    case "json": {
      const { variables, files } = environment;
      return JSON.stringify({ variables: Object.fromEntries(variables), files }, undefined, 2);
    }
    case "cloud-init":
      return cloudInit(environment, user);
  }
}

function exportLines({ variables }: VmEnvironment): readonly string[] {
  return [...variables].map(([name, value]) => `export ${name}=${quoteShell(value)}`);
}

/** Makes a file where there is none: a login that somebody has made in the VM stays. */
function fileLine({ path, content }: ToolFile): string {
  const file = `"$HOME"/${quoteShell(path)}`;
  const folder = `"$HOME"/${quoteShell(path.slice(0, path.lastIndexOf("/")))}`;
  const compact = JSON.stringify(JSON.parse(content));
  return `[ -e ${file} ] || (umask 077; mkdir -p ${folder} && printf '%s\\n' ${
    quoteShell(compact)
  } > ${file})`;
}

/** In single quotes nothing is expanded; our values hold none of them. */
function quoteDotenv(value: string): string {
  return /^[A-Za-z0-9_./:@%+,-]*$/.test(value) ? value : `'${value}'`;
}

/** JSON is YAML, and its strings need no further quoting (YAML 1.2 §1.3). */
function cloudInit(environment: VmEnvironment, user: string): string {
  const home = user === "root" ? "/root" : `/home/${user}`;
  const files = [
    { path: PROFILE, permissions: "0644", content: exportLines(environment).join("\n") + "\n" },
    ...environment.files.map(({ path, content }) => ({
      path: `${home}/${path}`,
      owner: `${user}:${user}`,
      permissions: "0600",
      // After the users have been made.
      defer: true,
      content,
    })),
  ];
  const lines = files.flatMap((file) =>
    Object.entries(file).map(([key, value], i) =>
      `${i === 0 ? "  - " : "    "}${key}: ${JSON.stringify(value)}`
    )
  );
  return ["#cloud-config", "write_files:", ...lines].join("\n");
}
