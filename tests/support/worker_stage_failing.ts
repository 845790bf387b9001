/**
 * A program whose first worker dies as soon as it is there, while the others never get anywhere.
 *
 * @module
 */
const { name } = globalThis as unknown as { readonly name: string };

if (name.endsWith(" 1")) throw new Error("told to");
setInterval(() => {}, 60_000);
