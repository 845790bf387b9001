/**
 * `_method` in the query: Rails, Laravel, Symfony, WordPress and Express's method-override take it for the method of the
 * request, some of them of a GET too. Forms in bodies may hold one as well; bodies are not read.
 *
 * @module
 */

/** True when a query (as sent, without `?`) names another method than the request line, as lenient servers read it. */
export function namesOtherMethod(query: string | undefined, method: string): boolean {
  // An escape may stand for any letter of the name.
  if (query === undefined || !/%|_method|[.+]method/i.test(query)) return false;
  return query.split(/[&;]/).some((pair) => isOther(pair, method.toUpperCase()));
}

function isOther(pair: string, method: string): boolean {
  const equals = pair.indexOf("=");
  if (equals < 0) return false;
  // PHP drops blanks before a name, reads `.` and blanks in it as `_`, and takes `_method[]` for a list.
  const [name = ""] = decode(pair.slice(0, equals)).trimStart().split("[", 1);
  if (name.replace(/[. ]/g, "_").toLowerCase() !== "_method") return false;
  return decode(pair.slice(equals + 1)).trim().toUpperCase() !== method;
}

function decode(text: string): string {
  return text.replaceAll("+", " ")
    .replace(/%([0-9a-f]{2})/gi, (_escape, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}
