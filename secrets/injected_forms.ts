/**
 * The one place that knows which texts a credential puts into a request: whoever looks for them in an answer asks here.
 *
 * @module
 */
import type { Credential } from "./credential.ts";

/**
 * Every text that is secret as it was sent: the credential itself, and as HTTP Basic, a query or a path render it. Never log
 * one.
 */
export function injectedForms({ headers, parameter, aws, material }: Credential): readonly string[] {
  const forms = new Set(material);
  for (const [, value] of headers) {
    const basic = /^Basic +(\S+)$/.exec(value)?.[1];
    if (basic !== undefined) forms.add(basic);
  }
  if (parameter) forms.add(encodeURIComponent(parameter[1]));
  if (aws?.sessionToken !== undefined) forms.add(encodeURIComponent(aws.sessionToken)); // in a presigned URL
  forms.delete("");
  return [...forms];
}
