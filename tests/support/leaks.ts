/** Searching everything that the program leaves behind for what must not be in it. */
import { Buffer } from "node:buffer";

/** All bytes of all files below a folder, one character a byte. */
export async function everyByteIn(dir: string): Promise<string> {
  let text = "";
  for await (const { name, isDirectory, isFile } of Deno.readDir(dir)) {
    const path = `${dir}/${name}`;
    if (isDirectory) text += await everyByteIn(path);
    else if (isFile) text += Buffer.from(await Deno.readFile(path)).toString("latin1");
  }
  return text;
}

/** Those of `secrets` that stand in `text`, in any form in which a program would write them. */
export function leaksIn(text: string, secrets: Iterable<string>): string[] {
  return [...new Set(secrets)].filter((secret) => formsOf(secret).some((form) => text.includes(form)));
}

function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret, "utf8");
  const hex = bytes.toString("hex");
  // Base64 at each of the three alignments, without the characters that neighbours change.
  const base64 = [0, 1, 2].flatMap((before) => {
    const shifted = Buffer.concat([Buffer.alloc(before), bytes]);
    return (["base64", "base64url"] as const).map((form) => shifted.toString(form).slice(before + 1, -4));
  });
  const utf16 = Buffer.from(secret, "utf16le").toString("latin1").slice(0, -1);
  return [bytes.toString("latin1"), utf16, encodeURIComponent(secret), hex, hex.toUpperCase(), ...base64];
}
