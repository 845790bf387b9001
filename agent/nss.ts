/**
 * NSS certificate stores: Chromium (Playwright's too) and Firefox trust what is in them, and nothing that the system trusts.
 * Each belongs to a user of the VM, who may be hostile, so everything that is done in a home folder runs as that user: root
 * follows none of their links.
 *
 * Not here: the system's store and Java's (`trust.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { exists, readIfThere } from "./files.ts";
import type { Journal } from "./journal.ts";
import { findProgram, type Ran, runProgram, whyFailed } from "./programs.ts";

/** A store, or where one is to be. */
export interface NssStore {
  /** Its folder. */
  readonly path: string;
  readonly uid: number;
  readonly gid: number;
}

/** The name of the CA in every store. */
const NICKNAME = "slicer-proxy-agent";
const CHROMIUM_STORE = ".pki/nssdb";
const FIREFOX_FOLDERS = [
  ".mozilla/firefox",
  "snap/firefox/common/.mozilla/firefox",
  ".var/app/org.mozilla.firefox/.mozilla/firefox",
];
const CHROMIUMS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge"];
/** Where Playwright keeps its browsers: in a home, or in its own images. */
const PLAYWRIGHT = [".cache/ms-playwright", "/ms-playwright"];
/** A VM has a handful of each: more are somebody's attempt to keep root busy. */
const MAX_USERS = 50;
const MAX_PROFILES = 50;

/** What to do where certutil is missing. */
export const CERTUTIL_ADVICE = "apt-get install libnss3-tools (dnf install nss-tools, apk add nss-tools)";

/** True where stores can be changed. */
export async function hasCertutil(): Promise<boolean> {
  return await findProgram("certutil") !== undefined;
}

/** The stores of all users: those that are there, and Chromium's where a browser will make it. */
export async function findNssStores(): Promise<readonly NssStore[]> {
  const isEverywhere = await hasChromium("");
  const stores: NssStore[] = [];
  for (const { home, uid, gid } of await usersWithHomes()) {
    const chromium = `${home}/${CHROMIUM_STORE}`;
    const profiles = (await Promise.all(FIREFOX_FOLDERS.map((folder) => profilesBelow(`${home}/${folder}`))))
      .flat();
    const isWanted = isEverywhere || await exists(`${chromium}/cert9.db`) || await hasChromium(home);
    const paths = [
      ...(isWanted ? [chromium] : []),
      `${home}/snap/chromium/current/${CHROMIUM_STORE}`,
      ...profiles,
    ];
    for (const path of paths) {
      if (path === chromium || await exists(`${path}/cert9.db`)) stores.push({ path, uid, gid });
    }
  }
  return stores;
}

/** The certificate of ours in a store (PEM), or undefined. */
export async function caInNss(store: NssStore): Promise<string | undefined> {
  if (!await exists(`${store.path}/cert9.db`)) return undefined;
  const ran = await certutil(store, ["-L", "-n", NICKNAME, "-a"]);
  return ran.isOk ? ran.stdout : undefined;
}

/**
 * Puts the CA into a store, which is made where there is none.
 *
 * @param caPem one certificate
 * @throws ProxyError `agent.failed`
 */
export async function addToNss(store: NssStore, caPem: string, journal: Journal): Promise<void> {
  const isNew = !await exists(`${store.path}/cert9.db`);
  const { path, uid, gid } = store;
  await journal.add({ change: "nss", path, uid, gid, isNew });
  if (isNew) {
    must(await runProgram("mkdir", ["-p", "-m", "700", "--", path], { uid, gid }));
    must(await certutil(store, ["-N", "--empty-password"]));
  }
  await certutil(store, ["-D", "-n", NICKNAME]); // an earlier one, if any
  must(await certutil(store, ["-A", "-n", NICKNAME, "-t", "C,,", "-a"], caPem));
}

/**
 * Takes the CA out of a store, and the store away when it was made for it.
 *
 * @throws ProxyError `agent.failed`
 */
export async function removeFromNss(store: NssStore, isNew: boolean): Promise<void> {
  const { path, uid, gid } = store;
  if (await caInNss(store) !== undefined) must(await certutil(store, ["-D", "-n", NICKNAME]));
  if (!isNew || !await isEmpty(store)) return;
  const files = ["cert9.db", "key4.db", "pkcs11.txt"].map((name) => `${path}/${name}`);
  must(await runProgram("rm", ["-f", "--", ...files], { uid, gid }));
  // Folders that somebody else uses meanwhile stay.
  await runProgram("rmdir", ["--", path, path.slice(0, path.lastIndexOf("/"))], { uid, gid });
}

/** True when nobody has put a certificate of their own into the store. */
async function isEmpty(store: NssStore): Promise<boolean> {
  const ran = await certutil(store, ["-L"]);
  const isHeading = (line: string) =>
    line.startsWith("Certificate Nickname") || line.includes("SSL,S/MIME,JAR/XPI");
  return ran.isOk && ran.stdout.split("\n").every((line) => line.trim() === "" || isHeading(line));
}

function certutil({ path, uid, gid }: NssStore, args: readonly string[], stdin = ""): Promise<Ran> {
  return runProgram("certutil", [...args, "-d", `sql:${path}`], { uid, gid, stdin, timeoutMs: 20_000 });
}

function must(ran: Ran): void {
  if (!ran.isOk) throw new ProxyError("agent.failed", `Cannot change the browsers' store: ${whyFailed(ran)}`);
}

async function hasChromium(home: string): Promise<boolean> {
  if (home !== "") return await exists(`${home}/${PLAYWRIGHT[0]}`);
  for (const name of CHROMIUMS) if (await findProgram(name) !== undefined) return true;
  return await exists(PLAYWRIGHT[1] ?? "");
}

/** Firefox' profiles that hold a store. */
async function profilesBelow(folder: string): Promise<readonly string[]> {
  const found: string[] = [];
  try {
    for await (const { name } of Deno.readDir(folder)) {
      if (await exists(`${folder}/${name}/cert9.db`)) found.push(`${folder}/${name}`);
      if (found.length === MAX_PROFILES) break;
    }
  } catch {
    // No Firefox here.
  }
  return found;
}

/** Root and people (passwd(5)), whose home is a folder of their own. */
async function usersWithHomes(): Promise<readonly { home: string; uid: number; gid: number }[]> {
  const users: { home: string; uid: number; gid: number }[] = [];
  for (const line of (await readIfThere("/etc/passwd") ?? "").split("\n")) {
    const [, , uidText = "", gidText = "", , home = ""] = line.split(":");
    const [uid, gid] = [Number(uidText), Number(gidText)];
    const isPerson = uid === 0 || (uid >= 1_000 && uid < 65_534);
    if (uidText === "" || !isPerson || !Number.isInteger(gid) || !home.startsWith("/") || home === "/") {
      continue;
    }
    const info = await Deno.lstat(home).catch(() => undefined);
    if (info?.isDirectory && info.uid === uid && users.length < MAX_USERS) users.push({ home, uid, gid });
  }
  return users;
}
