// deno-lint-ignore-file no-console
/**
 * Installing the helper in other ways, failing in the middle and being killed in the middle: afterwards the VM is either as
 * it was or completely set up.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { AgentVm, PROXY_IP, VM_CLIENT, whyNoVm } from "../support/agent_vm.ts";

/** Makes an installation look as earlier versions made it, by the guest agent's name, and run. */
const AS_OLDER = `set -e
  python3 -c "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/slicer-proxy-agent.sock'); s.send(b'stop\\n'); s.recv(9)"
  mv /etc/slicer-proxy-agent /etc/slicer-agent
  mv /etc/profile.d/slicer-proxy-agent.sh /etc/profile.d/slicer-agent.sh
  sed -i s,/etc/slicer-proxy-agent,/etc/slicer-agent,g /etc/slicer-agent/config.json /etc/profile.d/slicer-agent.sh /etc/environment
  python3 - <<'EOF'
import hashlib, json
path = "/etc/slicer-agent/journal.jsonl"
lines = [json.loads(line.replace("profile.d/slicer-proxy-agent.sh", "profile.d/slicer-agent.sh")) for line in open(path)]
for line in lines:
    if line["change"] == "file": line["sha256"] = hashlib.sha256(open(line["path"], "rb").read()).hexdigest()
lines = [line for line in lines if line.get("path") != "/etc/slicer-proxy-agent"]
open(path, "w").write("".join(json.dumps(line, separators=(",", ":")) + "\\n" for line in lines))
EOF
  setsid slicer-proxy agent supervise >/dev/null 2>&1 < /dev/null &
  for i in $(seq 100); do getent hosts api.example.com >/dev/null && break; sleep 0.1; done`;

async function outsideFiles(www: string): Promise<void> {
  await Deno.mkdir(`${www}/api.example.com`);
  await Deno.writeTextFile(`${www}/api.example.com/index.html`, "hello from outside\n");
}

