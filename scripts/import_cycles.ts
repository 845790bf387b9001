/**
 * No file imports itself, by whatever way around: types and imports at run time count too. In a circle no file can be
 * understood before the others, and the order in which they run is nobody's decision.
 *
 *     deno run --allow-read scripts/import_cycles.ts
 *
 * Exit code 1, and each circle on a line, when there is one. The direction of imports is the lint plugin's business
 * (`lint_plugin.ts`), which sees one file at a time.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { fileURLToPath } from "node:url";

/** Files and what each of them imports of the others. */
export type ImportGraph = ReadonlyMap<string, readonly string[]>;

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** What is not written by hand. */
const LEFT_OUT: readonly string[] = ["node_modules", "dist", ".git", ".slicer", "mission"];
/** `deno fmt` keeps the name of a module on the line of its `from`; `import("…")` may stand anywhere. */
const IMPORT = /(?:\bfrom |^import |\bimport\()"(\.[^"\n]*)"/gm;

/** The paths, as they stand in the source, of the files that a source imports by a relative path. */
export function importsIn(source: string): readonly string[] {
  return [...source.matchAll(IMPORT)].flatMap(([, path]) => path === undefined ? [] : [path]);
}

/** A circle for each group of files that import each other, as a way from its first file back to it. */
export function findCycles(graph: ImportGraph): readonly (readonly string[])[] {
  const cycles: string[][] = [];
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string) => {
    const at = path.indexOf(file);
    if (at >= 0) cycles.push([...path.slice(at), file]);
    if (at >= 0 || done.has(file)) return;
    path.push(file);
    for (const next of graph.get(file) ?? []) visit(next);
    path.pop();
    done.add(file);
  };
  for (const file of graph.keys()) visit(file);
  return cycles;
}

/** The files of a folder and below, with their imports. */
export async function readGraph(root: string): Promise<ImportGraph> {
  const graph = new Map<string, string[]>();
  const read = async (folder: string) => {
    for await (const { name, isDirectory, isFile } of Deno.readDir(folder)) {
      const path = `${folder}/${name}`;
      if (isDirectory && !LEFT_OUT.includes(name)) await read(path);
      if (!isFile || !/\.(?:ts|js)$/.test(name)) continue;
      const imports = importsIn(await Deno.readTextFile(path));
      graph.set(path, imports.map((to) => fileURLToPath(new URL(to, `file://${path}`))));
    }
  };
  await read(root.replace(/\/$/, ""));
  return graph;
}

if (import.meta.main) {
  const cycles = findCycles(await readGraph(ROOT));
  for (const cycle of cycles) console.error(cycle.map((file) => file.slice(ROOT.length)).join(" → "));
  Deno.exit(cycles.length === 0 ? 0 : 1);
}
