/**
 * The endpoints that a plugin names: how many, how large and how often. What the entries say is judged by the
 * discovery that takes them.
 *
 * @module
 */
import type { EndpointList } from "../plugin/upstream.ts";
import { copyValue } from "./values.ts";

/** Most entries of a list. */
export const MAX_ENDPOINTS = 10_000;
/** Bytes and characters that a list may hold. */
export const MAX_ENDPOINT_BYTES: number = 2 * 1024 * 1024;
/** Least time between two lists that cross, in milliseconds. */
export const ENDPOINT_PACE = 200;

/**
 * Copies a list of endpoints.
 *
 * @throws {TypeError} If it is no list, or holds anything but plain data.
 * @throws {RangeError} If it has too many entries.
 */
export function copyEndpoints(value: unknown): EndpointList {
  if (!Array.isArray(value)) {
    throw new TypeError("the endpoints must be a list of addresses or of { address, weight, … }");
  }
  if (value.length > MAX_ENDPOINTS) {
    throw new RangeError(
      `the list names ${value.length} endpoints, at most ${MAX_ENDPOINTS} are taken`,
    );
  }
  return copyValue(value, MAX_ENDPOINT_BYTES, "the list of endpoints") as unknown as EndpointList;
}
