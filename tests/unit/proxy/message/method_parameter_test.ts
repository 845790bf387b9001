import { assertEquals } from "@std/assert";
import { namesOtherMethod } from "../../../../proxy/message/method_parameter.ts";

Deno.test("namesOtherMethod() finds a _method that is not the request's, as lenient servers read queries", async (t) => {
  const others = [
    "_method=DELETE",
    "a=b&_method=delete",
    "a=b;_method=delete",
    "_METHOD=PUT",
    "_method=POST&_method=DELETE",
    "_method=",
    "%5fmethod=DELETE",
    "_%6dethod=DELETE",
    "+_method=DELETE",
    "%09_method=DELETE",
    ".method=DELETE",
    "+.method=DELETE",
    "_method[]=DELETE",
    "_method%5b%5d=DELETE",
  ];
  for (const query of others) {
    await t.step(query, () => assertEquals(namesOtherMethod(query, "POST"), true));
  }
  const fine = [
    undefined,
    "",
    "a=b",
    "_method",
    "_methods",
    "=_method",
    "_method=POST",
    "_method=p%4fst",
    "method=DELETE",
    "x_method=DELETE",
    "_methods=DELETE",
    "a[_method]=DELETE",
    "q=_method=DELETE",
    "next=/a%3f%26_method%3dDELETE",
  ];
  for (const query of fine) {
    await t.step(`not ${query}`, () => assertEquals(namesOtherMethod(query, "POST"), false));
  }
});
