/**
 * From what a caller brings to what the store keeps: files that a value names are read, and a login is adopted.
 *
 * @module
 */
import { dirname, isAbsolute } from "node:path";
import type { SecretInput } from "../store/records.ts";
import { canonicalType, oauthKind, parseSecretValue } from "./kinds.ts";
import type { Login } from "./oauth_kind.ts";
import { ownerOf } from "./source_file.ts";

/** A value as it was brought. `sourceFile` is the path that it was read from on this machine. */
export interface BroughtValue {
  readonly type: string;
  readonly value: string;
  readonly sourceFile?: string | undefined;
}

/**
 * The parts of a `SecretInput` that depend on the type. Who adopts a file vouches for its owner of that moment.
 *
 * @throws ProxyError `input.invalid`, without the credential
 */
export async function adoptValue(
  { type, value, sourceFile }: BroughtValue,
  nowMs: number,
): Promise<Pick<SecretInput, "type" | "value" | "sourceFile" | "sourceUid" | "isAdopted" | "isRival">> {
  const kind = oauthKind(canonicalType(type));
  const folder = sourceFile !== undefined && isAbsolute(sourceFile) ? dirname(sourceFile) : undefined;
  const whole = await kind?.resolveFiles?.(value, folder) ?? value;
  const parsed = parseSecretValue(type, whole, nowMs);
  const sourceUid = sourceFile !== undefined ? await ownerOf(sourceFile) : undefined;
  return {
    ...parsed,
    isAdopted: kind !== undefined,
    ...(kind?.rotates ? { isRival: sharesLogin(parsed) } : {}),
    ...(sourceFile === undefined ? {} : { sourceFile }),
    ...(sourceUid === undefined ? {} : { sourceUid }),
  };
}

/** Two secrets with one refresh token would use it up for each other, and some providers revoke the login then. */
function sharesLogin(
  { type, value }: Pick<SecretInput, "type" | "value">,
): NonNullable<SecretInput["isRival"]> {
  const { refresh_token }: Login = JSON.parse(value);
  return (other) => {
    if (refresh_token === undefined || other.type !== type) return false;
    const login: Login = JSON.parse(other.value);
    return login.refresh_token === refresh_token;
  };
}
