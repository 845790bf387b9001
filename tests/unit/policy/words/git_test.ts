import { assertEquals, assertThrows } from "@std/assert";
import { ProxyError } from "../../../../core/errors.ts";
import { contentNeeded, decideRequest, type RequestTarget } from "../../../../policy/decide.ts";
import { explainDenial } from "../../../../policy/explain.ts";
import { parseRule, type RuleInput } from "../../../../policy/rule.ts";
import { parseRepo, readGit } from "../../../../policy/words/git.ts";
import { makeRule } from "../../../support/make_rule.ts";

const HOST = "git.example.com";
const OID = "a".repeat(64);

/** `METHOD PATH?QUERY` as a request. */
function request(line: string, host = HOST): RequestTarget {
  const [method = "", target = ""] = line.split(" ");
  const at = target.indexOf("?");
  return {
    ...{ host, port: 443, method },
    path: at < 0 ? target : target.slice(0, at),
    query: at < 0 ? undefined : target.slice(at + 1),
  };
}

Deno.test("readGit() tells reading from writing, and whose repository it is", async (t) => {
  const rows: readonly [string, string | undefined, host?: string][] = [
    ["GET /acme/web/info/refs?service=git-upload-pack", "read acme/web"],
    ["GET /acme/web.git/info/refs?service=git-upload-pack", "read acme/web"],
    ["GET /a/b/c/d.git/info/refs?service=git-upload-pack", "read a/b/c/d"],
    ["HEAD /acme/web/info/refs?service=git-upload-pack", "read acme/web"],
    ["GET /acme/web/info/refs", "read acme/web"],
    ["GET /acme/web/info/refs?service=git-upload-archive", "read acme/web"],
    ["GET /acme/web/info/refs?service=git-receive-pack", "write acme/web"],
    ["GET /acme/web/info/refs?service=git-upload-pack&service=git-receive-pack", "unclear acme/web"],
    ["GET /acme/web/info/refs?service=git-receive-pack&service=git-upload-pack", "unclear acme/web"],
    ["GET /acme/web/info/refs?service=git-upload-pack;service=git-receive-pack", "unclear acme/web"],
    ["GET /acme/web/info/refs?Service=git-receive-pack", "unclear acme/web"],
    ["GET /acme/web/info/refs?service[]=git-receive-pack", "unclear acme/web"],
    ["GET /acme/web/info/refs?service=git-receive-pack%00", "unclear acme/web"],
    ["GET /acme/web/info/refs?service=git-%72eceive-pack", "write acme/web"],
    ["GET /acme/web/info/refs?service=git-other", "unclear acme/web"],
    ["GET /acme/web/info/refs?service", "unclear acme/web"],
    ["POST /acme/web/info/refs?service=git-upload-pack", undefined],
    ["GET /info/refs", undefined],
    ["POST /acme/web/git-upload-pack", "read acme/web"],
    ["POST /acme/web/git-receive-pack", "write acme/web"],
    ["POST /acme/web/git-upload-archive", "read acme/web"],
    ["POST /acme/web/git-receive-pack?service=git-upload-pack", "write acme/web"],
    ["POST /acme/web/git-upload-pack/", undefined],
    ["POST /acme/web/Git-Upload-Pack", undefined],
    ["post /acme/web/git-upload-pack", undefined],
    ["PUT /acme/web/git-upload-pack", undefined],
    ["POST /acme/web/git-receive-pack/git-upload-pack", "read acme/web/git-receive-pack"],
    ["POST /git-upload-pack", undefined],
    ["POST /acme/web/info/lfs/objects/batch", "batch acme/web"],
    ["POST /acme/web.git/info/lfs/objects/batch", "batch acme/web"],
    ["GET /acme/web/info/lfs/locks", "read acme/web"],
    ["POST /acme/web/info/lfs/locks", "write acme/web"],
    ["POST /acme/web/info/lfs/locks/verify", "write acme/web"],
    ["POST /acme/web/info/lfs/locks/12/unlock", "write acme/web"],
    ["POST /acme/web/info/lfs/verify", "write acme/web"],
    [`GET /acme/web/info/lfs/objects/${OID}/12`, "read acme/web"],
    [`PUT /acme/web/info/lfs/objects/${OID}`, "write acme/web"],
    [`GET /acme/web/gitlab-lfs/objects/${OID}/12`, "read acme/web"],
    [`PUT /acme/web/gitlab-lfs/objects/${OID}`, "write acme/web"],
    ["GET /acme/web/other/refs?service=git-upload-pack", undefined],
    ["GET /acme/web/raw", undefined],
    ["GET /acme/web/media/main/a.bin", "read acme/web"],
    ["GET /acme/web/get/main.zip", "read acme/web"],
    ["GET /acme/web/get/main.tar.bz2", "read acme/web"],
    ["GET /acme/web/zip/main", "read acme/web", "codeload.github.com"],
    ["GET /acme/web/legacy.zip/main", "read acme/web", "codeload.github.com"],
    ["GET /acme/web/legacy.tar.gz/main", "read acme/web", "codeload.github.com"],
    ["GET /acme/web/zip", undefined, "codeload.github.com"],
    ["GET /acme/web/main", undefined, "raw.githubusercontent.com"],
    ["GET /media/acme/web/main", undefined, "media.githubusercontent.com"],
    ["GET /other/acme/web/main/a.bin", undefined, "media.githubusercontent.com"],
    ["GET /repos/acme/web/zipball/main", "read acme/web", "api.github.com"],
    ["GET /repos/acme/web", undefined, "api.github.com"],
    ["GET /users/acme/web/zipball/main", undefined, "api.github.com"],
    [`GET /acme/web.git/info/lfs/objects/${OID}`, "read acme/web"],
    [`PUT /acme/web.git/info/lfs/objects/${OID}/12`, "write acme/web"],
    [`GET /acme/web.git/gitlab-lfs/objects/${OID}`, "read acme/web"],
    [`PUT /acme/web.git/gitlab-lfs/objects/${OID}/12`, "write acme/web"],
    ["GET /acme/web/HEAD", "read acme/web"],
    ["GET /acme/web/objects/info/packs", "read acme/web"],
    [`GET /acme/web/objects/${"ab"}/${"c".repeat(38)}`, "read acme/web"],
    [`GET /acme/web/objects/pack/pack-${"a".repeat(40)}.idx`, "read acme/web"],
    ["GET /acme/web/objects/pack/pack-x.idx", undefined],
    ["PUT /acme/web/objects/ab/x", undefined],
    ["PROPFIND /acme/web/", undefined],
    ["LOCK /acme/web/info/refs", undefined],
    ["GET /g/sub/web/-/archive/main/web-main.tar.gz", "read g/sub/web"],
    ["GET /g/sub/web/-/raw/main/README", "read g/sub/web"],
    ["POST /g/sub/web/-/archive/x", undefined],
    ["GET /g/web/-/settings", undefined],
    ["GET /web/-/raw/main/README", "read web"],
    ["GET /-/raw/main/README", undefined],
    ["GET /-/archive/main/a.zip", undefined],
    ["GET /web/info/refs?service=git-upload-pack", "read web"],
    ["GET /repos/acme/web/tarball", "read acme/web", "api.github.com"],
    ["GET /repos/acme/web", undefined, "api.github.com"],
    ["GET /acme/web/archive/main.zip", "read acme/web"],
    ["GET /acme/web/raw/branch/main/README", "read acme/web"],
    ["GET /acme/web/get/main.tar.gz", "read acme/web"],
    ["GET /acme/web/get/main", undefined],
    ["GET /acme/web/issues", undefined],
    ["GET /acme/web/tar.gz/main", "read acme/web", "codeload.github.com"],
    ["POST /acme/web/git-receive-pack", undefined, "codeload.github.com"],
    ["GET /acme/web/main/README", "read acme/web", "raw.githubusercontent.com"],
    ["GET /media/acme/web/main/a.bin", "read acme/web", "media.githubusercontent.com"],
    ["GET /repos/acme/web/tarball/main", "read acme/web", "api.github.com"],
    ["GET /repos/acme/web/issues", undefined, "api.github.com"],
  ];
  for (const [line, expected, host] of rows) {
    await t.step(`${host ?? ""} ${line}`, () => {
      const found = readGit(request(line, host));
      assertEquals(found && `${found.access} ${found.repo}`, expected);
    });
  }
});

