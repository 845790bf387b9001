import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  dockerConfig,
  environmentFile,
  environmentVariables,
  profileScript,
  resolvConf,
  systemdUnit,
} from "../../../agent/pieces.ts";
import { ProxyError } from "../../../core/errors.ts";

const OPTIONS = {
  proxyAddress: "192.168.222.1",
  proxyPort: 18_128,
  caFile: "/etc/slicer-proxy-agent/ca.crt",
  bundle: "/etc/ssl/certs/ca-certificates.crt",
};

Deno.test("resolvConf() changes the name server and nothing else", () => {
  const before =
    "# by hand\nnameserver 10.0.0.1\nsearch a.example b.example\nnameserver 10.0.0.2\noptions edns0\n";
  assertEquals(
    resolvConf(before).split("\n").slice(1),
    ["nameserver 127.0.0.1", "search a.example b.example", "options edns0", ""],
  );
  assertEquals(resolvConf("").split("\n").slice(1), ["nameserver 127.0.0.1", ""]);
});

Deno.test("environmentVariables() name the local proxy and the CA, and leave the bundle out where there is none", () => {
  const variables = environmentVariables(OPTIONS);
  assertEquals(variables.get("HTTPS_PROXY"), "http://127.0.0.1:18128");
  assertEquals(variables.get("no_proxy"), "localhost,127.0.0.1,::1,192.168.222.1");
  assertEquals(variables.get("NODE_EXTRA_CA_CERTS"), OPTIONS.caFile);
  assertEquals(variables.get("REQUESTS_CA_BUNDLE"), OPTIONS.bundle);
  const without = environmentVariables({ ...OPTIONS, bundle: undefined });
  assert(!without.has("SSL_CERT_FILE") && without.has("NODE_EXTRA_CA_CERTS"));
  assertStringIncludes(
    environmentVariables({ ...OPTIONS, proxyAddress: "fd00::1" }).get("NO_PROXY") ?? "",
    "[fd00::1]",
  );
});

Deno.test("environmentFile() keeps what is there, less the names that are set", () => {
  const variables = new Map([["HTTP_PROXY", "http://127.0.0.1:1"]]);
  const rows = [
    { name: "empty", before: "", kept: "" },
    { name: "others stay", before: 'PATH="/bin"\n# note\n', kept: 'PATH="/bin"\n# note\n' },
    { name: "ours go", before: "HTTP_PROXY=old\nLANG=C\nexport HTTP_PROXY=older", kept: "LANG=C\n" },
    { name: "a longer name is another", before: "HTTP_PROXY_X=1\n", kept: "HTTP_PROXY_X=1\n" },
  ];
  for (const { name, before, kept } of rows) {
    const text = environmentFile(before, variables);
    assertEquals(
      text,
      `${kept}# made by slicer-proxy agent install\nHTTP_PROXY="http://127.0.0.1:1"\n`,
      name,
    );
  }
});

Deno.test("profileScript() is a script that every shell reads", async () => {
  const script = profileScript(environmentVariables(OPTIONS));
  const { stdout } = await new Deno.Command("sh", {
    args: ["-c", `${script}\nprintf %s "$https_proxy $NODE_EXTRA_CA_CERTS"`],
    clearEnv: true,
  }).output();
  assertEquals(new TextDecoder().decode(stdout), "http://127.0.0.1:18128 /etc/slicer-proxy-agent/ca.crt");
});

Deno.test("dockerConfig() adds the proxies to what is there", () => {
  assertEquals(JSON.parse(dockerConfig('{"dns": ["1.1.1.1"], "proxies": {"http-proxy": "x"}}', OPTIONS)), {
    dns: ["1.1.1.1"],
    proxies: {
      "http-proxy": "http://127.0.0.1:18128",
      "https-proxy": "http://127.0.0.1:18128",
      "no-proxy": "localhost,127.0.0.1,::1,192.168.222.1",
    },
  });
  for (const before of [undefined, "", " \n"]) assertStringIncludes(dockerConfig(before, OPTIONS), "proxies");
  for (const before of ["{", "[]", '"x"', "null"]) {
    assertThrows(() => dockerConfig(before, OPTIONS), ProxyError);
  }
});

Deno.test("systemdUnit() is one that systemd takes, and holds no token", async () => {
  const unit = systemdUnit(["/opt/my tools/100%/slicer-proxy", "agent", "run"]);
  assertStringIncludes(unit, 'ExecStart="/opt/my tools/100%%/slicer-proxy" agent run\n');
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/slicer-proxy-agent.service`, systemdUnit(["/bin/true", "agent", "run"]));
    const { success, stderr } = await new Deno.Command("systemd-analyze", {
      args: ["verify", `${dir}/slicer-proxy-agent.service`],
    }).output();
    const said = new TextDecoder().decode(stderr);
    assert(success && !said.includes("slicer-proxy-agent"), said);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error; // no systemd here: the text alone was checked
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
