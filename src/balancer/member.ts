/**
 * A backend with all that a group keeps of it beside what others need to see.
 *
 * @module
 */
import type { Peer } from "../connector/peer.ts";
import type { Backend, BackendLoad, Endpoint } from "./backend.ts";
import type { BookEntry } from "./load_book.ts";

/** Highest weight; what a source gives beyond it is cut. */
export const MAX_WEIGHT = 65_535;

/** A backend as its group sees it. One object for as long as the member stays, whatever changes about it. */
export class Member implements Backend {
  readonly id: string;
  readonly entry: BookEntry;
  readonly load: BackendLoad;
  endpoint: Endpoint;
  peer: Peer;
  /** What the health view said last. */
  usable: boolean = true;
  factor: number = 1;

  constructor(id: string, entry: BookEntry, endpoint: Endpoint, peer: Peer) {
    this.id = id;
    this.entry = entry;
    this.load = entry.load;
    this.endpoint = endpoint;
    this.peer = peer;
  }

  /** The weight that holds: what an operator has set, else what the endpoint says. A whole number. */
  get weight(): number {
    return this.entry.weight ?? this.endpoint.weight;
  }

  /** Whether it is to have requests as far as weight and operator are concerned. */
  get wanted(): boolean {
    return this.entry.enabled && this.weight > 0;
  }
}

/** A weight from outside as a whole number from 0 to {@linkcode MAX_WEIGHT}; over 0 never becomes 0. */
export function cleanWeight(weight: number): number {
  return weight > 0 ? Math.min(MAX_WEIGHT, Math.max(1, Math.round(weight))) : 0;
}
