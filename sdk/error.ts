/**
 * The one error that calls throw, and how an error answer of the API becomes one.
 *
 * @module
 */

/** What an error answer may say, in characters: it is shown as one line. */
const MAX_MESSAGE_CHARS = 600;

/** What else an error says. */
export interface ErrorDetails {
  readonly status?: number | undefined;
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

/**
 * A call that did not do what was asked. The message is the proxy's own, one line such as "Cannot create client ci-1:
 * the name is taken". It holds no token and no value of a secret.
 */
export class SlicerProxyError extends Error {
  override readonly name = "SlicerProxyError";
  /**
   * The HTTP status: 400 a field cannot be used, or a client or secret is unknown; 401 the token; 404 there is no such
   * thing; 409 it is there already. Undefined when no answer came, and the change may have been made all the same, or
   * when the address or the token could not be used at all.
   */
  readonly status: number | undefined;
  /** What to do about it, when there is something to say. */
  readonly hint: string | undefined;

  constructor(message: string, { status, hint, cause }: ErrorDetails = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.status = status;
    this.hint = hint;
  }
}

/** The error of an answer with an error status: text of one line, and possibly a line `hint: …`. */
export function errorOfAnswer(status: number, text: string, label: string): SlicerProxyError {
  if (status === 401) {
    return new SlicerProxyError(`Cannot use the API at ${label}: the token is missing or wrong`, {
      status,
      hint: "the token is in the file api-token of the proxy's state folder",
    });
  }
  const [message = "", ...more] = text.slice(0, MAX_MESSAGE_CHARS).trim().split(/\r?\n/);
  // Every error of the proxy's API says what it cannot do; another server knows no such path at all.
  if (status === 404 && !message.startsWith("Cannot ")) return notTheApi(label, status);
  const hint = more.find((line) => line.startsWith("hint: "))?.slice("hint: ".length);
  const words = message || `Cannot use the API at ${label}: it answered with status ${status}`;
  return new SlicerProxyError(words, { status, hint });
}

/** The error of an answer that the proxy would not give. */
export function notTheApi(label: string, status: number): SlicerProxyError {
  return new SlicerProxyError(`Cannot use the API at ${label}: its answer is not the proxy's`, {
    status,
    hint: "does the address name the socket of another program?",
  });
}
