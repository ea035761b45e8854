/**
 * Checks passwords, and remembers those that were right, so that a request costs a hash only now and then.
 *
 * A password hash is slow on purpose. Without a bound, anybody could keep every core busy with wrong
 * passwords; so only a few are hashed at a time, few may wait, and what was found is kept for a while, both
 * right and wrong.
 *
 * @module
 */
import {
  hashPassword,
  parsePasswordHash,
  type PasswordHash,
  verifyPassword,
} from "./password_hash.ts";
import type { Credentials } from "./credentials.ts";

/** What a {@linkcode Verifier} is made from. */
export interface VerifierOptions {
  /** User names to hashes. */
  readonly users: ReadonlyMap<string, PasswordHash>;
  /** How long a verdict is kept, in milliseconds. */
  readonly keep: number;
  /** Most verdicts that are kept. */
  readonly entries: number;
  /** Hashes at a time. */
  readonly parallel?: number;
  /** Requests that may wait for one. */
  readonly waiting?: number;
  /** The time in milliseconds. */
  readonly now?: () => number;
}

interface Verdict {
  readonly right: boolean;
  readonly until: number;
}

const encoder = new TextEncoder();

/** Checks credentials. */
export class Verifier {
  readonly #options: VerifierOptions;
  readonly #key: Promise<CryptoKey>;
  readonly #decoy: Promise<PasswordHash>;
  /** By a keyed digest of the credentials, so that no password stays in memory; the oldest first. */
  readonly #verdicts = new Map<string, Verdict>();
  /** What is being hashed, so that the same credentials are hashed once. */
  readonly #running = new Map<string, Promise<boolean | null>>();
  readonly #queue: (() => void)[] = [];
  #busy = 0;

  constructor(options: VerifierOptions) {
    this.#options = options;
    this.#key = crypto.subtle.generateKey(
      { name: "HMAC", hash: "SHA-256" },
      false,
      ["sign"],
    ) as Promise<CryptoKey>;
    this.#decoy = makeDecoy(options.users);
  }

  /** Resolves when it can work; made at the start so that no request waits for it. */
  async ready(): Promise<void> {
    await Promise.all([this.#key, this.#decoy]);
  }

  /** Verdicts that are kept. */
  get size(): number {
    return this.#verdicts.size;
  }

  /**
   * Checks a user and a password.
   *
   * @returns `null` if too many others wait.
   */
  async check(credentials: Credentials): Promise<boolean | null> {
    // Without users there is nothing to find out.
    if (this.#options.users.size === 0) return false;
    const digest = await this.#digest(credentials);
    const known = this.#verdicts.get(digest);
    if (known !== undefined && known.until > this.#now()) return known.right;
    const running = this.#running.get(digest);
    if (running !== undefined) return await running;
    const work = this.#hash(digest, credentials);
    this.#running.set(digest, work);
    try {
      return await work;
    } finally {
      this.#running.delete(digest);
    }
  }

  async #hash(digest: string, { user, password }: Credentials): Promise<boolean | null> {
    if (!await this.#enter()) return null;
    try {
      const hash = this.#options.users.get(user);
      // An unknown user must take as long as a wrong password, or names could be guessed one by one.
      const right = await verifyPassword(password, hash ?? await this.#decoy) && hash !== undefined;
      this.#remember(digest, right);
      return right;
    } finally {
      this.#leave();
    }
  }

  #remember(digest: string, right: boolean): void {
    this.#verdicts.delete(digest);
    this.#verdicts.set(digest, { right, until: this.#now() + this.#options.keep });
    if (this.#verdicts.size <= this.#options.entries) return;
    // Guesses must not push out those who got in.
    let oldest: string | undefined;
    for (const [key, verdict] of this.#verdicts) {
      oldest ??= key;
      if (verdict.right && verdict.until > this.#now()) continue;
      oldest = key;
      break;
    }
    this.#verdicts.delete(oldest!);
  }

  #enter(): boolean | Promise<boolean> {
    const { parallel = 2, waiting = 64 } = this.#options;
    if (this.#busy < parallel) {
      this.#busy++;
      return true;
    }
    if (this.#queue.length >= waiting) return false;
    return new Promise((resolve) => this.#queue.push(() => resolve(true)));
  }

  #leave(): void {
    const next = this.#queue.shift();
    // Whoever waits takes over the place.
    if (next === undefined) this.#busy--;
    else next();
  }

  async #digest({ user, password }: Credentials): Promise<string> {
    // The lengths keep the two parts apart.
    const text = `${user.length}:${user}${password}`;
    const bytes = await crypto.subtle.sign("HMAC", await this.#key, encoder.encode(text));
    return String.fromCharCode(...new Uint8Array(bytes));
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }
}

/** A hash that nobody's password has, as slow as the slowest of the users' hashes. */
async function makeDecoy(users: ReadonlyMap<string, PasswordHash>): Promise<PasswordHash> {
  let slowest: PasswordHash | undefined;
  for (const hash of users.values()) {
    if (slowest === undefined || hash.iterations > slowest.iterations) slowest = hash;
  }
  if (slowest !== undefined) {
    return { ...slowest, salt: crypto.getRandomValues(new Uint8Array(16)) };
  }
  return parsePasswordHash(await hashPassword(crypto.randomUUID(), 100_000)) as PasswordHash;
}
