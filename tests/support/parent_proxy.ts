/** Parent proxies: a small one of our own that does as a test says, and the real Squid and tinyproxy. */
import { parentFor, type ParentProxies, type ParentProxy } from "../../proxy/egress/parents/parents.ts";
import { NO_PARENTS } from "../../proxy/egress/parents/parents.ts";
import { startRawUpstream, type Upstream } from "./echo_upstream.ts";
import { freePort, waitForPort } from "./programs.ts";
import { dialRaw, type RawPeer } from "./raw_peer.ts";

/** Everything through one parent. */
export function everythingBy(
  parent: Partial<ParentProxy> & { readonly port: number },
  more: Partial<ParentProxies> = {},
): ParentProxies {
  const whole = { scheme: "http", host: "127.0.0.1", ...parent } as const;
  const parents = { ...NO_PARENTS, byPattern: [{ pattern: "*", parent: whole }], ...more };
  if (parentFor(parents, "up.test") === undefined) throw new Error("this parent is for nobody");
  return parents;
}

export interface TestParent extends Upstream {
  /** The heads that it was sent. */
  readonly heads: string[];
}

export interface TestParentOptions {
  /** Of its certificate; without any it speaks clear HTTP. */
  readonly names?: readonly string[];
  /** What it says to CONNECT. Default: that it is connected. */
  readonly answer?: (authority: string) => string | Promise<string>;
  /** Where it really connects. Default: the port that was asked for, on loopback. */
  readonly port?: (authority: string) => number;
}

/** A parent that takes CONNECT. */
export async function startTestParent(options: TestParentOptions = {}): Promise<TestParent> {
  const heads: string[] = [];
  const parent = await startRawUpstream(async (peer) => {
    const head = await peer.readHead();
    heads.push(head);
    const authority = head.split(" ")[1] ?? "";
    const answer = await options.answer?.(authority) ?? "HTTP/1.1 200 Connection established\r\n\r\n";
    if (/^HTTP\/1\.[01] 2\d\d/.test(answer)) {
      using far = await dialRaw(options.port?.(authority) ?? Number(authority.split(":").at(-1)));
      await peer.send(answer);
      await joined(peer, far);
    } else await peer.send(answer);
  }, { names: options.names ?? [] });
  return Object.defineProperty(parent, "heads", { value: heads }) as TestParent;
}

async function joined(one: RawPeer, other: RawPeer): Promise<void> {
  const pass = async (from: Deno.Conn, to: Deno.Conn) => {
    const buffer = new Uint8Array(65_536);
    try {
      for (let count; (count = await from.read(buffer)) !== null;) {
        for (let at = 0; at < count;) at += await to.write(buffer.subarray(at, count));
      }
      await to.closeWrite();
    } catch {
      for (const each of [from, to]) close(each);
    }
  };
  await Promise.all([pass(one.conn, other.conn), pass(other.conn, one.conn)]);
}

function close(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // closed already
  }
}

/** A program that is a parent. */
export interface ParentProgram extends AsyncDisposable {
  readonly port: number;
  /** Its own log of requests. */
  log(): Promise<string>;
}

/** Squid, with basic authentication when there is a user, and names that only it knows. */
export async function startSquid(
  { user, hosts = { localhost: "127.0.0.1" } }: {
    readonly user?: { readonly name: string; readonly password: string };
    readonly hosts?: Readonly<Record<string, string>>;
  } = {},
): Promise<ParentProgram> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-test-squid-" });
  await Deno.chmod(dir, 0o777); // it gives up root
  const port = freePort();
  await Deno.writeTextFile(
    `${dir}/hosts`,
    Object.entries(hosts).map(([name, ip]) => `${ip} ${name}\n`).join(""),
  );
  if (user) {
    const hashed = await new Deno.Command("openssl", { args: ["passwd", "-apr1", user.password] }).output();
    await Deno.writeTextFile(`${dir}/users`, `${user.name}:${new TextDecoder().decode(hashed.stdout)}`);
  }
  const auth = user
    ? `auth_param basic program /usr/lib/squid/basic_ncsa_auth ${dir}/users
auth_param basic children 1
acl known proxy_auth REQUIRED
http_access deny !known
`
    : "";
  await Deno.writeTextFile(
    `${dir}/squid.conf`,
    `http_port 127.0.0.1:${port}
pid_filename none
coredump_dir ${dir}
access_log stdio:${dir}/access.log
cache_log ${dir}/cache.log
cache deny all
hosts_file ${dir}/hosts
dns_nameservers 127.0.0.1
shutdown_lifetime 1 seconds
${auth}http_access allow all
`,
  );
  return await startParentProgram("squid", ["-N", "-f", `${dir}/squid.conf`], { dir, port });
}

/** tinyproxy, with basic authentication when there is a user. */
export async function startTinyproxy(
  { user }: { readonly user?: { readonly name: string; readonly password: string } } = {},
): Promise<ParentProgram> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-test-tinyproxy-" });
  const port = freePort();
  await Deno.writeTextFile(
    `${dir}/tinyproxy.conf`,
    `Port ${port}
Listen 127.0.0.1
Timeout 60
MaxClients 50
LogFile "${dir}/access.log"
LogLevel Connect
${user ? `BasicAuth ${user.name} ${user.password}\n` : ""}`,
  );
  return await startParentProgram("tinyproxy", ["-d", "-c", `${dir}/tinyproxy.conf`], { dir, port });
}

async function startParentProgram(
  name: string,
  args: readonly string[],
  { dir, port }: { readonly dir: string; readonly port: number },
): Promise<ParentProgram> {
  const child = new Deno.Command(name, { args: [...args], stdin: "null", stdout: "null", stderr: "null" })
    .spawn();
  const stop = async () => {
    try {
      child.kill("SIGKILL");
    } catch {
      // it has ended
    }
    await child.status;
    await Deno.remove(dir, { recursive: true });
  };
  try {
    await waitForPort(port);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    port,
    log: () => Deno.readTextFile(`${dir}/access.log`),
    [Symbol.asyncDispose]: stop,
  };
}
