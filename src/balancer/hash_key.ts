/**
 * What of a request decides by itself where it goes, when a group hashes.
 *
 * @module
 */
import { pathOf } from "../http/matcher.ts";
import type { RequestHead } from "../http/message.ts";
import { cookieValue } from "./cookie.ts";

/** Where the key of a request is taken from. */
export type HashKeySource =
  /** The address of the client, without port. */
  | { readonly kind: "client_address" }
  /** A field of the request; several lines count as one, joined by `, `. */
  | { readonly kind: "header"; readonly name: string }
  /** A cookie, as it was sent. */
  | { readonly kind: "cookie"; readonly name: string }
  /** Path and query, as they were sent. */
  | { readonly kind: "uri" }
  /** The path without query, in the normal form that routes are matched with. */
  | { readonly kind: "path" }
  /** The first query argument of that name, as it was sent: not decoded, like `$arg_` of nginx. */
  | { readonly kind: "query"; readonly name: string };

/**
 * The key of a request.
 *
 * @param head The request as it came from downstream.
 * @param clientAddress Address of the client, trusted proxies seen through.
 * @returns `null` if the request has none, or an empty one: such requests would all go to one member.
 */
export function hashKey(
  source: HashKeySource,
  head: RequestHead,
  clientAddress: string,
): string | null {
  const key = find(source, head, clientAddress);
  return key === "" ? null : key;
}

function find(source: HashKeySource, head: RequestHead, clientAddress: string): string | null {
  switch (source.kind) {
    case "client_address":
      return clientAddress;
    case "header":
      return head.fields.get(source.name);
    case "cookie":
      return cookieValue(head.fields, source.name);
    case "uri":
      return head.target;
    case "path":
      return pathOf(head);
    case "query":
      return queryArgument(head.target, source.name);
  }
}

/** The value of the first argument `name` behind the `?` of a target, not decoded; `null` if there is none. */
export function queryArgument(target: string, name: string): string | null {
  let start = target.indexOf("?") + 1;
  if (start === 0) return null;
  while (start < target.length) {
    let end = target.indexOf("&", start);
    if (end < 0) end = target.length;
    const equals = start + name.length;
    if (equals < end && target.charCodeAt(equals) === 61 && target.startsWith(name, start)) {
      return target.slice(equals + 1, end);
    }
    start = end + 1;
  }
  return null;
}
