/**
 * The ring of points of consistent hashing, the same that nginx and Pingora make.
 *
 * A member has 160 points per weight. Each is the CRC-32 of host, NUL, port and the member's point before, as
 * Cache::Memcached::Fast hashes. An IPv6 host has its brackets, as nginx reads it from the configuration (Pingora
 * leaves them out); a unix socket is its path, without port.
 *
 * @module
 */
import type { Address } from "../../transport/address.ts";
import type { Backend } from "../backend.ts";
import { CRC32_START, crc32Bytes, crc32End, crc32Word } from "../crc32.ts";

/** Points per weight. */
export const POINTS_PER_WEIGHT = 160;
/**
 * Most points of a ring: making it blocks the worker, about 80 ms for so many. With weights that add up to more (over
 * 1638), all members have fewer points in proportion, and it is not nginx's ring.
 */
export const MAX_POINTS = 2 ** 18;
/** What a hash is multiplied by to make room for the number of a point: 32 and 21 bits fit into 53. */
const ROOM = 2 ** 21;

/** Points in ascending order. */
export interface Ring {
  readonly hashes: Uint32Array;
  /** Number of the member that each belongs to. */
  readonly owners: Uint32Array;
  /** The how manieth of its owner's points each is, from 0. */
  readonly ordinals: Uint32Array;
  /** How many points each member was given. */
  readonly counts: Uint32Array;
}

/** Makes the ring of members; `weights` are whole numbers, those of weight 0 have no point. */
export function buildRing(backends: readonly Backend[], weights: Float64Array): Ring {
  const counts = pointCounts(weights);
  const firsts = new Uint32Array(counts.length);
  let total = 0;
  for (let i = 0; i < counts.length; i++) {
    firsts[i] = total;
    total += counts[i]!;
  }
  // Hash and origin in one number, so that a plain numeric sort orders both.
  const sorted = new Float64Array(total);
  for (let i = 0; i < counts.length; i++) {
    const base = crc32Bytes(CRC32_START, addressBytes(backends[i]!.endpoint.address));
    let hash = 0;
    for (let k = 0; k < counts[i]!; k++) {
      hash = crc32End(crc32Word(base, hash));
      sorted[firsts[i]! + k] = hash * ROOM + firsts[i]! + k;
    }
  }
  sorted.sort();
  const owner = ownersByPoint(counts, total);
  const hashes = new Uint32Array(total);
  const owners = new Uint32Array(total);
  const ordinals = new Uint32Array(total);
  let size = 0;
  for (const entry of sorted) {
    const hash = Math.floor(entry / ROOM);
    // Of equal points the first in the order of the configuration stays.
    if (size > 0 && hashes[size - 1] === hash) continue;
    const point = entry - hash * ROOM;
    const one = owner[point]!;
    hashes[size] = hash;
    owners[size] = one;
    ordinals[size] = point - firsts[one]!;
    size++;
  }
  return {
    hashes: hashes.subarray(0, size),
    owners: owners.subarray(0, size),
    ordinals: ordinals.subarray(0, size),
    counts,
  };
}

/** The number of the first point that is not before `hash`; behind the last point comes the first. */
export function pointOf({ hashes }: Ring, hash: number): number {
  let low = 0;
  let high = hashes.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (hashes[middle]! < hash) low = middle + 1;
    else high = middle;
  }
  return low === hashes.length ? 0 : low;
}

function pointCounts(weights: Float64Array): Uint32Array {
  let total = 0;
  let members = 0;
  for (const weight of weights) {
    total += weight * POINTS_PER_WEIGHT;
    if (weight > 0) members++;
  }
  if (total <= MAX_POINTS) {
    return Uint32Array.from(weights, (weight) => weight * POINTS_PER_WEIGHT);
  }
  // One point each is kept aside, so that rounding up never leads over the limit.
  const scale = Math.max(0, MAX_POINTS - members) / total;
  return Uint32Array.from(
    weights,
    (weight) => weight === 0 ? 0 : 1 + Math.floor(weight * POINTS_PER_WEIGHT * scale),
  );
}

function ownersByPoint(counts: Uint32Array, total: number): Uint32Array {
  const owners = new Uint32Array(total);
  let at = 0;
  for (let i = 0; i < counts.length; i++) {
    owners.fill(i, at, at + counts[i]!);
    at += counts[i]!;
  }
  return owners;
}

const encoder = new TextEncoder();

function addressBytes(address: Address): Uint8Array {
  if (address.kind === "unix") return encoder.encode(`${address.path}\0`);
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return encoder.encode(`${host}\0${address.port}`);
}
