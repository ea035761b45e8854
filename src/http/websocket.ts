/**
 * The handshake of WebSocket as a proxy has to know it: what HTTP/1.1 proves by a key (RFC 6455 §4), and HTTP/2 by
 * being asked for the protocol at all (RFC 8441 §5).
 *
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import { ProxyError } from "../base/error.ts";
import type { Fields } from "./fields.ts";
import type { Version } from "./message.ts";

/** The name of the protocol in `Upgrade` and `:protocol`. */
export const WEBSOCKET = "websocket";

const KEY = "Sec-WebSocket-Key";
const ACCEPT = "Sec-WebSocket-Accept";
const VERSION = "Sec-WebSocket-Version";

/** Appended to the key before it is hashed (RFC 6455 §1.3). */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** A key is 16 bytes in base64, so its last letter has four bits that must be zero (RFC 6455 §4.1 item 7). */
const KEY_FORM = /^[A-Za-z0-9+/]{21}[AQgw]==$/;

/** The `Sec-WebSocket-Accept` that proves that a key was read (RFC 6455 §4.2.2 item 5.4). */
export function acceptOf(key: string): string {
  return createHash("sha1").update(key + GUID).digest("base64");
}

/** A fresh `Sec-WebSocket-Key`: 16 random bytes in base64 (RFC 6455 §4.1 item 7). */
export function makeKey(): string {
  return randomBytes(16).toString("base64");
}

/** The two sides of a WebSocket: which of them have a key, and whose it is. */
export interface WebSocketSides {
  /** HTTP version of the client. */
  readonly client: Version;
  /** HTTP version of the upstream that is asked. */
  readonly upstream: Version;
  /** Method of the client's request; over HTTP/2 it is one only in name. */
  readonly method: string;
}

/** Whether a version proves the handshake by key and accept value. */
function hasKey(version: Version): boolean {
  return version < 20;
}

/**
 * Makes the request of an attempt fit the version of its upstream. Between equal versions nothing is changed;
 * extensions and subprotocols never are.
 *
 * @param request Fields on their way to the upstream. They may have been made fit for another version before.
 * @param client Fields as the client sent them.
 * @returns The key that the upstream has to prove it has read; empty if it need not prove anything to us.
 * @throws {ProxyError} `upgrade_failed`, 400 or 426, if the client's handshake is one that only we could refuse.
 */
export function adaptRequest(sides: WebSocketSides, request: Fields, client: Fields): string {
  if (!hasKey(sides.upstream)) {
    if (hasKey(sides.client)) checkClient(sides.method, client);
    request.delete(KEY);
    return "";
  }
  if (!hasKey(sides.client)) {
    // Its own for each attempt (RFC 6455 §4.1: chosen at random for each connection).
    const key = makeKey();
    request.set(KEY, key);
    return key;
  }
  const key = client.get(KEY);
  if (key !== null && !request.has(KEY)) request.set(KEY, key);
  return "";
}

/**
 * Makes the response that opens the tunnel fit the version of the client.
 *
 * @param response Fields of the 101.
 * @param client Fields of the request as the client sent it.
 * @param key What {@linkcode adaptRequest} returned.
 * @throws {ProxyError} `upgrade_failed`, 502, if the upstream does not prove that it has read the key.
 */
export function adaptResponse(
  sides: WebSocketSides,
  response: Fields,
  client: Fields,
  key: string,
): void {
  if (hasKey(sides.upstream)) {
    if (hasKey(sides.client)) return;
    const accept = response.getAll(ACCEPT);
    if (accept.length !== 1 || accept[0] !== acceptOf(key)) {
      throw new ProxyError(
        "upgrade_failed",
        `WebSocket: the upstream's ${ACCEPT} does not answer our key`,
        { source: "upstream" },
      );
    }
    response.delete(ACCEPT);
    return;
  }
  if (hasKey(sides.client)) response.set(ACCEPT, acceptOf(client.get(KEY)!));
  else response.delete(ACCEPT);
}

/**
 * Checks what an HTTP/2 upstream cannot see of an HTTP/1.1 client's handshake (RFC 6455 §4.2.1).
 *
 * @throws {ProxyError} `upgrade_failed`.
 */
function checkClient(method: string, client: Fields): void {
  if (method !== "GET") {
    throw new ProxyError("upgrade_failed", `WebSocket: asked for by ${method} instead of GET`, {
      source: "downstream",
      status: 400,
    });
  }
  const version = client.get(VERSION);
  if (version !== "13") {
    throw new ProxyError(
      "upgrade_failed",
      version === null
        ? `WebSocket: ${VERSION} is missing`
        : `WebSocket: ${VERSION} is not 13, the only one that can be carried over HTTP/2`,
      // RFC 6455 §4.4: 426 names the version that would do; without any, nobody knows what was meant.
      { source: "downstream", status: version === null ? 400 : 426 },
    );
  }
  const keys = client.getAll(KEY);
  if (keys.length === 1 && KEY_FORM.test(keys[0]!)) return;
  throw new ProxyError(
    "upgrade_failed",
    `WebSocket: ${KEY} is ${keys.length === 0 ? "missing" : "not 16 bytes in base64, once"}`,
    { source: "downstream", status: 400 },
  );
}

/** Whether a list in `Upgrade` names a protocol. */
export function namesProtocol(list: string | null, protocol: string): boolean {
  if (list === null) return false;
  return list.split(",").some((one) => one.trim().toLowerCase() === protocol);
}
