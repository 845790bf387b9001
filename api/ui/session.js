/**
 * Calls of the API from the page. A session is a cookie, which this code cannot read, and a key, which it keeps; the key
 * comes in the fragment of the address that a link leads to, and goes out of sight at once.
 *
 * @module
 */
import { EventReader } from "./events.js";

const STORED_KEY = "slicer-proxy-ui-key";
const API = "/proxy/v1/";

/** The session is over, or there is none. */
export class SignedOut extends Error {}

/** What the API answered when it refused; `hint` is its advice. */
export class Refused extends Error {
  /**
   * @param {string} message
   * @param {string} hint
   */
  constructor(message, hint) {
    super(message);
    this.hint = hint;
  }
}

/** Takes the key that a link has brought, if one has. */
export function takeKey() {
  const key = /^#key=([\w-]+)$/.exec(location.hash)?.[1];
  if (key === undefined) return;
  localStorage.setItem(STORED_KEY, key);
  history.replaceState(null, "", location.pathname);
}

/** True when this browser has had a session, which may have ended since. */
export function hasKey() {
  return localStorage.getItem(STORED_KEY) !== null;
}

/**
 * The JSON that the API answers; undefined where it answers with nothing.
 *
 * @param {string} method
 * @param {string} path what follows `/proxy/v1/`, escaped
 * @param {unknown} [body]
 * @returns {Promise<unknown>}
 */
export async function call(method, path, body) {
  const response = await send(API + path, {
    method,
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
  });
  return response.status === 204 ? undefined : await response.json();
}

/** True when this session may take away, and not only add. The API decides at each call. */
export async function mayManage() {
  const { may_manage: may } = await (await send("/ui/session", { method: "GET" })).json();
  return may === true;
}

/** Ends the session, here and there. */
export async function logOut() {
  await send("/ui/logout", { method: "POST" }).catch(() => {});
  localStorage.removeItem(STORED_KEY);
}

/**
 * The audit log, piece by piece, until the connection ends: the newest `limit` records and those to come, or what followed
 * the event `lastId`.
 *
 * @param {number} limit
 * @param {string} lastId of an earlier connection, or empty
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<{ events: unknown[], lastId: string }, void>}
 */
export async function* followAudit(limit, lastId, signal) {
  const headers = { accept: "text/event-stream", ...(lastId === "" ? {} : { "last-event-id": lastId }) };
  const response = await send(`${API}audit?follow=1&limit=${limit}`, { method: "GET", headers, signal });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  const events = new EventReader();
  while (reader) {
    const { done, value } = await reader.read();
    if (done) return;
    yield { events: events.read(value).map((data) => JSON.parse(data)), lastId: events.lastId };
  }
}

/**
 * @param {string} path
 * @param {RequestInit} options
 * @returns {Promise<Response>}
 */
async function send(path, options) {
  const key = localStorage.getItem(STORED_KEY) ?? "";
  const response = await fetch(path, {
    ...options,
    headers: { accept: "application/json", ...options.headers, "x-slicer-proxy-ui": key },
    credentials: "same-origin",
    cache: "no-store",
    redirect: "error",
  });
  if (response.ok) return response;
  if (response.status === 401) throw new SignedOut();
  const [message = "", ...more] = (await response.text()).trim().split("\n");
  const hint = more.find((line) => line.startsWith("hint: "))?.slice("hint: ".length) ?? "";
  throw new Refused(message || `The API answered with status ${response.status}`, hint);
}
