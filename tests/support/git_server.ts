/** A git server of the smart HTTP protocol over TLS on loopback: `git http-backend` as CGI (RFC 3875). */
import { runProgram } from "./programs.ts";
import { upstreamAuthority } from "./test_authority.ts";

export interface GitServer extends AsyncDisposable {
  /** With a slash at its end; a repository's name follows. */
  readonly url: string;
  readonly port: number;
}

/** Starts it with repositories of one commit each, whose README says which it is. They can be pushed to. */
export async function startGitServer(names: readonly string[]): Promise<GitServer> {
  const root = await Deno.makeTempDir({ prefix: "slicer-git-" });
  for (const name of names) await makeRepository(root, name);
  const { certPem, keyPem } = await (await upstreamAuthority()).issue(["localhost"]);
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, cert: certPem, key: keyPem, onListen: () => {} },
    (request) => serveGit(root, request),
  );
  return {
    url: `https://localhost:${server.addr.port}/`,
    port: server.addr.port,
    [Symbol.asyncDispose]: async () => {
      await server.shutdown();
      await Deno.remove(root, { recursive: true });
    },
  };
}

/** Makes a bare repository of one commit below `root`, which can be pushed to. */
export async function makeRepository(root: string, name: string): Promise<void> {
  const work = await Deno.makeTempDir({ dir: root });
  const git = async (...args: string[]) => {
    const { code, stderr } = await runProgram("git", args, { cwd: work, env: { HOME: root } });
    if (code !== 0) throw new Error(`git ${args.join(" ")}: ${stderr}`);
  };
  await git("init", "-q", "-b", "main");
  await Deno.writeTextFile(`${work}/README`, `of ${name}\n`);
  await git("add", ".");
  await git("-c", "user.name=t", "-c", "user.email=t@t.test", "commit", "-qm", "one");
  await git("clone", "-q", "--bare", work, `${root}/${name}`);
  await git("-C", `${root}/${name}`, "config", "http.receivepack", "true");
  await Deno.remove(work, { recursive: true });
}

/** Answers one request for a repository below `root`. */
export async function serveGit(root: string, request: Request): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  const child = new Deno.Command("git", {
    args: ["http-backend"],
    env: {
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: "1",
      REMOTE_USER: "t",
      PATH_INFO: pathname,
      QUERY_STRING: search.slice(1),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: request.headers.get("content-type") ?? "",
      HTTP_CONTENT_ENCODING: request.headers.get("content-encoding") ?? "",
      GIT_PROTOCOL: request.headers.get("git-protocol") ?? "",
    },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const input = child.stdin.getWriter();
  await input.write(new Uint8Array(await request.arrayBuffer()));
  await input.close();
  const { stdout } = await child.output();
  const text = new TextDecoder("latin1").decode(stdout);
  const end = text.indexOf("\r\n\r\n");
  const headers = new Headers(
    text.slice(0, end).split("\r\n").map((line): [string, string] => {
      const [name = "", ...value] = line.split(": ");
      return [name, value.join(": ")];
    }),
  );
  const status = Number(headers.get("status")?.slice(0, 3) ?? 200);
  headers.delete("status");
  return new Response(stdout.slice(end + 4), { status, headers });
}