Deno.test("installing the helper is all or nothing", async (t) => {
  const why = await whyNoVm();
  if (why !== undefined) return console.log(`skipped: ${why}`);
  await using vm = await AgentVm.start(outsideFiles);
  await vm.host(`allow ${VM_CLIENT} --host api.example.com`);
  await vm.ok("printf 'LANG=C\\nHTTP_PROXY=http://old:1\\n' > /etc/environment; chmod 640 /etc/environment");
  await vm.ok(
    "mkdir /run/resolve && mv /etc/resolv.conf /run/resolve/stub && ln -s /run/resolve/stub /etc/resolv.conf",
  );
  await vm.ok("printf 'search corp.example\\nnameserver 10.0.0.1\\noptions ndots:2\\n' > /run/resolve/stub");
  await vm.ok('mkdir -p /etc/docker && printf \'{"log-driver": "local"}\' > /etc/docker/daemon.json');
  await vm.ok(`printf %s '${vm.token}' > /root/token`);
  const before = await vm.fingerprint();
  const install = (args = "") =>
    vm.run(`slicer-proxy-agent install ${PROXY_IP} --token-file /root/token ${args}`);
  const fetch = () => vm.run("curl -sS https://api.example.com/");

  await t.step("what was in the files stays, what the helper needs is added", async () => {
    const ran = await install();
    assertEquals(ran.code, 0, ran.all);
    assertMatch(
      await vm.ok("cat /etc/resolv.conf"),
      /nameserver 127\.0\.0\.1\nsearch corp\.example\noptions ndots:2\n/,
    );
    const environment = await vm.ok("cat /etc/environment");
    assertStringIncludes(environment, "LANG=C\n");
    assert(!environment.includes("old"), environment);
    assertEquals(await vm.ok("stat -c %a /etc/environment"), "640\n");
    const docker = JSON.parse(await vm.ok("cat /etc/docker/daemon.json"));
    assertEquals(docker["log-driver"], "local");
    assertEquals(docker.proxies["https-proxy"], "http://127.0.0.1:18128");
    assertEquals((await fetch()).stdout, "hello from outside\n");
    await vm.ok("echo '{}' > /etc/docker/daemon.json");
    const status = await vm.run("slicer-proxy-agent agent status");
    assertMatch(status.stdout, /daemon\.json +NO +changed by somebody else/);
    const gone = await vm.run("slicer-proxy-agent uninstall");
    assertStringIncludes(gone.stderr, "/etc/docker/daemon.json.before-uninstall");
    assertEquals(await vm.fingerprint(), before);
  });

  await t.step("a step that fails takes back those before it", async () => {
    const breakages = [
      {
        name: "daemon.json is no JSON",
        make: "cp -a /etc/docker/daemon.json /root/d; echo '{' > /etc/docker/daemon.json",
        undo: "cp -a /root/d /etc/docker/daemon.json",
        isEarly: true,
      },
      {
        name: "port 53 is taken",
        make:
          "/usr/bin/python3 -c \"import socket; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', 53)); s.listen(); open('/tmp/taken', 'w'); s.accept()\" >/dev/null 2>&1 & while ! [ -e /tmp/taken ]; do sleep 0.1; done",
        undo: "pkill -9 python3; rm /tmp/taken",
        isEarly: true,
      },
      {
        name: "a late file cannot be written",
        make: "mv /etc/environment /root/e; mkdir /etc/environment",
        undo: "rmdir /etc/environment; mv /root/e /etc/environment",
        isEarly: false,
      },
      {
        name: "the trust store fails",
        make:
          "mv /usr/sbin/update-ca-certificates /root/u; printf '#!/bin/sh\\nexit 3\\n' > /usr/sbin/update-ca-certificates; chmod 755 /usr/sbin/update-ca-certificates",
        undo: "mv /root/u /usr/sbin/update-ca-certificates",
        isEarly: false,
      },
    ];
    for (const { name, make, undo, isEarly } of breakages) {
      await vm.ok(make);
      const broken = await vm.fingerprint();
      const ran = await install();
      assertEquals(ran.code, 1, `${name}: ${ran.all}`);
      assertEquals(ran.stderr.includes("putting everything back"), !isEarly, `${name}: ${ran.all}`);
      // A trust store whose program fails cannot be cleaned with it: that is said, and tried again later.
      if (name.startsWith("the trust")) {
        await vm.ok(undo);
        await vm.ok("slicer-proxy-agent uninstall");
        assertEquals(await vm.fingerprint(), before, name);
        continue;
      }
      assertEquals(await vm.fingerprint(), broken, name);
      await vm.ok(undo);
    }
    assertEquals(await vm.fingerprint(), before);
  });

  await t.step("what is somebody else's is refused before anything is touched", async () => {
    const foreign = [
      [
        "folder",
        "/etc/slicer-proxy-agent",
        "mkdir /etc/slicer-proxy-agent; echo x > /etc/slicer-proxy-agent/config.json",
      ],
      [
        "service",
        "/etc/systemd/system/slicer-proxy-agent.service",
        "echo '[Service]' > /etc/systemd/system/slicer-proxy-agent.service",
      ],
      [
        "service",
        "/usr/lib/systemd/system/slicer-proxy-agent.service",
        "mkdir -p /usr/lib/systemd/system; echo '[Service]' > /usr/lib/systemd/system/slicer-proxy-agent.service",
      ],
      ["file", "/etc/profile.d/slicer-proxy-agent.sh", "echo true > /etc/profile.d/slicer-proxy-agent.sh"],
      [
        "program",
        "/usr/local/bin/slicer-proxy-agent",
        "rm -f /usr/local/bin/slicer-proxy-agent; cp /usr/local/bin/slicer-agent /usr/local/bin/slicer-proxy-agent",
      ],
      ["program", "/usr/local/bin/slicer-proxy-agent", "ln -sf /bin/true /usr/local/bin/slicer-proxy-agent"],
    ] as const;
    for (const [what, path, make] of foreign) {
      await vm.ok(make);
      const taken = await vm.fingerprint();
      const ran = await vm.run(`slicer-proxy install ${PROXY_IP} --token-file /root/token`);
      assertEquals(ran.code, 1, `${path}: ${ran.all}`);
      assertStringIncludes(ran.stderr, `cannot install: the ${what} ${path} is not this program's`);
      assertEquals(await vm.fingerprint(), taken, path);
      await vm.ok(`rm -r ${path}; ln -sf slicer-proxy /usr/local/bin/slicer-proxy-agent`);
    }
    assertEquals(await vm.fingerprint(), before);
  });

  await t.step("a command of that name is made where there is none", async () => {
    await vm.ok("rm /usr/local/bin/slicer-proxy-agent");
    const without = await vm.fingerprint();
    assertEquals((await vm.run(`slicer-proxy install ${PROXY_IP} --token-file /root/token`)).code, 0);
    assertEquals((await vm.run("slicer-proxy-agent agent status")).code, 0);
    await vm.ok("slicer-proxy-agent uninstall");
    assertEquals(await vm.fingerprint(), without);
    await vm.ok("ln -s slicer-proxy /usr/local/bin/slicer-proxy-agent");
  });

  await t.step("an installation by the older names is taken over", async () => {
    const guest = "/etc/slicer-agent /etc/systemd/system/slicer-agent.service";
    await vm.ok(`mkdir /root/guest && mv ${guest} /root/guest`);
    const clean = await vm.fingerprint();
    assertEquals((await install()).code, 0);
    await vm.ok("slicer-proxy-agent tunnel add db --listen 127.0.0.1:5432 db.internal.example:5432");
    await vm.ok(AS_OLDER);
    // The older installation still runs, and is known.
    const older = await vm.run("slicer-proxy-agent agent status");
    assertEquals(older.code, 0, older.all);
    assertStringIncludes(older.stdout, "by an older name (/etc/slicer-agent)");
    const ran = await install();
    assertEquals(ran.code, 0, ran.all);
    assertStringIncludes(ran.stderr, "taking over the installation in /etc/slicer-agent");
    assertEquals((await fetch()).stdout, "hello from outside\n");
    assertStringIncludes(await vm.ok("slicer-proxy-agent tunnel list"), "db.internal.example:5432");
    await vm.ok("slicer-proxy-agent uninstall");
    assertEquals(await vm.fingerprint(), clean);
    // An older one is uninstalled as well.
    assertEquals((await install()).code, 0);
    await vm.ok(AS_OLDER);
    await vm.ok("slicer-proxy-agent uninstall");
    assertEquals(await vm.fingerprint(), clean);
    await vm.ok("cd /root/guest && mv slicer-agent /etc && mv slicer-agent.service /etc/systemd/system");
    assertEquals(await vm.fingerprint(), before);
  });

  await t.step("kill -9 at any moment: uninstall, or installing again, makes it whole", async () => {
    for (const ms of [300, 500, 700, 900, 1_100, 1_300, 1_500]) {
      const ran = await vm.run(
        `slicer-proxy-agent install ${PROXY_IP} --token-file /root/token >/dev/null 2>&1 & p=$!; sleep ${
          ms / 1_000
        }; kill -9 $p; ` +
          "wait $p 2>/dev/null; cat /etc/slicer-proxy-agent/journal.jsonl 2>/dev/null | wc -l",
      );
      if (ms % 200 === 100) {
        await vm.ok("slicer-proxy-agent uninstall");
      } else {
        const again = await install();
        assertEquals(again.code, 0, `after ${ms} ms and ${ran.stdout.trim()} changes: ${again.all}`);
        assertEquals((await fetch()).stdout, "hello from outside\n");
        await vm.ok("slicer-proxy-agent uninstall");
      }
      assertEquals(await vm.fingerprint(), before, `after ${ms} ms and ${ran.stdout.trim()} changes`);
    }
  });

  await t.step("the CA by its hash, and from the trust store", async () => {
    await vm.ok("mv /runner/ca.crt /root/ca.crt");
    const unknown = await install();
    assertEquals(unknown.code, 1, unknown.all);
    assertStringIncludes(unknown.stderr, "not signed by a CA that this VM trusts");
    const sha256 = JSON.parse(await vm.host("ca show --json --ca-dir ./ca")).fingerprint;
    const ran = await install(`--ca-sha256 ${sha256}`);
    assertEquals(ran.code, 0, ran.all);
    assertEquals((await fetch()).stdout, "hello from outside\n");
    await vm.ok("slicer-proxy-agent uninstall");
    await vm.ok(
      "cp /root/ca.crt /usr/local/share/ca-certificates/own.crt; update-ca-certificates >/dev/null 2>&1",
    );
    const trusted = await install();
    assertEquals(trusted.code, 0, trusted.all);
    assertStringIncludes(trusted.stderr, "in the trust store already");
    assertEquals((await fetch()).stdout, "hello from outside\n");
    await vm.ok("slicer-proxy-agent uninstall");
    await vm.ok(
      "rm /usr/local/share/ca-certificates/own.crt; update-ca-certificates --fresh >/dev/null 2>&1; mv /root/ca.crt /runner/ca.crt",
    );
    assertEquals(await vm.fingerprint(), before);
  });

  await t.step("DNS-over-HTTPS through the proxy", async () => {
    const ran = await install("--doh-url https://dns.example.com/dns-query");
    assertEquals(ran.code, 0, ran.all);
    assertStringIncludes(ran.stderr, "the client needs a rule");
    assertEquals((await fetch()).code, 6, "no rule for the resolver, no names");
    await vm.host(`allow ${VM_CLIENT} --host dns.example.com --method POST --path /dns-query`);
    const found = await fetch();
    assertEquals(found.stdout, "hello from outside\n", found.all);
    assertEquals((await vm.run("slicer-proxy-agent agent status")).code, 0);
    assertEquals((await vm.run("curl -sS https://nobody.example.com/")).code, 6);
    await vm.waitLine(
      /^allow client=vm-1 method=POST scheme=https host=dns\.example\.com .*path=\/dns-query status=200/m,
    );
    await vm.ok("slicer-proxy-agent uninstall");
  });

  await t.step("from HTTPS_PROXY, and with iptables where there is no nft", async () => {
    await vm.ok("mv /usr/sbin/nft /root/nft");
    const ran = await vm.run(
      `HTTPS_PROXY=http://proxy:${vm.token}@${PROXY_IP}:3128 slicer-proxy-agent install`,
    );
    if (/neither nft nor iptables/.test(ran.all)) return;
    assertEquals(ran.code, 0, ran.all);
    assertStringIncludes(ran.stderr, "(iptables)");
    assertEquals((await fetch()).stdout, "hello from outside\n");
    assertEquals((await vm.run("slicer-proxy-agent agent status")).code, 0);
    await vm.ok("slicer-proxy-agent uninstall; mv /root/nft /usr/sbin/nft");
    assert(!(await vm.ok("nft list ruleset 2>/dev/null; ip rule")).includes("SLICER"));
  });
});
