import { Database } from "../../../store/kv.ts";
import { testEngine } from "./engine_contract.ts";
import { tempFolder } from "./support.ts";

testEngine("Database", async () => {
  const folder = await tempFolder();
  return {
    open: () => Database.open(folder.state),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
});
