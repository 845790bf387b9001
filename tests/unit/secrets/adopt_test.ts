import { assertEquals, assertRejects } from "@std/assert";
import { ProxyError } from "../../../core/errors.ts";
import { adoptValue } from "../../../secrets/adopt.ts";

const login = (refreshToken: string) =>
  JSON.stringify({ token_endpoint: "https://a.test/token", client_id: "c", refresh_token: refreshToken });
const CLIENT = JSON.stringify({
  ...{ token_endpoint: "https://a.test/token", client_id: "c", client_secret: "s" },
});

Deno.test("adoptValue() says what each type is to the store", async (t) => {
  const rows = [
    ["bearer", "sk-1", false, false],
    ["basic-auth", "u:p", false, false],
    ["oauth-client-creds", CLIENT, true, false],
    ["oauth-refresh", login("r"), true, true],
  ] as const;
  for (const [type, value, isAdopted, hasRivals] of rows) {
    await t.step(type, async () => {
      const adopted = await adoptValue({ type, value }, 0);
      assertEquals([adopted.isAdopted, adopted.isRival !== undefined], [isAdopted, hasRivals]);
      assertEquals(adopted.type, type === "basic-auth" ? "basic" : type);
      assertEquals(["sourceFile" in adopted, "sourceUid" in adopted], [false, false]);
      if (!isAdopted) assertEquals(adopted.value, value);
    });
  }
});

Deno.test("two logins are rivals when they are of one type and share a refresh token", async () => {
  const { isRival } = await adoptValue({ type: "oauth-refresh", value: login("r") }, 0);
  const other = (type: string, value: string) => isRival?.({ type, value });
  assertEquals(other("oauth-refresh", login("r")), true);
  assertEquals(other("oauth-refresh", login("r2")), false);
  assertEquals(other("oauth-refresh", "{}"), false);
  assertEquals(other("oauth-xai", login("r")), false);
  assertEquals(other("bearer", "sk-1"), false); // not even read
});

Deno.test("adoptValue() keeps the file's name and its owner, where there is one", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const file = `${dir}/key`;
    await Deno.writeTextFile(file, "sk-1");
    const { sourceFile, sourceUid } = await adoptValue(
      { type: "bearer", value: "sk-1", sourceFile: file },
      0,
    );
    assertEquals([sourceFile, sourceUid], [file, Deno.uid() ?? undefined]);
    const elsewhere = await adoptValue({ type: "bearer", value: "sk-1", sourceFile: `${dir}/none` }, 0);
    assertEquals([elsewhere.sourceFile, "sourceUid" in elsewhere], [`${dir}/none`, false]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("adoptValue() refuses what is no such value", async () => {
  for (const [type, value] of [["bearer", ""], ["oauth-refresh", "{}"], ["later", "x"]] as const) {
    assertEquals(
      (await assertRejects(() => adoptValue({ type, value }, 0), ProxyError)).code,
      "input.invalid",
    );
  }
});
