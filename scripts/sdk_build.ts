/**
 * Compiles `sdk/` for Node, into `sdk/dist/`: `deno task sdk:build`, which `npm pack` and `npm publish` run first.
 * Types have been checked by `deno task check` before, with this same source.
 *
 * @module
 */
import ts from "typescript";

const SDK = new URL("../sdk/", import.meta.url);

await Deno.remove(new URL("dist/", SDK), { recursive: true }).catch(() => {});
const program = ts.createProgram({
  rootNames: [new URL("slicer_proxy.ts", SDK).pathname],
  options: {
    target: ts.ScriptTarget.ES2022,
    lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts", "lib.dom.d.ts"],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    rewriteRelativeImportExtensions: true,
    verbatimModuleSyntax: true,
    strict: true,
    declaration: true,
    // Node's own types are not here, and none is needed to write down declared types.
    noCheck: true,
    types: [],
    newLine: ts.NewLineKind.LineFeed,
    rootDir: SDK.pathname,
    outDir: new URL("dist", SDK).pathname,
  },
});
const { emitSkipped, diagnostics } = program.emit();
if (emitSkipped || diagnostics.length > 0) {
  throw new Error(ts.formatDiagnostics(diagnostics, {
    getCanonicalFileName: (name) => name,
    getCurrentDirectory: () => SDK.pathname,
    getNewLine: () => "\n",
  }));
}
