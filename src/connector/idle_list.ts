/**
 * The idle connections of all peers, by how long they have been idle.
 *
 * @module
 */

/** A member of an {@linkcode IdleList}. Embed it by extending. */
export class IdleNode {
  /** @internal */ older: IdleNode | null = null;
  /** @internal */ newer: IdleNode | null = null;
}

/** A doubly linked list: adding, taking from the middle and finding the oldest cost the same few nanoseconds. */
export class IdleList<T extends IdleNode> {
  #oldest: IdleNode | null = null;
  #newest: IdleNode | null = null;
  #size = 0;

  /** How many are in it. */
  get size(): number {
    return this.#size;
  }

  /** The one that has been in it for longest. */
  get oldest(): T | null {
    return this.#oldest as T | null;
  }

  /** Adds one that is not in it. */
  add(node: T): void {
    node.older = this.#newest;
    node.newer = null;
    if (this.#newest !== null) this.#newest.newer = node;
    else this.#oldest = node;
    this.#newest = node;
    this.#size++;
  }

  /** Removes one that is in it. */
  remove(node: T): void {
    const { older, newer } = node;
    if (older !== null) older.newer = newer;
    else this.#oldest = newer;
    if (newer !== null) newer.older = older;
    else this.#newest = older;
    node.older = null;
    node.newer = null;
    this.#size--;
  }
}
