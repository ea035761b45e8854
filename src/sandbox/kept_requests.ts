/**
 * Requests that a sandbox has been sent: until they are over, further calls for them only name them.
 *
 * The one that calls decides. It gives a request a number; what the sandbox keeps under that number is the request
 * until the number is given to another. So nobody has to say that a request is over.
 *
 * @module
 */
import type { HostSession, Kept } from "../plugin/handler.ts";

/** Requests that one sandbox keeps for one service worker; what comes beyond is sent with each call. */
export const MAX_KEPT = 512;
/** Bytes of one that is kept; what is larger is sent with each call. With its neighbours in memory it holds no more. */
export const MAX_KEPT_BYTES: number = 16 * 1024;

/** One that is kept, or may be. The objects are used again. */
class KeptRequest implements Kept {
  readonly owner: KeptRequests;
  readonly number: number;
  next: Kept | null = null;

  constructor(owner: KeptRequests, number: number) {
    this.owner = owner;
    this.number = number;
  }

  release(): void {
    this.owner.giveBack(this);
  }
}

/** The requests that a sandbox keeps, on the side that calls it. */
export class KeptRequests {
  readonly #free: KeptRequest[] = [];
  #made = 0;

  /** The number of the request, or `-1` if it was not sent yet. */
  find(session: HostSession): number {
    for (let one = session.kept; one !== null; one = one.next) {
      if (one instanceof KeptRequest && one.owner === this) return one.number;
    }
    return -1;
  }

  /**
   * Gives a request a number.
   *
   * @param size Bytes that are sent of it.
   * @returns What its session is to keep once it was sent, or `null` if it is not to be kept.
   */
  take(size: number): (Kept & { readonly number: number }) | null {
    if (size > MAX_KEPT_BYTES) return null;
    const one = this.#free.pop();
    if (one !== undefined) return one;
    return this.#made === MAX_KEPT ? null : new KeptRequest(this, this.#made++);
  }

  /** The request is over, or was not sent. */
  giveBack(one: KeptRequest): void {
    one.next = null;
    this.#free.push(one);
  }
}
