/** A disk that can be filled. */

/** Mounts a tmpfs of `size` at a new folder; undefined where this user may not. Disposing unmounts it. */
export async function mountSmallDisk(path: string, size: string): Promise<AsyncDisposable | undefined> {
  const run = async (command: string, ...args: string[]) =>
    (await new Deno.Command(command, { args, stdout: "null", stderr: "null" }).output()).success;
  await Deno.mkdir(path);
  if (Deno.uid() !== 0 || !await run("mount", "-t", "tmpfs", "-o", `size=${size}`, "tmpfs", path)) {
    return undefined;
  }
  return { [Symbol.asyncDispose]: async () => void await run("umount", "-l", path) };
}

/** Why there is no such disk on this machine; undefined where there is one. */
export async function whyNoSmallDisk(): Promise<string | undefined> {
  const dir = await Deno.makeTempDir({ prefix: "slicer-disk-" });
  try {
    await using mounted = await mountSmallDisk(`${dir}/disk`, "64k");
    return mounted ? undefined : "only root may mount a small tmpfs";
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
