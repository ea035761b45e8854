/**
 * Splitting the requests of a route over several groups by weight: a canary, a migration, a test.
 *
 * @module
 */
import type { RequestHead } from "../http/message.ts";
import { crc32, mix32, TWO_32 } from "./crc32.ts";
import { hashKey, type HashKeySource } from "./hash_key.ts";

/** One of the groups, and its share of the requests. */
export interface SplitPart {
  /** Name of the group. */
  readonly group: string;
  /** Any number from 0; `0`: gets none. */
  readonly weight: number;
}

/** What {@linkcode WeightedSplit} is made of. */
export interface WeightedSplitOptions {
  readonly parts: readonly SplitPart[];
  /** What keeps a client with its group; `null`: each request is drawn anew. */
  readonly hashKey: HashKeySource | null;
  /** Numbers in `[0, 1)`. Default: `Math.random`. */
  readonly random?: () => number;
}

/**
 * Chooses one of several groups.
 *
 * With a key, each part bids the key's own number for it, raised to the power of one by its weight, and the highest bid
 * wins (weighted rendezvous hashing). So the keys that move when a weight changes are only those that must.
 */
export class WeightedSplit {
  readonly #parts: readonly SplitPart[];
  readonly #seeds: Uint32Array;
  readonly #total: number;
  readonly #keySource: HashKeySource | null;
  readonly #random: () => number;

  /** @throws {RangeError} If a weight is no number from 0, or a group is named twice. */
  constructor({ parts, hashKey, random = Math.random }: WeightedSplitOptions) {
    const names = new Set<string>();
    for (const { group, weight } of parts) {
      if (!(weight >= 0 && weight < Infinity)) {
        throw new RangeError(
          `Cannot split requests: the weight of "${group}" must be a number from 0, found ${weight}`,
        );
      }
      if (names.has(group)) {
        throw new RangeError(`Cannot split requests: "${group}" is named twice`);
      }
      names.add(group);
    }
    this.#parts = parts.filter(({ weight }) => weight > 0);
    this.#seeds = Uint32Array.from(this.#parts, ({ group }) => mix32(crc32(group)));
    this.#total = this.#parts.reduce((total, { weight }) => total + weight, 0);
    this.#keySource = hashKey;
    this.#random = random;
  }

  /**
   * The name of the group for a request. Requests without key are drawn.
   *
   * @param head The request as it came from downstream; `null` for one of our own.
   * @param clientAddress Address of the client, trusted proxies seen through.
   * @returns `null` if every weight is 0.
   */
  choose(head: RequestHead | null, clientAddress: string): string | null {
    const parts = this.#parts;
    if (parts.length < 2) return parts.length === 0 ? null : parts[0]!.group;
    const key = this.#keySource === null || head === null
      ? null
      : hashKey(this.#keySource, head, clientAddress);
    return key === null ? this.#draw() : this.#highestBid(crc32(key));
  }

  #draw(): string {
    const parts = this.#parts;
    let left = this.#random() * this.#total;
    for (let i = 0; i < parts.length - 1; i++) {
      left -= parts[i]!.weight;
      if (left < 0) return parts[i]!.group;
    }
    return parts.at(-1)!.group;
  }

  #highestBid(hash: number): string {
    const parts = this.#parts;
    let best = 0;
    let highest = -Infinity;
    for (let i = 0; i < parts.length; i++) {
      // Never 0, whose logarithm is infinite. Twice mixed: one xor would keep the order of near keys.
      const number = (mix32(mix32(hash) ^ this.#seeds[i]!) + 0.5) / TWO_32;
      const bid = Math.log(number) / parts[i]!.weight;
      if (bid > highest) {
        highest = bid;
        best = i;
      }
    }
    return parts[best]!.group;
  }
}
