/**
 * What is looked into in every turn of a loop, so that nobody has to wake the thread while the loop runs.
 *
 * @module
 */

/** Something that another thread fills. */
export interface Lookout {
  /** Whether something is sure to come. */
  readonly isDue: boolean;
  /** Takes what has come; says whether anything had. */
  look(): boolean;
  /**
   * The thread is about to sleep. From now on whoever sends something has to wake it.
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
  /** Whether something new is due since the loop has last looked. Said by lookouts, and taken back by the loop. */
  isStirred = false;

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

  /** Whether anything is sure to come. */
  get isDue(): boolean {
    for (const lookout of this.#lookouts) if (lookout.isDue) return true;
    return false;
  }

  /** The thread is about to sleep; says whether it may. */
  mayWait(): boolean {
    for (const lookout of this.#lookouts) if (!lookout.mayWait()) return false;
    return true;
  }
}

/** Those of this thread. */
export const turnsOfThread: Turns = new Turns();