Deno.test("a rule for reading allows no writing, in any reading of the path", async (t) => {
  const read = (more: Partial<RuleInput> = {}) => makeRule("read", { host: HOST, git: "read", ...more });
  const acme = read({ repo: ["acme/*"] });
  const rows: readonly [string, ReturnType<typeof read>, string, string][] = [
    ["clone", acme, "GET /acme/web/info/refs?service=git-upload-pack", "allow"],
    ["fetch", acme, "POST /acme/web/git-upload-pack", "allow"],
    ["push", acme, "GET /acme/web/info/refs?service=git-receive-pack", "no-rule"],
    ["push, second step", acme, "POST /acme/web/git-receive-pack", "no-rule"],
    ["another owner", acme, "POST /other/web/git-upload-pack", "no-rule"],
    ["a name that begins alike", acme, "POST /acme2/web/git-upload-pack", "no-rule"],
    ["no name", acme, "POST /acme//git-upload-pack", "no-rule"],
    ["below", acme, "POST /acme/a/b/git-upload-pack", "allow"],
    ["dot segments to another owner", acme, "POST /acme/../other/git-upload-pack", "no-rule"],
    ["encoded ones", acme, "POST /acme/..%2fother/web/git-upload-pack", "no-rule"],
    ["to another service", acme, "POST /acme/web/git-receive-pack/../git-upload-pack", "path-ambiguous"],
    ["to another service, encoded", acme, "POST /acme/web/x%2f..%2fgit-receive-pack", "no-rule"],
    ["and back", acme, "POST /acme/web/git-upload-pack/..%2fgit-receive-pack", "no-rule"],
    ["a parameter of a segment", acme, "POST /acme/web/git-receive-pack;/git-upload-pack", "no-rule"],
    ["double encoding", acme, "POST /acme/web/%2567it-receive-pack", "path-encoding"],
    ["anything else", acme, "GET /acme/web", "no-rule"],
    ["any repository", read(), "POST /x/y/z/git-upload-pack", "allow"],
    ["one repository", read({ repo: ["acme/web"] }), "POST /acme/web.git/git-upload-pack", "allow"],
    ["another repository", read({ repo: ["acme/web"] }), "POST /acme/web2/git-upload-pack", "no-rule"],
    ["in any owner's", read({ repo: ["*/web"] }), "POST /a/web/git-upload-pack", "allow"],
    ["another case", acme, "POST /Acme/web/git-upload-pack", "no-rule"],
  ];
  for (const [name, rule, line, expected] of rows) {
    await t.step(name, () => {
      const decision = decideRequest([rule], request(line));
      const outcome = decision.verdict === "allow" ? "allow" : decision.reason;
      // Where servers disagree it is denied for that; where all agree it is no rule's.
      const isDenied = expected === "no-rule" && outcome === "path-ambiguous";
      assertEquals(isDenied ? "no-rule" : outcome, expected);
    });
  }
});

