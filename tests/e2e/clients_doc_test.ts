/**
 * The table of docs/CLIENTS.md: each client with the variables that `env` prints, and with the program that the document has
 * for it. What is not installed is skipped, and said so.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { makeRepository } from "../support/git_server.ts";
import { hasProgram, runProgram } from "../support/programs.ts";
import { RecipeLab, whyNoLab } from "../support/recipe_lab.ts";

const DOCUMENT = new URL("../../docs/CLIENTS.md", import.meta.url);
const URL_ = "https://api.example.com/v1/models";
const PYTHON = "/usr/bin/python3";

/** How a client is run, in a folder that has the document's programs; and what has to be there for it. */
interface Run {
  readonly command: string;
  readonly needs: readonly string[];
  /** Ends with 0 where the library is there. */
  readonly probe?: string;
  /** What it says. */
  readonly says?: string;
}

const has = (library: string) => `${PYTHON} -c 'import ${library}'`;

const RUNS: Readonly<Record<string, Run>> = {
  "curl": { command: `curl -sSf ${URL_}`, needs: ["curl"] },
  "git": {
    command: "git ls-remote https://github.com/acme/widgets.git",
    needs: ["git"],
    says: "refs/heads/main",
  },
  "wget": { command: `wget -qO- ${URL_}`, needs: ["wget"] },
  "Python urllib": {
    command: `${PYTHON} -c 'import urllib.request as u; print(u.urlopen("${URL_}").read())'`,
    needs: [PYTHON],
  },
  "Python requests": {
    command: `${PYTHON} -c 'import requests; print(requests.get("${URL_}").text)'`,
    needs: [PYTHON],
    probe: has("requests"),
  },
  "Python aiohttp": { command: `${PYTHON} "$PROGRAM"`, needs: [PYTHON], probe: has("aiohttp") },
  "Python httpx": {
    command: `${PYTHON} -c 'import httpx; print(httpx.get("${URL_}").text)'`,
    needs: [PYTHON],
    probe: has("httpx"),
  },
  "Node fetch": {
    command: `node -e 'fetch("${URL_}").then((r) => r.text()).then(console.log)'`,
    needs: ["node"],
    probe: `node -e 'process.exit(require("http").globalAgent && "setGlobalProxyFromEnv" in require("http") ||
      /^v2[46]/.test(process.version) ? 0 : 1)'`,
  },
  "Node undici": { command: `node "$PROGRAM"`, needs: ["node"], probe: `node -e 'require("undici")'` },
  "npm": {
    command: "npm view demo version --registry https://api.example.com/v1/npm/",
    needs: ["npm"],
    says: "1.0.0",
  },
  "Deno": {
    command: `${Deno.execPath()} eval --no-config 'console.log(await (await fetch("${URL_}")).text())'`,
    needs: [Deno.execPath()],
  },
  "Go": {
    command: 'cp "$PROGRAM" main.go && GOFLAGS=-mod=mod GO111MODULE=off go run main.go',
    needs: ["go"],
  },
  "cargo": {
    command: "cargo search demo --index sparse+https://api.example.com/v1/index/",
    needs: ["cargo"],
    says: 'demo = "1.0.0"',
  },
  "Perl LWP": { command: `perl "$PROGRAM"`, needs: ["perl"], probe: "perl -MLWP::Protocol::https -e 1" },
  "Java": { command: `cp "$PROGRAM" Fetch.java && . ./java.sh`, needs: ["java", "keytool", "javac"] },
};

const GO = `package main
import ("io"; "net/http"; "os")
func main() {
  answer, err := http.Get("${URL_}")
  if err != nil { panic(err) }
  io.Copy(os.Stdout, answer.Body)
}`;

const reason = await whyNoLab();
if (reason !== undefined) {
  Deno.stderr.writeSync(new TextEncoder().encode(`skipping the clients: ${reason}\n`));
}

