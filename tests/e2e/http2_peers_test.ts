// deno-lint-ignore-file no-console
/**
 * Real programs on both sides of the proxy, each through a rule with a path and an injected credential, as processes: from
 * source, and on the compiled binary with SLICER_PROXY_BIN. What is not on this machine is left out, and said.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { startForwarder } from "../support/forwarder.ts";
import { PeerFolder, type PeerServer } from "../support/http2_peers.ts";
import { type Daemon, Program } from "../support/program.ts";
import { freePort, hasProgram, runProgram, waitForPort } from "../support/programs.ts";
import { openTunnel } from "../support/raw_peer.ts";
import { upstreamAuthority } from "../support/test_authority.ts";

interface Lab extends AsyncDisposable {
  readonly peers: PeerFolder;
  readonly daemon: Daemon;
  readonly token: string;
  /** What clients find in their environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Lets the client's requests with that path to a port of localhost through, with the credential. */
  allow(port: number, path: string): Promise<void>;
  serve(file: string): Promise<PeerServer | undefined>;
  nginx(): Promise<number | undefined>;
}

async function startLab(): Promise<Lab> {
  const stack = new AsyncDisposableStack();
  const peers = stack.use(await PeerFolder.make());
  const { dir } = peers;
  const authority = await upstreamAuthority();
  await Deno.writeTextFile(`${dir}/upstream.crt`, authority.caPem);
  const { certPem, keyPem } = await authority.issue(["localhost"]);
  await Deno.writeTextFile(`${dir}/up.crt`, certPem);
  await Deno.writeTextFile(`${dir}/up.key`, keyPem);
  const program = new Program(dir);
  const trust = ["--upstream-ca", "localhost=upstream.crt", "--allow-cidr", "127.0.0.0/8,::1/128"];
  const daemon = stack.use(await program.up([...trust, "--hostgroup", "sbox"]));
  const token = await program.ok(["client", "create", "vm"]);
  await program.ok(["secret", "create", "key", "--host", "localhost", "--value-file", "-"], {
    stdin: "REAL\n",
  });
  const proxy = `http://proxy:${token}@127.0.0.1:${daemon.httpPort}`;
  return {
    peers,
    daemon,
    token,
    env: { PROXY: proxy, grpc_proxy: proxy, no_proxy: "", CA: `${dir}/.slicer/ca/sbox/ca.crt` },
    allow: async (port, path) => {
      const rule = ["--host", "localhost", "--port", String(port), "--path", path, "--secret", "key"];
      await program.ok(["allow", "vm", ...rule]);
    },
    serve: async (file) => {
      const command = await peers.commandOf(file);
      return command && stack.use(await peers.serve(command));
    },
    nginx: async () => {
      if (!hasProgram("/usr/sbin/nginx")) return undefined;
      const port = freePort();
      await Deno.writeTextFile(`${dir}/nginx.conf`, nginxConf(dir, port));
      const child = new Deno.Command("/usr/sbin/nginx", {
        args: ["-p", dir, "-e", `${dir}/nginx.log`, "-c", `${dir}/nginx.conf`],
        stdout: "null",
        stderr: "null",
      }).spawn();
      stack.defer(async () => {
        child.kill("SIGTERM");
        await child.status;
      });
      await waitForPort(port);
      return port;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function nginxConf(dir: string, port: number): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${dir}/tmp_${name};`);
  return `daemon off; master_process off; pid ${dir}/nginx.pid; error_log ${dir}/nginx.log; events {}
http { access_log off; ${temporary.join(" ")}
  server { listen 127.0.0.1:${port} ssl http2; ssl_certificate up.crt; ssl_certificate_key up.key;
    location / { return 200 "$request_method $uri $http_authorization"; } } }`;
}

/** What each of the clients prints: a GET, a path without a rule, and an upload. */
const EXPECTED = /^200 GET \/v1\/a Bearer REAL( 0)?\n403 no-rule\n200 POST \/v1\/b Bearer REAL( 300000)?\n$/;

const CLIENTS = ["node_client.mjs", "client.go", "h2_client.py", "httpx_client.py"];

Deno.test("HTTP/2 clients and servers of other makes", async (t) => {
  await using lab = await startLab();
  const { peers, env, daemon } = lab;
  const servers: [string, number | undefined][] = [
    ["Node", (await lab.serve("node_server.mjs"))?.port],
    ["Go", (await lab.serve("server.go"))?.port],
    ["nginx", await lab.nginx()],
  ];
  const clients = await Promise.all(
    CLIENTS.map(async (file) => [file, await peers.commandOf(file)] as const),
  );
  for (const [server, port] of servers) {
    if (port === undefined) {
      console.log(`skipped: there is no ${server} server here`);
      continue;
    }
    await lab.allow(port, "/v1/*");
    // This nginx answers without reading the body, which some do not see before they have sent it.
    const upload = server === "nginx" ? 50_000 : 300_000;
    const target = `localhost:${port}`;
    for (const [client, command] of clients) {
      if (!command) console.log(`skipped: ${client} cannot run here`);
      else {
        await t.step(`${client} to ${server}`, async () => {
          const more = { UPLOAD: String(upload) };
          const { stdout, stderr } = await peers.run([...command, target], { ...env, ...more });
          assertMatch(stdout, EXPECTED, stderr);
        });
      }
    }
    if (hasProgram("curl")) {
      await t.step(`curl to ${server}`, async () => {
        const { stdout, stderr } = await curl(lab, target, upload);
        assertMatch(stdout, EXPECTED, stderr);
      });
    }
    if (hasProgram("nghttp")) {
      await t.step(`nghttp and h2load to ${server}`, () => throughForwarder(lab, target));
    }
  }
  await daemon.waitLine(/allow client=vm .*path=\/v1\/a status=200 secret=key .*proto=h2/);
});

async function curl({ env, peers }: Lab, target: string, upload: number) {
  const { dir } = peers;
  await Deno.writeTextFile(`${dir}/body`, "x".repeat(upload));
  const ask = (path: string, ...args: string[]) =>
    runProgram("curl", [
      ...["-sS", "--http2", "--max-time", "20", "--cacert", env["CA"] ?? "", "-x", env["PROXY"] ?? ""],
      ...["-H", "authorization: Bearer MINE", "-o", `${dir}/out`, "-w"],
      ...["%{http_version} %{response_code} %header{x-slicer-proxy-reason}", ...args],
      `https://${target}${path}`,
    ]);
  let [stdout, stderr] = ["", ""];
  for (const args of [["/v1/a"], ["/other"], ["/v1/b", "--data-binary", `@${dir}/body`]]) {
    const outcome = await ask(args[0] ?? "", ...args.slice(1));
    const [version, status, reason] = outcome.stdout.split(" ");
    const said = version === "2" ? reason || await Deno.readTextFile(`${dir}/out`) : `HTTP/${version}`;
    stdout += `${status} ${said}\n`;
    stderr += outcome.stderr;
  }
  return { stdout, stderr };
}

