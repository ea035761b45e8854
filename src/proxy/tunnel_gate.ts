/**
 * How many tunnels the clients of a listener may have at a time.
 *
 * @module
 */

/** Counts the places of tunnels. One per listener and service worker, also when its settings become others. */
export class TunnelGate {
  /** Most places; may be set at any time, and is for those that come then. */
  most = Infinity;
  #taken = 0;
  #refused = 0;

  /** Places that are taken, by tunnels and by requests that wait to become one. */
  get taken(): number {
    return this.#taken;
  }

  /** Requests that got none. */
  get refused(): number {
    return this.#refused;
  }

  /** Takes a place, if there is one. */
  enter(): boolean {
    if (this.#taken >= this.most) {
      this.#refused++;
      return false;
    }
    this.#taken++;
    return true;
  }

  /** Gives a place back. */
  leave(): void {
    this.#taken--;
  }
}