Deno.test({
  ignore: reason !== undefined,
  name: "every row of docs/CLIENTS.md works with the variables of env and what the row says",
}, async (t) => {
  const text = await Deno.readTextFile(DOCUMENT);
  const rows = [...text.matchAll(/^\| ([^|]+?) +\| (TLS|in clear|`--plain`) +\|/gm)];
  assertEquals(rows.map(([, name]) => name).sort(), Object.keys(RUNS).sort());
  await using lab = await RecipeLab.start(async (dir) => {
    await Deno.mkdir(`${dir}/out/git/acme`, { recursive: true });
    await makeRepository(`${dir}/out/git`, "acme/widgets.git");
  });
  const [, commands = ""] = /^```sh\n# on the host\n([^]*?)^```/m.exec(text) ?? [];
  const setUp = await lab.host(`umask 077
    slicer-proxy client create vm-1 > vm-1.token
    printf '%s' "$LLM_KEY" > llm.txt
    printf 'x-access-token:%s' "$GITHUB_PAT" > github.txt
    slicer-proxy secret create llm-key --host api.example.com --value-file llm.txt
    slicer-proxy secret create github-git --host github.com --type basic --value-file github.txt
    slicer-proxy allow vm-1 --host api.example.com --method GET --path '/v1/*' --secret llm-key
    slicer-proxy allow vm-1 --host github.com --path '/acme/*' --secret github-git
    ${commands}`);
  assertEquals(setUp.code, 0, setUp.stderr);
  const java = /^```sh\n(keytool [^]*?)^```/m.exec(text)?.[1] ?? "";
  await Deno.writeTextFile(`${lab.dir}/vm/java.sh`, java);
  for (const [, name = "", way] of rows) {
    const run = RUNS[name];
    if (!run || !await isHere(name, run)) continue;
    await t.step(name, async () => {
      const [, , program] = text.split(`### ${name}\n`)[1]?.match(/```(python|js|perl|java)\n([^]*?)^```/m) ??
        [];
      await Deno.writeTextFile(`${lab.dir}/vm/program`, program ?? GO);
      await lab.takeSeen();
      const own = (variable: string, other: string) => Deno.env.get(variable) ?? other;
      const rustup = own("RUSTUP_HOME", `${own("HOME", "")}/.rustup`);
      const more = `export PROGRAM=program RUSTUP_HOME=${rustup} NODE_PATH=${own("NODE_PATH", "")}`;
      const { code, stdout, stderr } = await lab.vm(
        `${more}\n${run.command}`,
        way === "`--plain`" ? "plain" : "vm-1",
      );
      assertEquals(code, 0, stderr + stdout);
      assertStringIncludes(stdout, run.says ?? "model-1");
      const seen = await lab.takeSeen();
      assert(seen.some((line) => line.endsWith(" 200")), seen.join("\n"));
    });
  }
  await t.step("a refusal: inside, at CONNECT, and inside again while learning", async () => {
    const ask = /^```sh\n# in the VM\n(curl [^]*?)^```/m.exec(text)?.[1] ?? "";
    assertEquals(JSON.parse((await lab.vm(ask, "vm-1")).stdout).reason, "no-rule");
    const unknown = "curl -sS https://api.anthropic.com/v1/models";
    const strict = await lab.vm(unknown, "vm-1");
    assertStringIncludes(strict.stderr, "CONNECT tunnel failed, response 403");
    const learn = await lab.host("slicer-proxy mode audit --client vm-1 --for 15m");
    assertEquals(learn.code, 0, learn.stderr);
    assertStringIncludes((await lab.vm(unknown, "vm-1")).stdout, "slicer-proxy allow vm-1");
    assertEquals((await lab.takeSeen()).filter((line) => line.includes("anthropic")), []);
  });
});

async function isHere(name: string, { needs, probe }: Run): Promise<boolean> {
  if (!needs.every((each) => hasProgram(each))) return false;
  if (probe === undefined || (await runProgram("sh", ["-c", probe])).code === 0) return true;
  Deno.stderr.writeSync(new TextEncoder().encode(`skipping ${name}: it is not here\n`));
  return false;
}
