import { assert, assertEquals, assertStrictEquals } from "@std/assert";
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

Deno.test("PolicyReplica.credential() is the same object while the main thread lends the same one", async () => {
  const token = (generation: string): Credential => ({
    ...{ secret: "key", version: "1", host: "a.test", cleartext: false, headers: [], material: [] },
    generation,
  });
  const lent = [["a", 1], ["a", 1], ["b", 2], ["c", 0], ["d", 0]] as const;
  let next = 0;
  const lend = () => {
    const [generation, ref] = lent[next++] ?? lent[0];
    return Promise.resolve({ credential: token(generation), ref }); // a copy each time, as it comes from a thread
  };
  const replica = new PolicyReplica({
    tokenKey: new Uint8Array(32),
    clock: new FakeClock(),
    lender: { credential: lend, rejected: lend },
    isCondemned: () => false,
  });
  replica.update({ changes: [{ kind: "secret", record: SECRET }] });
  const borrow = async () => {
    const credential = await replica.credential("key", {
      ...{ client: "ci-1", host: "a.test", method: "GET", path: "/" },
    });
    assert(credential);
    return credential;
  };
  const first = await borrow();
  assertStrictEquals(await replica.rejected(first, { status: 401 }), first);
  assertEquals((await borrow()).generation, "b"); // renewed
  assertEquals((await borrow()).generation, "c");
  assertEquals((await borrow()).generation, "d"); // 0 is no number of its own
});
