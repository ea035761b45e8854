/**
 * What is looked into in every turn of a loop, so that nobody has to wake the thread while the loop runs.
 *
 * @module
 */

/** Something that another thread fills. */
export interface Lookout {
  /** Takes what has come; says whether anything had. */
  look(): boolean;
  /**
   * The thread is about to wait. From now on whoever sends something has to wake it.
   *
   * @returns Whether it may: nothing has come yet.
   */
  mayWait(): boolean;
}

/** The lookouts of a thread, and whether somebody looks after them. */
export class Turns {
  #lookouts: Lookout[] = [];
  /** Whether a turn is sure to come without anybody waking the thread. Said by the loop. */
  coming = false;

  add(lookout: Lookout): void {
    // Another list each time, because one may end while the loop goes through them.
    this.#lookouts = [...this.#lookouts, lookout];
  }

  delete(lookout: Lookout): void {
    this.#lookouts = this.#lookouts.filter((one) => one !== lookout);
  }

  /** Looks after all; says whether anything had come. */
  look(): boolean {
    let any = false;
    for (const lookout of this.#lookouts) {
      try {
        if (lookout.look()) any = true;
      } catch (error) {
        // The others have nothing to do with it.
        reportError(error);
      }
    }
    return any;
  }

  /** The thread is about to wait; says whether it may. */
  mayWait(): boolean {
    for (const lookout of this.#lookouts) if (!lookout.mayWait()) return false;
    return true;
  }
}

/** Those of this thread. */
export const turnsOfThread: Turns = new Turns();