Deno.test("on the big hosts names of repositories are the same in any case", () => {
  const verdictOn = (host: string, line = "POST /acme/WEB.git/git-upload-pack") => {
    const rule = makeRule("read", { host, git: "read", repo: ["Acme/web"] });
    return decideRequest([rule], request(line, host)).verdict;
  };
  for (const host of ["github.com", "gitlab.com", "bitbucket.org", "codeberg.org"]) {
    assertEquals(verdictOn(host), "allow", host);
  }
  assertEquals(verdictOn("codeload.github.com", "GET /acme/WEB/zip/main"), "allow");
  assertEquals(verdictOn("git.example.com"), "deny");
});

Deno.test("git-lfs is decided by the operation in its body", async (t) => {
  const batch = request("POST /acme/web.git/info/lfs/objects/batch");
  const read = makeRule("read", { host: HOST, git: "read" });
  const write = makeRule("write", { host: HOST, git: "write" });
  await t.step("which is read only for that", () => {
    assertEquals(contentNeeded([read], batch), ["lfs"]);
    assertEquals(contentNeeded([write], batch), []);
    assertEquals(contentNeeded([read], request("POST /acme/web/git-upload-pack")), []);
    assertEquals(contentNeeded([makeRule("any", { host: HOST })], batch), []);
  });
  const why = { reason: "body-too-large", why: "its body is larger than 1 MiB" } as const;
  const rows = [
    ["download", "read"],
    ["upload", "no-rule"],
    [undefined, "body-unreadable"],
    [why, "body-too-large"],
  ] as const;
  for (const [lfs, expected] of rows) {
    await t.step(JSON.stringify(lfs) ?? "not read", () => {
      const decision = decideRequest([read], { ...batch, ...(lfs ? { content: { lfs } } : {}) });
      assertEquals(decision.verdict === "allow" ? decision.rule.id : decision.reason, expected);
    });
  }
  await t.step("what cannot be read is denied whatever rule stands behind", () => {
    const any = makeRule("any", { host: HOST });
    assertEquals(decideRequest([read, any], { ...batch, content: { lfs: why } }).verdict, "deny");
    assertEquals(decideRequest([any, read], batch).verdict, "allow");
  });
});

