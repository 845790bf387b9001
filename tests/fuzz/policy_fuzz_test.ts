/**
 * Properties of the readers and of policy, over hostile inputs. `FUZZ_RUNS` and `FUZZ_SEED` override the number of runs
 * and the seed; both are printed with a failure.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { formatCidr, formatIp, parseCidr, parseIp } from "../../core/cidr.ts";
import { isProxyError } from "../../core/errors.ts";
import { escapeLogValue, escapeTerminal } from "../../core/escape.ts";
import { formatHostPort, parseAuthority, parseHost } from "../../core/host_port.ts";
import { checkAddress, classifyAddress, embeddedIpv4 } from "../../policy/address.ts";
import { decideConnect, decideRequest } from "../../policy/decide.ts";
import { explainDenial } from "../../policy/explain.ts";
import { matchPath, normalisePath, readingsOf, upperEscapes } from "../../policy/path.ts";
import { parseRule, type Rule } from "../../policy/rule.ts";
import { makeRule } from "../support/make_rule.ts";

const NUM_RUNS = Number(Deno.env.get("FUZZ_RUNS") ?? 2_000);
const SEED = Number(Deno.env.get("FUZZ_SEED") ?? 20_260_901);

/** A test that holds for every value; its name carries the seed. */
function property<T>(name: string, values: fc.Arbitrary<T>, holds: (value: T) => void): void {
  Deno.test(`${name} [seed ${SEED}]`, () => {
    fc.assert(fc.property(values, holds), { numRuns: NUM_RUNS, seed: SEED });
  });
}

const piecesOf = (pieces: readonly string[], maxLength: number) =>
  fc.array(fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...pieces) }, fc.string({ maxLength: 3 })), {
    maxLength,
  })
    .map((parts) => parts.join(""));

const ips = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  fc.array(fc.constantFrom(0, 0, 0, 1, 0xff, 0x5e, 0xfe), { minLength: 16, maxLength: 16 }).map((bytes) =>
    Uint8Array.from(bytes)
  ),
);
const addressTexts = piecesOf(
  [":", "::", ".", "0", "1", "ff", "255", "256", "127.0.0.1", "0x7f", "%", "["],
  10,
);
const hostTexts = fc.oneof(
  addressTexts,
  piecesOf([
    "a",
    "B",
    "-",
    "_",
    ".",
    "..",
    "1",
    "0x1",
    "xn--",
    "é",
    "\u212a",
    "*",
    "@",
    ":",
    "443",
    "[",
    "]",
    "::1",
  ], 8),
);
const pathTexts = piecesOf(
  [
    "/",
    "/",
    "/",
    "a",
    "@a",
    "@a%2f",
    "v1",
    ".",
    "..",
    "/..",
    "\\",
    ";",
    ";x",
    "%2e",
    "%2F",
    "%5c",
    "%3b",
    "%25",
    "%41",
    "%",
    "*",
    ",",
  ],
  12,
).map((text) => "/" + text);
const patterns = fc.oneof(
  fc.constantFrom(
    "*",
    "/*",
    "/a",
    "/a/*",
    "/v1/*",
    "/a%2Fv1/*",
    "/a;x/*",
    "/a/v1",
    "//a/*",
    "/@a/*",
    "/@a%2f*",
    "/@a%2Fv1",
  ),
  pathTexts.filter((text) => readable({ host: "a.test", paths: [text] })),
);
const rules = fc.array(
  fc.record({
    host: fc.constantFrom("a.test", "*.test", "*", "b.test", "::1", "10.0.0.1"),
    methods: fc.subarray(["GET", "POST"]),
    paths: fc.array(patterns, { maxLength: 3 }),
    ports: fc.subarray([80, 443, 8443]),
    secret: fc.constantFrom(undefined, "s1"),
  }),
  { maxLength: 5 },
).map((inputs) => inputs.map((input, i) => makeRule(String(i), input)));
const requests = fc.record({
  host: fc.constantFrom("a.test", "b.test", "c.a.test", "::1", "10.0.0.1"),
  port: fc.constantFrom(80, 443, 8443, 22),
  method: fc.oneof(
    fc.constantFrom("GET", "get", "POST", "--force", "*", "$(x)", "M-SEARCH"),
    fc.string({ maxLength: 8 }),
  ),
  path: fc.oneof(pathTexts, fc.string({ maxLength: 20 }), fc.string({ unit: "binary", maxLength: 10 })),
});

function readable(input: Parameters<typeof parseRule>[0]): boolean {
  try {
    parseRule(input);
    return true;
  } catch (error) {
    if (isProxyError(error, "input.invalid")) return false;
    throw error;
  }
}

property("parseIp() reads back what formatIp() printed", ips, (ip) => {
  assertEquals(parseIp(formatIp(ip)), ip);
});

