/**
 * House rules that `deno lint` enforces: who may import whom, two things that only one file may do, and regular expressions
 * whose cost is linear.
 *
 * Not here: rules that Deno has already (`deno.json`, `lint.rules`).
 *
 * @module
 */
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { findSlowness } from "./regex_cost.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Who may import whom beside itself: folders, or single files. `*` is everything but tests, scripts, bench and sdk. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "core": [],
  "policy": ["core"],
  "store": ["core", "policy"],
  "ca": ["core"],
  "secrets": ["core", "policy", "store/records.ts"],
  "proxy": ["core", "policy", "ca", "secrets"],
  "api": ["core", "policy", "store", "secrets"],
  "agent": ["core"],
  "cli": ["*"],
  "deps": [],
  "workers": ["core", "policy", "store", "secrets", "proxy"],
  "main.ts": ["cli", "workers/data_plane.ts"],
  // A package of its own, published without the rest.
  "sdk": [],
};

/**
 * The rooms of `proxy/`: what they may import of the product beside themselves. A room that is not here, and the files at the
 * top of `proxy/`, may import what `proxy` may. Those that read and write bytes know no rule and no credential, and what
 * dials knows no session. Who it is and what is decided do not depend on how it is then done.
 */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  "proxy/streams": ["core"],
  "proxy/message": ["core", "proxy/streams"],
  "proxy/echo": ["core", "proxy/streams", "proxy/message"],
  "proxy/http1": ["core", "proxy/streams", "proxy/message"],
  "proxy/http2": ["core", "proxy/streams", "proxy/message"],
  "proxy/tls": ["core", "policy", "proxy/streams"],
  "proxy/records": ["core", "policy", "proxy/streams"],
  "proxy/who": ["core", "policy", "proxy/http1", "proxy/message", "proxy/records", "proxy/policy_source.ts"],
  "proxy/decide": [
    ...["core", "policy", "secrets", "proxy/message", "proxy/http1", "proxy/records", "proxy/context.ts"],
    ...["proxy/course.ts", "proxy/error_response.ts", "proxy/exchange.ts", "proxy/policy_source.ts"],
    "proxy/streams/turn_share.ts",
  ],
  "proxy/egress": [
    ...["core", "policy", "secrets", "proxy/streams", "proxy/message", "proxy/http1", "proxy/http2"],
    ...[
      "proxy/tls",
      "proxy/records",
      "proxy/accept/admission.ts",
      "proxy/grants.ts",
      "proxy/policy_source.ts",
    ],
  ],
};

/** These may import everything, each other too. */
const OUTSIDE = ["tests", "scripts", "bench"];

/** What the import map gives a name: `import "slicer-proxy-sdk"` goes there. */
const NAMED: Readonly<Record<string, string>> = { "slicer-proxy-sdk": "sdk/slicer_proxy.ts" };

/** Where no input is hostile, or nobody waits. */
const MAY_BE_SLOW = [...OUTSIDE, "deps", "sdk"];

