import { assert, assertEquals } from "@std/assert";
import type { Credential } from "../../../secrets/credential.ts";
import type { StoredClient } from "../../../store/clients.ts";
import type { SecretRecord } from "../../../store/records.ts";
import { PolicyReplica } from "../../../workers/replica.ts";
import { FakeClock } from "../../support/fake_clock.ts";

const SECRET: SecretRecord = {
  ...{ name: "key", host: "a.test", type: "bearer", version: "1", cleartext: false, createdAt: 0 },
};
const CLIENT: StoredClient = { record: { name: "one", version: "1", createdAt: 0 }, id: "one", digest: "d" };

/** A copy with one client and one secret, whose credential is lent as `version`, and how often it was lent. */
function start({ version = "1", isCondemned = (): boolean => false } = {}) {
  const lent: string[] = [];
  const credential: Credential = {
    secret: "key",
    version,
    host: "a.test",
    cleartext: false,
    headers: [],
    material: [],
  };
  const replica = new PolicyReplica({
    tokenKey: new Uint8Array(32),
    clock: new FakeClock(),
    lender: {
      credential: (secret) => {
        lent.push(secret);
        return Promise.resolve({ credential, ref: lent.length });
      },
      rejected: () => Promise.resolve(undefined),
    },
    isCondemned,
  });
  replica.update({ changes: [{ kind: "client", stored: CLIENT }, { kind: "secret", record: SECRET }] });
  const borrow = () =>
    replica.credential("key", { client: "ci-1", host: "a.test", method: "GET", path: "/" });
  return { replica, lent, borrow };
}

Deno.test("PolicyReplica.isLive() is false for everything once its worker is condemned", () => {
  let isCondemned = false;
  const { replica } = start({ isCondemned: () => isCondemned });
  const [client] = replica.clients();
  assert(client);
  assertEquals(replica.isLive({ client }), true);
  isCondemned = true;
  assertEquals(replica.isLive({ client }), false);
});

Deno.test("PolicyReplica.credential() keeps a credential that lasts, and none of another version of its secret", async () => {
  const same = start();
  await same.borrow();
  await same.borrow();
  assertEquals(same.lent.length, 1);
  const other = start({ version: "2" }); // the main thread has replaced the secret, and its update is on the way
  await other.borrow();
  await other.borrow();
  assertEquals(other.lent.length, 2);
});
