/**
 * What in this VM would not trust the CA or not use the proxy, tool by tool, and what to do about it. Everything that a tool
 * needs beyond the system's trust store and the redirects is known here and nowhere else.
 *
 * @module
 */
import { messageOf } from "../core/errors.ts";
import { type AgentConfig, readConfig, readToken } from "./config.ts";
import { exists, readIfThere } from "./files.ts";
import { Journal } from "./journal.ts";
import { addToNss, caInNss, CERTUTIL_ADVICE, findNssStores, hasCertutil, type NssStore } from "./nss.ts";
import { checkProxy } from "./name_lookup.ts";
import { PIECES } from "./pieces.ts";
import { findProgram, runProgram, whyFailed } from "./programs.ts";
import {
  findTrustStore,
  fingerprintsOf,
  holdsCertificates,
  JAVA_ALIAS,
  JAVA_STORE,
  updateTrustStore,
  validityOf,
} from "./trust.ts";

/** What was found about one tool. */
export interface Finding {
  readonly tool: string;
  readonly ok: boolean;
  readonly state: string;
  /** What to do, where it is not well. */
  readonly advice?: string;
  /** Does it, where that is safe. */
  readonly fix?: () => Promise<void>;
}

/** Where the doctor looks. */
export interface DoctorOptions {
  readonly env: (name: string) => string | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

interface Patient extends DoctorOptions {
  readonly config: AgentConfig;
  readonly caPem: string;
  readonly bundle: string | undefined;
  /** Names set for every login, or in the doctor's own environment. */
  readonly variables: ReadonlyMap<string, string>;
}

/** Certificates are made a little in the past, so that a clock may be slow by this much. */
const TOLERATED_SKEW_MS = 60_000;

const CHECKS: readonly ((patient: Patient) => Promise<Finding | undefined>)[] = [
  checkClock,
  checkTrustStore,
  checkEnvironment,
  checkJava,
  checkBrowsers,
  checkDocker,
  (patient) => checkByVariable(patient, "node", ["NODE_EXTRA_CA_CERTS"]),
  checkPython,
  checkGo,
  (patient) => checkByVariable(patient, "deno", ["DENO_CERT", "DENO_TLS_CA_STORE"]),
  (patient) => checkByVariable(patient, "bun", ["NODE_EXTRA_CA_CERTS"]),
  checkGit,
];

/**
 * Looks at everything that is there. A tool that is not installed is left out.
 *
 * @returns undefined where no helper is installed
 */
export async function examine(options: DoctorOptions): Promise<readonly Finding[] | undefined> {
  const config = await readConfig();
  if (!config) return undefined;
  const store = await findTrustStore();
  const patient: Patient = {
    ...options,
    config,
    caPem: await readIfThere(config.caFile) ?? "",
    bundle: store && await readIfThere(store.bundle),
    variables: await variablesOf(options),
  };
  const findings: Finding[] = [];
  for (const check of CHECKS) {
    const finding = await check(patient);
    if (finding) findings.push(finding);
  }
  return findings;
}

async function checkClock({ config, caPem, now }: Patient): Promise<Finding> {
  const tool = "clock";
  const advice = "set the clock: chronyc makestep, or date -s with the host's time";
  const validity = config.dohUrl === undefined ? validityOf(caPem) : undefined;
  if (validity && (now() < validity.from || now() > validity.to)) {
    return { tool, ok: false, state: "outside the time in which the CA is valid", advice };
  }
  try {
    const proxyTime = await checkProxy({ proxy: config.proxy, caPem, token: await readToken() ?? "" });
    if (proxyTime === undefined) return { tool, ok: true, state: "not compared: the proxy tells no time" };
    const skewMs = now() - proxyTime;
    const words = `${Math.round(Math.abs(skewMs) / 1_000)} s ${skewMs < 0 ? "behind" : "ahead of"} the proxy`;
    return Math.abs(skewMs) <= TOLERATED_SKEW_MS
      ? { tool, ok: true, state: words }
      : { tool, ok: false, state: words, advice };
  } catch (error) {
    return {
      tool,
      ok: false,
      state: `not compared: ${messageOf(error)}`,
      advice: "slicer-proxy agent status",
    };
  }
}

async function checkTrustStore({ bundle, caPem, config }: Patient): Promise<Finding> {
  const tool = "trust store";
  const store = await findTrustStore();
  if (!store || bundle === undefined) {
    return {
      tool,
      ok: false,
      state: "there is none",
      advice: "apt-get install ca-certificates (apk add, dnf install), then install the helper again",
    };
  }
  if (config.caFile === store.bundle || holdsCertificates(bundle, caPem)) {
    return { tool, ok: true, state: "holds the CA" };
  }
  return {
    tool,
    ok: false,
    state: `${store.bundle} does not hold the CA`,
    advice: `${store.program} ${store.args.join(" ")}`.trim(),
    fix: () => updateTrustStore(store),
  };
}

// deno-lint-ignore require-await
async function checkEnvironment({ env }: Patient): Promise<Finding> {
  const tool = "this shell";
  return env("NODE_EXTRA_CA_CERTS") !== undefined ? { tool, ok: true, state: "has the variables" } : {
    tool,
    ok: false,
    state: "was started before the helper was installed",
    advice: `log in again, or: . ${PIECES.profile}`,
  };
}

/** Tools with their own list of certificates, which a variable extends. */
async function checkByVariable(
  patient: Patient,
  tool: string,
  names: readonly string[],
): Promise<Finding | undefined> {
  if (!await isOnPath(tool, patient)) return undefined;
  const found = names.find((name) => patient.variables.has(name));
  return found !== undefined ? { tool, ok: true, state: `trusts the CA through ${found}` } : {
    tool,
    ok: false,
    state: "does not look at the system's trust store",
    advice: `export ${names[0]}=${patient.config.caFile}`,
  };
}

async function checkPython(patient: Patient): Promise<Finding | undefined> {
  const tool = "python";
  if (await findProgram("python3") === undefined) return undefined;
  const ran = await runProgram("python3", ["-I", "-c", "import certifi; print(certifi.where())"], {
    timeoutMs: 20_000,
  });
  if (!ran.isOk) return { tool, ok: true, state: "uses the system's trust store (no certifi)" };
  const path = ran.stdout.trim();
  if (holdsCertificates(await readIfThere(path) ?? "", patient.caPem)) {
    return { tool, ok: true, state: `certifi holds the CA (${path})` };
  }
  const found = ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"].find((name) => patient.variables.has(name));
  if (found !== undefined) return { tool, ok: true, state: `certifi is overridden by ${found}` };
  const store = await findTrustStore();
  return {
    tool,
    ok: false,
    state: `requests and pip use ${path}, which does not hold the CA`,
    advice: `export REQUESTS_CA_BUNDLE=${store?.bundle ?? patient.config.caFile}`,
  };
}

async function checkGo(patient: Patient): Promise<Finding | undefined> {
  if (!await isOnPath("go", patient)) return undefined;
  const ok = patient.bundle !== undefined && holdsCertificates(patient.bundle, patient.caPem);
  return {
    tool: "go",
    ok,
    state: ok ? "uses the system's trust store" : "uses the system's trust store, which does not hold the CA",
    ...(ok ? {} : { advice: "see the trust store above" }),
  };
}

async function checkGit({ config, env }: Patient): Promise<Finding | undefined> {
  const tool = "git";
  if (await findProgram("git") === undefined) return undefined;
  const home = env("HOME");
  const get = async (name: string) => {
    const ran = await runProgram("git", ["config", "--get", name], {
      ...(home === undefined ? {} : { env: { HOME: home } }),
      timeoutMs: 10_000,
    });
    return ran.stdout.trim();
  };
  const proxy = await get("http.proxy");
  if (proxy !== "" && !proxy.includes(`127.0.0.1:${config.proxyPort}`)) {
    return {
      tool,
      ok: false,
      state: "http.proxy names another proxy",
      advice: "git config --global --unset http.proxy",
    };
  }
  const caInfo = await get("http.sslCAInfo");
  if (
    caInfo !== "" &&
    !holdsCertificates(await readIfThere(caInfo) ?? "", await readIfThere(config.caFile) ?? "")
  ) {
    return {
      tool,
      ok: false,
      state: `http.sslCAInfo names ${caInfo}, which does not hold the CA`,
      advice: "git config --global --unset http.sslCAInfo",
    };
  }
  return { tool, ok: true, state: "uses the system's trust store" };
}

/** Chromium and Firefox have stores of their own, one for each user. */
async function checkBrowsers({ caPem }: Patient): Promise<Finding | undefined> {
  const tool = "browsers";
  const [wanted, ...more] = fingerprintsOf(caPem);
  if (wanted === undefined || more.length > 0) return undefined; // the whole trust store: which one is not known
  const stores = await findNssStores();
  if (stores.length === 0) return undefined;
  if (!await hasCertutil()) {
    return {
      tool,
      ok: false,
      state: "their stores cannot be read",
      advice: `${CERTUTIL_ADVICE}, then doctor --fix`,
    };
  }
  const lacking: NssStore[] = [];
  for (const store of stores) {
    if (!fingerprintsOf(await caInNss(store) ?? "").includes(wanted)) lacking.push(store);
  }
  if (lacking.length === 0) return { tool, ok: true, state: `their stores hold the CA (${stores.length})` };
  return {
    tool,
    ok: false,
    state: `${lacking.map(({ path }) => path).join(", ")} does not hold the CA`,
    advice: "slicer-proxy agent doctor --fix, and restart the browser",
    fix: async () => {
      const journal = await Journal.open();
      for (const store of lacking) await addToNss(store, caPem, journal);
    },
  };
}

async function checkDocker({ config }: Patient): Promise<Finding | undefined> {
  const tool = "docker";
  if (await findProgram("dockerd") === undefined && !await exists("/etc/docker")) return undefined;
  const text = await readIfThere(PIECES.docker) ?? "";
  if (text.includes(`127.0.0.1:${config.proxyPort}`)) {
    return {
      tool,
      ok: true,
      state: "the daemon goes through the helper; containers do with --network host, else they need " +
        "HTTPS_PROXY and the CA of their own",
    };
  }
  return {
    tool,
    ok: false,
    state: `${PIECES.docker} does not name the helper`,
    advice: "install the helper again, then: systemctl restart docker",
  };
}

async function checkJava({ caPem, config }: Patient): Promise<Finding | undefined> {
  const tool = "java";
  if (await findProgram("java") === undefined || await findProgram("keytool") === undefined) return undefined;
  const [wanted, ...more] = fingerprintsOf(caPem);
  if (wanted === undefined || more.length > 0) return undefined; // the whole trust store: which one is not known
  const list = await runProgram("keytool", ["-list", ...JAVA_STORE], { timeoutMs: 60_000 });
  if (!list.isOk) {
    return {
      tool,
      ok: false,
      state: `the keystore cannot be read: ${whyFailed(list)}`,
      advice: "check $JAVA_HOME/lib/security/cacerts",
    };
  }
  const known = list.stdout.replaceAll(":", "").toLowerCase();
  if (known.includes(wanted)) return { tool, ok: true, state: "the keystore holds the CA" };
  const args = ["-importcert", "-noprompt", ...JAVA_STORE, "-alias", JAVA_ALIAS, "-file", config.caFile];
  return {
    tool,
    ok: false,
    state: "the keystore does not hold the CA",
    advice: `keytool ${args.join(" ")}`,
    fix: async () => {
      await runProgram("keytool", ["-delete", ...JAVA_STORE, "-alias", JAVA_ALIAS]);
      const ran = await runProgram("keytool", args);
      if (!ran.isOk) throw new Error(`keytool: ${whyFailed(ran)}`);
    },
  };
}

/** True when a program is on the user's own path too, where it is looked for but never run from. */
async function isOnPath(name: string, { env }: DoctorOptions): Promise<boolean> {
  if (await findProgram(name) !== undefined) return true;
  for (const folder of (env("PATH") ?? "").split(":")) {
    if (folder.startsWith("/") && await exists(`${folder}/${name}`)) return true;
  }
  return false;
}

const VARIABLES = [
  "NODE_EXTRA_CA_CERTS",
  "DENO_CERT",
  "DENO_TLS_CA_STORE",
  "REQUESTS_CA_BUNDLE",
  "SSL_CERT_FILE",
];

async function variablesOf({ env }: DoctorOptions): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const line of (await readIfThere(PIECES.environment) ?? "").split("\n")) {
    const match = /^(\w+)="?([^"]*)"?$/.exec(line);
    if (match?.[1] !== undefined && match[2]) found.set(match[1], match[2]);
  }
  for (const name of VARIABLES) {
    const value = env(name);
    if (value !== undefined) found.set(name, value);
  }
  return found;
}