const plugin: Deno.lint.Plugin = {
  name: "slicer-proxy",
  rules: {
    "import-direction": {
      create(context) {
        const from = inProject(context.filename);
        const check = (source: Deno.lint.Node | null | undefined) => {
          if (source?.type !== "Literal" || typeof source.value !== "string") return;
          const to = targetOf(source.value, from);
          if (to === undefined || isAllowed(from, to)) return;
          context.report({
            node: source,
            message: `${roomOf(from)} must not import ${to}`,
            hint: "ARCHITECTURE.md says who may import whom; declare what you need as an interface",
          });
        };
        return {
          ImportDeclaration: (node) => check(node.source),
          ExportNamedDeclaration: (node) => check(node.source),
          ExportAllDeclaration: (node) => check(node.source),
          ImportExpression: (node) => check(node.source),
        };
      },
    },

    "linear-regex": {
      create(context) {
        if (MAY_BE_SLOW.includes(layerOf(inProject(context.filename)))) return {};
        const judge = (node: Deno.lint.Node, source: string, flags: string) => {
          const why = findSlowness(source, flags);
          if (why === undefined) return;
          context.report({
            node,
            message: `This regular expression is not known to be linear: ${why}`,
            hint: "anchor it, make neighbours disjoint, or write a loop (SPEC section 9.14)",
          });
        };
        const judgeCall = (node: Deno.lint.NewExpression | Deno.lint.CallExpression) => {
          if (!isNamed(node.callee, "RegExp")) return;
          const [source, flags] = node.arguments.map((each) =>
            each.type === "Literal" && typeof each.value === "string" ? each.value : undefined
          );
          if (source !== undefined && (node.arguments.length === 1 || flags !== undefined)) {
            return judge(node, source, flags ?? "");
          }
          context.report({
            node,
            message: "A regular expression must be a literal, so that its cost is known",
          });
        };
        return {
          Literal(node) {
            if ("regex" in node && node.regex) judge(node, node.regex.pattern, node.regex.flags);
          },
          NewExpression: judgeCall,
          CallExpression: judgeCall,
        };
      },
    },

    "native-calls": {
      create(context) {
        if (inProject(context.filename) === "core/native.ts") return {};
        return {
          MemberExpression(node) {
            if (!isNamed(node.object, "Deno") || !isNamed(node.property, "dlopen")) return;
            context.report({ node, message: "Only core/native.ts makes native calls" });
          },
        };
      },
    },

    "console": {
      create(context) {
        const file = inProject(context.filename);
        // Tests, and scripts and examples for people may, where they say so: `no-console` is on for them.
        if (
          file === "cli/terminal/output.ts" || OUTSIDE.includes(layerOf(file)) ||
          file.startsWith("sdk/examples/")
        ) {
          return {};
        }
        return {
          MemberExpression(node) {
            if (!isNamed(node.object, "console")) return;
            context.report({
              node,
              message: "Only cli/terminal/output.ts writes to the terminal",
              hint: "use core/log.ts for the operational log, Io.output in commands",
            });
          },
        };
      },
    },
  },
};

export default plugin;

/** True when the import rule lets the file `from` import the file `to`, both relative to the project. */
export function isAllowed(from: string, to: string): boolean {
  const room = roomOf(from);
  const ofRoom = ROOMS[room];
  if (ofRoom) return [room, ...ofRoom].some((allowed) => to === allowed || to.startsWith(`${allowed}/`));
  const [layer, target] = [layerOf(from), layerOf(to)];
  if (layer === target || OUTSIDE.includes(layer)) return true;
  if (OUTSIDE.includes(target) || target === "sdk") return false;
  // Values of deno.json (the version) are data, not a dependency on anybody.
  if (to === "deno.json") return layer === "cli";
  const allowed = MAY_IMPORT[layer] ?? [];
  return allowed.includes("*") || allowed.includes(target) || allowed.includes(to);
}

/** The file of the project that an import in the file `from` leads to; undefined for packages and built-in modules. */
function targetOf(specifier: string, from: string): string | undefined {
  if (!specifier.startsWith(".")) return NAMED[specifier];
  return inProject(fileURLToPath(new URL(specifier, `file://${ROOT}${from}`)));
}

/** The first folder of a path, or the file's own name at the top. */
function layerOf(path: string): string {
  return path.split("/", 1)[0] ?? path;
}

/** The folder within `proxy/` that has a rule of its own, else the layer. */
function roomOf(path: string): string {
  const room = path.split("/", 2).join("/");
  return Object.hasOwn(ROOMS, room) ? room : layerOf(path);
}

/** A file's path relative to the project. */
function inProject(path: string): string {
  return path.startsWith("/") ? relative(ROOT, path) : path;
}

function isNamed(node: Deno.lint.Node, name: string): boolean {
  return (node.type === "Identifier" && node.name === name) ||
    (node.type === "Literal" && node.value === name);
}
