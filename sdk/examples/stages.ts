// deno-lint-ignore-file no-console
/**
 * A policy, stage by stage: what a microVM may reach while it installs packages, and then, when code runs that nobody
 * has read, nothing but one API, with a key that the code never sees.
 *
 * The two commands stand for the VM here: they run on this machine, with the proxy in their environment.
 *
 *     export LLM_KEY=sk-…
 *     deno run --allow-net --allow-read --allow-write --allow-env --allow-run sdk/examples/stages.ts \
 *       'npm ci' 'node agent.js'
 *
 * Under Node: install the package, compile this file with `tsc --target es2022 --module nodenext`, and run it with
 * `node`.
 */
import { spawn } from "node:child_process";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { SlicerProxy, SlicerProxyError, type StageRule } from "slicer-proxy-sdk";

const [installCommand = "npm ci", agentCommand = "node agent.js"] = process.argv.slice(2);
const { REGISTRY = "registry.npmjs.org", LLM = "api.anthropic.com", LLM_KEY, LLM_HEADER = "x-api-key" } =
  process.env;

async function main(): Promise<void> {
  if (!LLM_KEY) throw new SlicerProxyError("Cannot start: LLM_KEY, the key of the API, is not set");
  const proxy = SlicerProxy.fromEnv();
  const client = `stages-${Date.now()}`;
  const key = `${client}-key`;
  const began = new Date();
  const { bind, http_port } = await proxy.status();
  const { token } = await proxy.clients.create(client);
  try {
    const environment = { HTTPS_PROXY: `http://vm:${token}@${bind}:${http_port}` };

    say("install: the package registry, to read, for ten minutes at most");
    {
      await using _stage = await proxy.stage(client, [{ ...target(REGISTRY), methods: ["GET"] }], {
        ttl: "10m",
      });
      await run(installCommand, environment);
    } // Here the rule is revoked, and whatever connection it had opened is closed.

    say("run: one API, with a key that the proxy puts in, and nothing else");
    const llm = target(LLM);
    await proxy.secrets.create({
      name: key,
      host: llm.host,
      type: "header",
      value: `${LLM_HEADER}: ${LLM_KEY}`,
    });
    await proxy.allows.add({ client, ...llm, methods: ["POST"], paths: ["/v1/*"], secret: key });
    await run(agentCommand, environment);

    say("what was denied");
    await sleep(1_000); // records are written a moment after their requests
    for await (
      const { method, host, port, path, reason } of proxy.audit({ client, denied: true, since: began })
    ) {
      console.log(`  ${method} ${host}:${port}${path ?? ""} (${reason})`);
    }
  } finally {
    await proxy.clients.delete(client);
    await proxy.secrets.delete(key).catch(() => {}); // it may not have come that far
  }
}

/** `host` or `host:port` as the fields of a rule. */
function target(text: string): StageRule {
  const { hostname, port } = new URL(`https://${text}`);
  return port === "" ? { host: hostname } : { host: hostname, ports: [Number(port)] };
}

/** Runs a command to its end. That it fails is no error here: the policy may have denied what it wanted. */
function run(command: string, environment: Readonly<Record<string, string>>): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, { shell: true, stdio: "inherit", env: { ...process.env, ...environment } });
    child.on("error", reject);
    child.on("exit", (code) => {
      console.log(`  ${command}: ended with ${code}`);
      resolve();
    });
  });
}

function say(text: string): void {
  console.log(`== ${text}`);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof SlicerProxyError)) throw error;
  console.error(`error: ${error.message}`);
  if (error.hint !== undefined) console.error(`hint: ${error.hint}`);
  process.exitCode = 1;
}
