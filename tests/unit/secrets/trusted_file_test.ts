/** Which files that hold credentials are trusted, and where links may lead. */
import { assertEquals, assertRejects } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { adoptValue } from "../../../secrets/adopt.ts";
import { followLinks, ownerOf, readTrustedFile } from "../../../secrets/source_file.ts";

async function inFolder(run: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "slicer-trusted-" }));
  try {
    await run(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function refusal(promise: Promise<unknown>): Promise<string> {
  const error = await assertRejects(() => promise, ProxyError);
  assertEquals(error.code, "input.invalid");
  return error.message.replace(/"[^"]*"/, "FILE");
}

Deno.test("readTrustedFile() reads text to its end, and strips what an editor puts there", async () => {
  await inFolder(async (dir) => {
    await Deno.writeTextFile(`${dir}/a`, " ä b \r\n\n", { mode: 0o644 });
    assertEquals(await readTrustedFile(`${dir}/a`, "file"), " ä b");
    await Deno.writeTextFile(`${dir}/empty`, "", { mode: 0o600 });
    assertEquals(await readTrustedFile(`${dir}/empty`, "file"), "");
    for (const length of [65_536, 65_537]) {
      await Deno.writeTextFile(`${dir}/long`, "x".repeat(length), { mode: 0o600 });
      const read = readTrustedFile(`${dir}/long`, "file");
      if (length === 65_536) assertEquals((await read).length, length);
      else assertEquals(await refusal(read), "Cannot use the file FILE: it is above 65536 bytes");
    }
  });
});

Deno.test("readTrustedFile() refuses what others could have written or put there, and says what to do", async () => {
  await inFolder(async (dir) => {
    const file = `${dir}/key`;
    await Deno.writeTextFile(file, "text");
    for (const [mode, isTaken] of [[0o755, true], [0o600, true], [0o620, false], [0o602, false]] as const) {
      await Deno.chmod(file, mode);
      const read = readTrustedFile(file, "key file");
      if (isTaken) assertEquals(await read, "text");
      else {assertEquals(
          await refusal(read),
          "Cannot use the key file FILE: others can write to it; run: chmod go-w FILE",
        );}
    }
    await Deno.chmod(file, 0o600);
    await Deno.symlink(file, `${dir}/link`);
    await Deno.writeFile(`${dir}/bytes`, Uint8Array.of(0xff, 0xfe), { mode: 0o600 });
    const rows = [["link", "it is a link"], ["", "it is no regular file"], ["bytes", "it is no UTF-8 text"], [
      "none",
      "there is no such file",
    ], ["key/below", "Not a directory"]] as const;
    for (const [name, words] of rows) {
      const message = await refusal(readTrustedFile(`${dir}/${name}`, "file"));
      assertEquals(message.startsWith(`Cannot use the file FILE: ${words}`), true, message);
    }
  });
});

Deno.test("readTrustedFile() refuses a file that takes the place of the one that was checked", async () => {
  await inFolder(async (dir) => {
    await Deno.writeTextFile(`${dir}/a`, "checked", { mode: 0o600 });
    await Deno.writeTextFile(`${dir}/b`, "other", { mode: 0o600 });
    const { lstat } = Deno;
    Deno.lstat = async (path) => {
      const named = await lstat(path);
      await Deno.rename(`${dir}/b`, `${dir}/a`);
      return named;
    };
    try {
      assertEquals(
        await refusal(readTrustedFile(`${dir}/a`, "file")),
        "Cannot use the file FILE: it was replaced while it was opened",
      );
    } finally {
      Deno.lstat = lstat;
    }
  });
});

Deno.test("files and links of root, of the user that we are, and of the one who is vouched for are trusted", async () => {
  if (Deno.uid() !== 0) return;
  await inFolder(async (dir) => {
    const { uid } = Deno;
    Deno.uid = () => 4_242;
    try {
      for (
        const [owner, isTrusted] of [[0, true], [1, false], [4_242, true], [4_243, true], [4_244, false]]
      ) {
        const [file, link] = [`${dir}/${owner}`, `${dir}/link-${owner}`];
        await Deno.writeTextFile(file, "text", { mode: 0o644 });
        await Deno.symlink(String(owner), link);
        const chowned = await new Deno.Command("chown", { args: ["-h", String(owner), file, link] }).output();
        assertEquals(chowned.success, true);
        const read = () => readTrustedFile(file, "file", 4_243);
        const follow = () => followLinks(link, "file", 4_243);
        if (isTrusted) assertEquals([await read(), await follow()], ["text", file]);
        else {
          assertEquals([await refusal(read()), await refusal(follow())], [
            "Cannot use the file FILE: it belongs to another user",
            "Cannot use the file FILE: it is a link of another user",
          ]);
        }
      }
    } finally {
      Deno.uid = uid;
    }
  });
});

Deno.test("readTrustedFile() says that it may not look, and what else the system says", async () => {
  const { lstat } = Deno;
  const rows = [
    [new Deno.errors.PermissionDenied("x"), "permission denied"],
    [new Deno.errors.Busy("busy now"), "busy now"],
  ] as const;
  try {
    for (const [error, words] of rows) {
      Deno.lstat = () => Promise.reject(error);
      assertEquals(await refusal(readTrustedFile("/a", "file")), `Cannot use the file FILE: ${words}`);
      const followed = error instanceof Deno.errors.Busy ? words : "x";
      assertEquals(await refusal(followLinks("/a", "file")), `Cannot use the file FILE: ${followed}`);
    }
  } finally {
    Deno.lstat = lstat;
  }
});

Deno.test("followLinks() goes eight links far, within the folder", async (t) => {
  await inFolder(async (dir) => {
    await Deno.writeTextFile(`${dir}/0`, "x");
    for (let i = 1; i <= 9; i++) await Deno.symlink(String(i - 1), `${dir}/${i}`);
    await Deno.mkdir(`${dir}/..moment/deep`, { recursive: true });
    await Deno.writeTextFile(`${dir}/..moment/deep/key`, "x");
    await Deno.symlink("..moment", `${dir}/..data`);
    await Deno.symlink("./..data//deep/key", `${dir}/volume`);
    await Deno.symlink(`${dir}/0`, `${dir}/absolute`);
    await Deno.symlink("../0", `${dir}/up`);
    await Deno.symlink("..moment/../0", `${dir}/around`);
    await Deno.symlink("none", `${dir}/dangling`);
    const rows: readonly (readonly [name: string, found: string | undefined, words?: string])[] = [
      ["0", "0"],
      ["1", "0"],
      ["8", "0"],
      ["9", undefined, "it is a link to a link to a link"],
      ["volume", "..moment/deep/key"],
      ["absolute", undefined, "it is a link out of its folder"],
      ["up", undefined, "it is a link out of its folder"],
      ["around", undefined, "it is a link out of its folder"],
      ["dangling", undefined, "there is no such file"],
      ["none", undefined, "there is no such file"],
    ];
    for (const [name, found, words] of rows) {
      await t.step(name, async () => {
        const followed = followLinks(`${dir}/${name}`, "file");
        if (found !== undefined) assertEquals(await followed, `${dir}/${found}`);
        else assertEquals(await refusal(followed), `Cannot use the file FILE: ${words}`);
      });
    }
    await t.step("a link of another user, unless that one is vouched for", async () => {
      if (Deno.uid() !== 0) return;
      await new Deno.Command("chown", { args: ["-h", "4242", `${dir}/1`] }).output();
      assertEquals(
        await refusal(followLinks(`${dir}/1`, "file")),
        "Cannot use the file FILE: it is a link of another user",
      );
      assertEquals(
        await refusal(followLinks(`${dir}/1`, "file", 4_243)),
        "Cannot use the file FILE: it is a link of another user",
      );
      assertEquals(await followLinks(`${dir}/1`, "file", 4_242), `${dir}/0`);
    });
  });
});

Deno.test("ownerOf() is the owner of a file that is here, behind a link too", async () => {
  await inFolder(async (dir) => {
    await Deno.writeTextFile(`${dir}/a`, "x");
    await Deno.symlink(`${dir}/a`, `${dir}/link`);
    const uid = Deno.uid() ?? undefined;
    assertEquals(await Promise.all(["a", "link", "", "none"].map((name) => ownerOf(`${dir}/${name}`))), [
      uid,
      uid,
      undefined,
      undefined,
    ]);
  });
});

Deno.test("adoptValue() says of a value what its type says, and whose file it came from", async () => {
  await inFolder(async (dir) => {
    assertEquals(await adoptValue({ type: "basic-auth", value: "u:p", sourceFile: undefined }, 0), {
      type: "basic",
      value: "u:p",
      isAdopted: false,
    });
    const sourceFile = `${dir}/key`;
    await Deno.writeTextFile(sourceFile, "x");
    const uid = Deno.uid();
    assertEquals(await adoptValue({ type: "bearer", value: "k", sourceFile }, 0), {
      ...{ type: "bearer", value: "k", isAdopted: false, sourceFile },
      ...(uid === null ? {} : { sourceUid: uid }),
    });
    const away = await adoptValue({ type: "bearer", value: "k", sourceFile: `${dir}/none` }, 0);
    assertEquals(away, { type: "bearer", value: "k", isAdopted: false, sourceFile: `${dir}/none` });
  });
});

Deno.test("adoptValue(): a login that rotates is the rival of one of its type with the same refresh token", async () => {
  const adopt = async (type: string, value: unknown) =>
    await adoptValue({
      type,
      value: typeof value === "string" ? value : JSON.stringify(value),
      sourceFile: undefined,
    }, 0);
  const claude = await adopt("oauth-claude", { accessToken: "a", refreshToken: "r" });
  assertEquals(claude.isAdopted, true);
  const other = (type: string, refresh_token?: string) =>
    claude.isRival?.({ type, value: JSON.stringify({ access_token: "x", refresh_token }) });
  assertEquals([
    other("oauth-claude", "r"),
    other("oauth-claude", "s"),
    other("oauth-xai", "r"),
    other("oauth-claude"),
  ], [
    true,
    false,
    false,
    false,
  ]);
  const token = await adopt("oauth-claude", "sk-ant-oat01-planted");
  assertEquals(token.isRival?.({ type: "oauth-claude", value: token.value }), false);
  const creds = { token_endpoint: "https://a.test/", client_id: "c", client_secret: "s" };
  const { isAdopted, isRival } = await adopt("oauth-client-creds", creds);
  assertEquals([isAdopted, isRival], [true, undefined]);
});
