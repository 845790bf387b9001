/**
 * The login in a file that a host CLI shares with us: reading it, and telling whether it has changed and is still the same
 * person's.
 *
 * Not here: which files are trusted (`source_file.ts`), and when one is adopted (`login.ts`).
 *
 * @module
 */
import { createHash } from "node:crypto";
import { dirname } from "node:path";
import type { SecretRecord } from "../store/records.ts";
import type { Login, OAuthKind } from "./oauth_kind.ts";
import { readTrustedFile } from "./source_file.ts";

/** Pauses between readings of a file that is being written: Codex empties and rewrites its file in place. */
const HALF_WRITTEN_PAUSES_MS = [50, 150, 400];

/**
 * The login that a secret's source file holds now.
 *
 * @throws ProxyError `input.invalid`, without the credential
 */
export async function readSourceLogin(
  kind: OAuthKind,
  { sourceFile = "", sourceUid }: Pick<SecretRecord, "sourceFile" | "sourceUid">,
  now: () => number,
): Promise<Login> {
  for (let attempt = 0;; attempt++) {
    try {
      const text = await readTrustedFile(sourceFile, "source file", sourceUid);
      return kind.parse(await kind.resolveFiles?.(text, dirname(sourceFile)) ?? text, now());
    } catch (error) {
      const pauseMs = HALF_WRITTEN_PAUSES_MS[attempt];
      if (pauseMs === undefined) throw error;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}

/** True when both say whose they are or where they are renewed, and do not agree. */
export function isAnotherLogin(kind: OAuthKind, ours: Login, found: Login): boolean {
  const own = kind.identity(ours);
  return kind.identity(found).some((part, i) =>
    part !== undefined && own[i] !== undefined && part !== own[i]
  );
}

/** What changes when somebody renews or replaces a login, as a digest that says nothing about it. */
export function digestOf(login: Login): string {
  const { access_token, refresh_token, client_secret, private_key, private_key_file } = login;
  const { access_key_id, secret_access_key, session_token } = login;
  const aws = secret_access_key === undefined ? [] : [access_key_id, secret_access_key, session_token];
  const key = private_key ?? private_key_file;
  const parts = JSON.stringify([access_token, refresh_token, client_secret, key, ...aws]);
  return createHash("sha256").update(parts).digest("base64url");
}

/** The digest that is stored beside a login: of what its source file was last seen to hold. */
export function seenIn(value: string): string | undefined {
  const fields: unknown = JSON.parse(value);
  const seen = typeof fields === "object" && fields !== null && "source_digest" in fields
    ? fields.source_digest
    : undefined;
  return typeof seen === "string" ? seen : undefined;
}