property("formatIp() prints one text for what parseIp() reads", addressTexts, (text) => {
  const ip = parseIp(text);
  if (!ip) return;
  const printed = formatIp(ip);
  assertEquals(parseIp(printed), ip);
  assertEquals(parseHost(printed), printed);
});

property(
  "parseCidr() reads back what formatCidr() printed",
  fc.tuple(ips, fc.nat({ max: 128 })),
  ([ip, bits]) => {
    const prefix = Math.min(bits, 8 * ip.length);
    const bytes = ip.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, prefix - 8 * i))));
    assertEquals(parseCidr(formatCidr({ bytes, prefix })), { bytes, prefix });
  },
);

property("parseHost() is canonical: reading its answer again changes nothing", hostTexts, (text) => {
  const host = parseHost(text);
  if (host === undefined) return;
  assertEquals(parseHost(host), host);
  assert(/^[a-z0-9_.:-]+$/.test(host), host);
});

property(
  "parseAuthority() reads back what formatHostPort() printed",
  fc.tuple(hostTexts, fc.option(fc.integer({ min: 1, max: 65_535 }))),
  ([text, port]) => {
    const authority = parseAuthority(port === null ? text : `${text}:${port}`, 443);
    if (authority) assertEquals(parseAuthority(formatHostPort(authority)), authority);
  },
);

property("matchPath() never throws, * covers all", fc.tuple(pathTexts, fc.string()), ([path, pattern]) => {
  assertEquals(matchPath("*", path), true);
  assertEquals(matchPath(path, path), true);
  matchPath(pattern, path);
  matchPath(path, pattern);
});

property("readingsOf() includes the path as sent and as normalised", pathTexts, (path) => {
  const readings = readingsOf(path).map((reading) => reading.path);
  assertEquals(readings[0], path);
  assert(readings.includes(normalisePath(path)));
  assertEquals(new Set(readings).size, readings.length);
});

property("normalisePath() leaves nothing to normalise", pathTexts, (path) => {
  const normal = normalisePath(path);
  assert(!/\/\/|\/\.{1,2}(\/|$)|\\|%2[ef]|%5c/i.test(normal), normal);
});

property(
  "decideRequest() allows no path that no rule matches as sent, nor as normalised",
  fc.tuple(rules, requests),
  ([rules, request]) => {
    const decision = decideRequest(rules, request);
    if (decision.verdict === "deny") return;
    const { rule, others = [] } = decision;
    const matches = (path: string, patterns: readonly string[]) =>
      rule.paths.length === 0 || patterns.some((pattern) => matchPath(pattern, path));
    assert(matches(request.path, rule.paths), "as sent");
    // A pattern covers its own normalised form: `/a%2Fb/*` is `/a/b/*` to a server that decodes.
    const normalPatterns = [rule, ...others].flatMap(({ paths }) =>
      paths.map((pattern) =>
        pattern.endsWith("*") ? normalisePath(pattern.slice(0, -1)) + "*" : normalisePath(pattern)
      )
    );
    assert(
      matches(normalisePath(request.path), [...rule.paths, ...normalPatterns]),
      "as normalised",
    );
    const earlier = rules.slice(0, rules.indexOf(rule));
    assertEquals(decideRequest(earlier, request).verdict, "deny", "an earlier rule would have matched");
  },
);

property(
  "decideRequest() allows only what every reading is allowed, with one effect",
  fc.tuple(rules, requests),
  ([rules, request]) => {
    const decision = decideRequest(rules, request);
    if (decision.verdict === "deny") return;
    const firsts = readingsOf(request.path).map((reading) =>
      rules.find((rule) => {
        // The other dimensions by the verdict on a path that needs none of the paths.
        const open = decideRequest([{ ...rule, paths: [] }], { ...request, path: "/" }).verdict === "allow";
        return open && (rule.paths.length === 0 || rule.paths.some(reading.matches));
      })
    );
    if (rules.every(({ paths }) => paths.length === 0)) return; // then no path is looked at
    const hosts = new Set(firsts.map((rule) => rule?.host));
    const secrets = new Set(firsts.map((rule) => rule?.secret));
    assert(!firsts.includes(undefined), "a reading without a rule");
    assertEquals([hosts.size, secrets.size], [1, 1]);
    assertEquals(new Set(firsts), new Set([decision.rule, ...decision.others ?? []]));
  },
);

property(
  "decideRequest() and parseRule() know no difference between %2f and %2F",
  fc.tuple(rules, requests),
  ([rules, request]) => {
    const lower = (path: string) => path.replace(/%[0-9A-F]{2}/gi, (escape) => escape.toLowerCase());
    const verdictOf = (paths: (path: string) => string) => {
      const decision = decideRequest(
        rules.map((rule) => ({ ...rule, paths: rule.paths.map(paths) })),
        { ...request, path: paths(request.path) },
      );
      return decision.verdict === "allow" ? decision.rule.id : decision.reason;
    };
    assertEquals(verdictOf(lower), verdictOf(upperEscapes));
  },
);

