/**
 * What operators can have the program do as a whole.
 *
 * @module
 */

/** What an action came to. */
export interface ActionResult {
  readonly ok: boolean;
  /** For people: what was done, or why it was not and what to do about it. */
  readonly message: string;
  /** Further facts, for tools. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The actions; `null` for one that this program cannot do. */
export interface AdminActions {
  /** Finishes what runs, and ends. Returns at once. */
  readonly drain: (reason: string) => void;
  /** Reads the config again and switches to it, all or nothing; resolves when that is done or has failed. */
  readonly reload: (() => Promise<ActionResult>) | null;
  /** What a reload would do. */
  readonly changes: () => Promise<ActionResult>;
  /** Hands over to a new process; resolves when that one serves, or has failed. */
  readonly upgrade: (() => Promise<ActionResult>) | null;
}
