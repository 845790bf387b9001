/** The API beyond loopback, with the real program: under its own address, which is another than the proxy's. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { freePorts, Program } from "../support/program.ts";

const ADDRESS = Deno.networkInterfaces().find(({ family, address }) =>
  family === "IPv4" && !address.startsWith("127.")
)?.address;

Deno.test({
  name:
    "the certificate of --api-bind names that address, and a wrong name is told from a CA that is not trusted",
  ignore: ADDRESS === undefined,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    try {
      const program = new Program(dir);
      const [port] = freePorts();
      await using _daemon = await program.up(["--api-bind", `${ADDRESS}:${port}`]);
      const env = {
        SLICER_URL: `https://${ADDRESS}:${port}`,
        SLICER_TOKEN_FILE: ".slicer/proxy/api-token",
        SLICER_CA_FILE: ".slicer/ca/sbox/ca.crt",
      };
      assertEquals(await program.ok(["client", "list", "--json"], { env }), "[]");
      assertStringIncludes(await program.ok(["ui"], { env }), `https://${ADDRESS}:${port}/ui/login?code=`);
      const { stderr } = await program.run(["status"], { env: { ...env, SLICER_CA_FILE: "" } });
      assertStringIncludes(stderr, "its certificate is not trusted\nhint: set SLICER_CA_FILE");
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});
