import { assertEquals } from "@std/assert";
import { type Linked, LinkedSet } from "../../../core/linked_set.ts";

class Member implements Linked<Member> {
  readonly name: string;
  isLinked = false;
  previous: Member | undefined = undefined;
  next: Member | undefined = undefined;

  constructor(name: string) {
    this.name = name;
  }
}

const namesIn = (set: LinkedSet<Member>) => set.those(() => true).map(({ name }) => name).toSorted().join("");

Deno.test("LinkedSet has what was added and not deleted, in any order of both", () => {
  for (const order of ["abc", "acb", "bac", "bca", "cab", "cba"]) {
    const set = new LinkedSet<Member>();
    const members = new Map(["a", "b", "c"].map((name) => [name, new Member(name)]));
    for (const member of members.values()) set.add(member);
    assertEquals([namesIn(set), set.size], ["abc", 3]);
    let left = "abc";
    for (const name of order) {
      const member = members.get(name);
      assertEquals(member && set.delete(member), true);
      left = left.replace(name, "");
      assertEquals([namesIn(set), set.size], [left, left.length]);
    }
  }
});

Deno.test("LinkedSet counts a member once, and deletes it once", () => {
  const set = new LinkedSet<Member>();
  const [a, b] = [new Member("a"), new Member("b")];
  set.add(a);
  set.add(b);
  set.add(a);
  assertEquals([namesIn(set), set.size], ["ab", 2]);
  assertEquals([set.delete(a), set.delete(a), set.size], [true, false, 1]);
  set.add(a);
  assertEquals(namesIn(set), "ab");
});

Deno.test("LinkedSet leaves nothing in a member that is gone: it would keep others from being collected", () => {
  const set = new LinkedSet<Member>();
  const members = ["a", "b", "c"].map((name) => new Member(name));
  for (const member of members) set.add(member);
  for (const member of members) {
    set.delete(member);
    assertEquals([member.previous, member.next], [undefined, undefined]);
  }
});

Deno.test("LinkedSet.those() gives some, as they were", () => {
  const set = new LinkedSet<Member>();
  const members = ["a", "b", "c"].map((name) => new Member(name));
  for (const member of members) set.add(member);
  const some = set.those(({ name }) => name !== "b");
  for (const member of some) set.delete(member);
  assertEquals(some.map(({ name }) => name).toSorted(), ["a", "c"]);
  assertEquals(namesIn(set), "b");
});

Deno.test("LinkedSet knows its oldest member, whoever leaves", () => {
  const set = new LinkedSet<Member>();
  const [a, b, c] = ["a", "b", "c"].map((name) => new Member(name)) as [Member, Member, Member];
  for (const member of [a, b, c]) set.add(member);
  assertEquals(set.oldest, a);
  set.delete(b);
  assertEquals(set.oldest, a);
  set.delete(a);
  assertEquals(set.oldest, c);
  set.add(a);
  set.delete(c);
  assertEquals(set.oldest, a);
  set.delete(a);
  assertEquals(set.oldest, undefined);
});
