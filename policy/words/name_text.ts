/**
 * Names that others choose as text of a record's `says`: whatever is in one, it ends where it ends.
 *
 * @module
 */

/** The name with everything but letters, digits and a few marks as escapes; characters beyond a byte lose what is above it. */
export function encodeName(text: string): string {
  return text.replace(
    /[^A-Za-z0-9._/-]/g,
    (char) => `%${(char.charCodeAt(0) & 0xff).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}

/** The inverse for names of ASCII. */
export function decodeName(text: string): string {
  return text.replace(/%([0-9A-F]{2})/g, (_escape, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}