/** They know no proxy: a local port leads into a tunnel. */
async function throughForwarder({ daemon, token }: Lab, target: string): Promise<void> {
  await using forwarder = startForwarder(async () => (await openTunnel(daemon.httpPort, target, token)).conn);
  const url = `https://localhost:${forwarder.port}/v1/a`;
  const authority = ["-H", `:authority: ${target}`];
  const { stdout, stderr } = await runProgram("nghttp", ["-v", ...authority, url]);
  assertMatch(stdout, /:status: 200/, stderr);
  assertMatch(stdout, /GET \/v1\/a Bearer REAL/);
  const load = await runProgram("h2load", ["-n", "300", "-c", "3", "-m", "20", ...authority, url]);
  assertMatch(load.stdout, /300 succeeded, 0 failed, 0 errored/, load.stdout + load.stderr);
  assertMatch(load.stdout, /status codes: 300 2xx/);
}

Deno.test("gRPC by @grpc/grpc-js and grpcio, Connect, and what each of them can do", async (t) => {
  await using lab = await startLab();
  const { peers, env } = lab;
  if (!peers.hasPackages) return console.log("skipped: the packages of npm cannot be had here");
  const commandOf = async (file: string) => await peers.commandOf(file) ?? [];
  const server = await lab.serve("grpc_server.mjs");
  assert(server);
  await lab.allow(server.port, "/p.S/*");
  await lab.allow(server.port, "/grpc.reflection.v1.ServerReflection/*");
  await t.step("@grpc/grpc-js", async () => {
    const command = [...await commandOf("grpc_client.mjs"), `localhost:${server.port}`];
    const { stdout, stderr } = await peers.run(command, env);
    assertEquals(stdout.trim().split("\n"), [
      "unary: got one Bearer REAL 0102ff",
      "fail: NOT_FOUND nothing here",
      "denied: PERMISSION_DENIED no-rule",
      "client stream: a+b+c",
      "server stream: 1,2,3,4,5",
      "bidi: re x,re y",
      "deadline: DEADLINE_EXCEEDED",
      "cancel: CANCELLED",
      "reflection: p.S,p.Other",
    ], stderr);
    // The deadline's end and the cancellation have reached the server.
    for (let i = 0; i < 100 && server.text().split("cancelled").length < 3; i++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assertEquals(server.text().split("cancelled").length, 3);
    await lab.daemon.waitLine(/path=\/p\.S\/Fail status=200 secret=key .*proto=h2 grpc-status=5/);
  });
  await t.step("grpcio", async () => {
    const command = await peers.commandOf("unary.py");
    if (!command) return console.log("skipped: there is no grpcio");
    const { stdout, stderr } = await peers.run([...command, `localhost:${server.port}`], env);
    assertEquals(stdout, "got one Bearer REAL\n", stderr);
  });
  const connect = await lab.serve("connect_server.mjs");
  assert(connect);
  await lab.allow(connect.port, "/p.S/*");
  await t.step("Connect", async () => {
    const command = [...await commandOf("connect_client.mjs"), `localhost:${connect.port}`];
    const { stdout, stderr } = await peers.run(command, env);
    assertEquals(stdout.trim().split("\n"), [
      "connect | got one Bearer REAL | NotFound nothing here | PermissionDenied no-rule | 1,2,3 | re x,re y",
      "grpc | got one Bearer REAL | NotFound nothing here | PermissionDenied no-rule | 1,2,3 | re x,re y",
      "grpc-web | got one Bearer REAL | NotFound nothing here | PermissionDenied no-rule | 1,2,3 | re x,re y",
    ], stderr);
  });
});