property(
  "decideRequest() within a prefix rule keeps every server within the prefix",
  pathTexts.map((path) => "/v1" + path),
  (path) => {
    const rule = makeRule("v1", { host: "a.test", paths: ["/v1/*"] });
    const decision = decideRequest([rule], { host: "a.test", port: 443, method: "GET", path });
    if (decision.verdict === "deny") return;
    // Three readers that are not ours: the URL standard's, and two that decode first, with and without merging.
    assert(new URL(path, "http://a.test").pathname.startsWith("/v1/"), "WHATWG");
    const decoded = path.replace(/%([0-9a-f]{2})/gi, (_all, hex) => String.fromCharCode(parseInt(hex, 16)));
    const cleaned = (text: string) =>
      decodeURI(new URL("http://a.test" + text.replace(/[%?#]/g, "x").replaceAll("\\", "x")).pathname);
    assert(cleaned(decoded).startsWith("/v1/"), "decode, clean");
    assert(cleaned(decoded.replace(/\/{2,}/g, "/")).startsWith("/v1/"), "decode, merge, clean");
    assert(
      cleaned(decoded.replace(/;[^/]*/g, "").replace(/\/{2,}/g, "/")).startsWith("/v1/"),
      "strip parameters",
    );
  },
);

property(
  "decideConnect() never throws and denies without a rule",
  fc.tuple(rules, requests),
  ([rules, target]) => {
    const decision = decideConnect(rules, target);
    if (decision.verdict !== "deny") assert(rules.includes(decision.rule));
    assertEquals(decideConnect([], target).verdict, "deny");
  },
);

property(
  "classifyAddress() knows every address, and a disguise is never better than its content",
  ips,
  (ip) => {
    const options = { denyCidrs: [], allowCidrs: [], ruleHost: "*" };
    classifyAddress(ip);
    if (!checkAddress(ip, options).ok) return;
    for (const inner of embeddedIpv4(ip)) assert(checkAddress(inner, options).ok);
  },
);

property(
  "escapeLogValue() and escapeTerminal() leave nothing that acts",
  fc.string({ unit: "binary" }),
  (text) => {
    assert(/^[\x21\x23-\x7e]+$/.test(escapeLogValue(text)));
    assert(!/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(escapeTerminal(text)));
  },
);

Deno.test(`explainDenial() commands survive a shell and allow exactly the request [seed ${SEED}]`, async () => {
  const samples = fc.sample(fc.tuple(rules, requests), { numRuns: NUM_RUNS, seed: SEED });
  const offered: { rules: readonly Rule[]; request: typeof samples[0][1]; path: string; command: string }[] =
    [];
  for (const [rules, request] of samples) {
    const decision = decideRequest(rules, request);
    if (decision.verdict === "allow") continue;
    const { text, command, sendPath } = explainDenial({ ...request, client: "ci-1" }, decision.reason, rules);
    assert(!/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(text + (command ?? "")));
    if (command !== undefined) offered.push({ rules, request, path: sendPath ?? request.path, command });
  }
  assert(offered.length > NUM_RUNS / 20, `only ${offered.length} commands`);
  const script = offered.map(({ command }) => `set -- ${command}; printf '%s\\n' "$@" ''`).join("\n");
  const shell = new Deno.Command("sh", { args: ["-s"], stdin: "piped", stdout: "piped", stderr: "piped" })
    .spawn();
  const writer = shell.stdin.getWriter();
  const [output] = await Promise.all([
    shell.output(),
    writer.write(new TextEncoder().encode(script)).then(() => writer.close()),
  ]);
  assertEquals(new TextDecoder().decode(output.stderr), "");
  const answers = new TextDecoder().decode(output.stdout).split("\n\n").slice(0, -1);
  assertEquals(answers.length, offered.length);
  for (const [i, { rules, request, path }] of offered.entries()) {
    const words = (answers[i] ?? "").split("\n");
    const flags = new Map<string, string>();
    for (let at = 3; at < words.length; at += 2) flags.set(words[at] ?? "", words[at + 1] ?? "");
    assertEquals(words.slice(0, 3), ["slicer-proxy", "allow", "ci-1"]);
    assertEquals(words.length, 3 + 2 * flags.size);
    const port = flags.get("--port");
    const secret = flags.get("--secret");
    assertEquals(flags.get("--host"), request.host);
    assertEquals(flags.get("--method"), request.method.toUpperCase());
    assertEquals(flags.get("--path"), upperEscapes(path));
    assertEquals(port, [80, 443].includes(request.port) ? undefined : String(request.port));
    assert(secret === undefined || secret === "s1");
    const rule = makeRule("new", {
      host: request.host,
      methods: [request.method],
      paths: [path],
      ports: port === undefined ? [] : [Number(port)],
      secret,
    });
    assertEquals(decideRequest([...rules, rule], { ...request, path }).verdict, "allow");
  }
});