Deno.test("parseRepo() gives the canonical name, and parseRule() wants --git with it", async (t) => {
  assertEquals(["acme/web.git", "/acme/web", "acme/*", "*/web", "g/**/web", "web"].map(parseRepo), [
    ...["acme/web", "acme/web", "acme/*", "*/web", "g/**/web", "web"],
  ]);
  for (
    const text of ["", "/", "a//b", "a/", "../b", "a/./b", "a*/b", "a/**", "**/a/**/b", "a?b", "https://x/y"]
  ) {
    await t.step(`refuses ${text}`, () => {
      assertThrows(() => parseRepo(text), ProxyError);
    });
  }
  assertEquals(parseRepo("a".repeat(512)).length, 512);
  assertThrows(() => parseRepo("a".repeat(513)), ProxyError);
  const error = assertThrows(() => parseRule({ host: HOST, repo: ["acme/web"] }), ProxyError);
  assertEquals(error.message, "Cannot use --repo without --git");
  assertThrows(() => parseRule({ host: HOST, git: "clone" }), ProxyError, "--git");
});

Deno.test("explainDenial() says what a rule for git allows, and the rule for what was asked", () => {
  const rule = makeRule("read", { host: HOST, git: "read", repo: ["acme/*"], secret: "gh" });
  const denied = { client: "ci-1", ...request("GET /acme/web/info/refs?service=git-receive-pack") };
  const { text, command } = explainDenial(denied, "no-rule", [rule]);
  assertEquals(text.includes("it falls short in what git asks: it allows to read acme/*."), true, text);
  assertEquals(
    command,
    `slicer-proxy allow ci-1 --host ${HOST} --method GET --path /acme/web/info/refs --secret gh --git write --repo acme/web`,
  );
});

Deno.test("a rule that denies writing falls on whatever may be writing, and lets reading go on", async (t) => {
  const rules = [
    makeRule("deny", { host: HOST, deny: true, git: "write", repo: ["acme/*"] }),
    makeRule("any", { host: HOST }),
  ];
  const rows: readonly [string, string, string][] = [
    ["clone", "GET /acme/web/info/refs?service=git-upload-pack", "any"],
    ["fetch", "POST /acme/web/git-upload-pack", "any"],
    ["push", "GET /acme/web/info/refs?service=git-receive-pack", "rule-denied"],
    ["push, second step", "POST /acme/web.git/git-receive-pack", "rule-denied"],
    [
      "two services",
      "GET /acme/web/info/refs?service=git-upload-pack&service=git-receive-pack",
      "rule-denied",
    ],
    ["a service in another spelling", "GET /acme/web/info/refs?Service=git-receive-pack", "rule-denied"],
    ["another case", "POST /ACME/web/git-receive-pack", "rule-denied"],
    ["an odd path", "POST /acme//web/git-receive-pack", "rule-denied"],
    ["dot segments", "POST /x/../acme/web/git-receive-pack", "path-ambiguous"],
    ["an encoded slash", "POST /acme%2fweb/git-receive-pack", "path-ambiguous"],
    ["another owner", "POST /other/web/git-receive-pack", "any"],
    ["git-lfs, not read", "POST /acme/web/info/lfs/objects/batch", "body-unreadable"],
  ];
  for (const [name, line, expected] of rows) {
    await t.step(name, () => {
      const decision = decideRequest(rules, request(line));
      assertEquals(decision.verdict === "allow" ? decision.rule.id : decision.reason, expected);
    });
  }
  assertEquals(contentNeeded(rules, request("POST /acme/web/info/lfs/objects/batch")), ["lfs"]);
});

Deno.test("readGit() reads no path that does not begin at the root", () => {
  assertEquals(readGit({ host: HOST, method: "GET", path: "*", query: undefined }), undefined);
  assertEquals(readGit({ host: HOST, method: "GET", path: "x/a/info/refs", query: undefined }), undefined);
});
