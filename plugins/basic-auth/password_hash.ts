/**
 * Password hashes as text: `$pbkdf2-sha256$i=600000$<salt>$<hash>`, salt and hash in base64 without padding.
 *
 * PBKDF2 (RFC 8018 §5.2) because it is the one password hash that the web platform has, so that it needs no
 * rights and runs outside of the event loop.
 *
 * @module
 */

const HASHES = { "pbkdf2-sha256": "SHA-256", "pbkdf2-sha512": "SHA-512" } as const;

/** Iterations of a new hash, as OWASP recommends for PBKDF2 with SHA-256. */
export const DEFAULT_ITERATIONS = 600_000;
/** Fewer are not a hash worth the name. */
export const MIN_ITERATIONS = 100_000;
/** More would keep a thread busy for seconds. */
export const MAX_ITERATIONS = 5_000_000;

const MIN_SALT = 8;
const MAX_SALT = 64;
const MIN_HASH = 20;
const MAX_HASH = 64;

const encoder = new TextEncoder();

/** A password hash that was read. */
export interface PasswordHash {
  readonly algorithm: keyof typeof HASHES;
  readonly iterations: number;
  readonly salt: Uint8Array<ArrayBuffer>;
  readonly hash: Uint8Array<ArrayBuffer>;
}

/**
 * Reads a password hash.
 *
 * @returns What is wrong with it, as text, if it is none. The text never quotes it.
 */
export function parsePasswordHash(text: string): PasswordHash | string {
  const parts =
    /^\$(pbkdf2-sha256|pbkdf2-sha512)\$i=([1-9]\d{0,9})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/
      .exec(text);
  if (parts === null) {
    return "is not a password hash such as $pbkdf2-sha256$i=600000$<salt>$<hash>; " +
      "make one with plugins/basic-auth/hash_password.ts";
  }
  const iterations = Number(parts[2]);
  if (iterations < MIN_ITERATIONS || iterations > MAX_ITERATIONS) {
    return `has ${iterations} iterations, and must have from ${MIN_ITERATIONS} to ${MAX_ITERATIONS}`;
  }
  const salt = fromBase64(parts[3]!);
  const hash = fromBase64(parts[4]!);
  if (salt === null || salt.length < MIN_SALT || salt.length > MAX_SALT) {
    return `has a salt that is not base64 of ${MIN_SALT} to ${MAX_SALT} bytes`;
  }
  if (hash === null || hash.length < MIN_HASH || hash.length > MAX_HASH) {
    return `has a hash that is not base64 of ${MIN_HASH} to ${MAX_HASH} bytes`;
  }
  return { algorithm: parts[1] as keyof typeof HASHES, iterations, salt, hash };
}

/** Makes the text of a new hash, with a salt of its own. */
export async function hashPassword(
  password: string,
  iterations: number = DEFAULT_ITERATIONS,
): Promise<string> {
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const hash = await derive(password, "pbkdf2-sha256", iterations, salt, 32);
  return `$pbkdf2-sha256$i=${iterations}$${toBase64(salt)}$${toBase64(hash)}`;
}

/** Whether a password is the one that was hashed. Takes the same time whether it is or not. */
export async function verifyPassword(password: string, known: PasswordHash): Promise<boolean> {
  const { algorithm, iterations, salt, hash } = known;
  return sameBytes(await derive(password, algorithm, iterations, salt, hash.length), hash);
}

/** Compares without telling by its time where the first difference is. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}

async function derive(
  password: string,
  algorithm: keyof typeof HASHES,
  iterations: number,
  salt: Uint8Array<ArrayBuffer>,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  // One password can be typed as several sequences of code points (RFC 8265 §4.1).
  const bytes = encoder.encode(password.normalize("NFC"));
  const key = await crypto.subtle.importKey("raw", bytes, "PBKDF2", false, ["deriveBits"]);
  const bits = await crypto.subtle.deriveBits(
    { name: "PBKDF2", hash: HASHES[algorithm], salt, iterations },
    key,
    length * 8,
  );
  return new Uint8Array(bits);
}

function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replace(/=+$/, "");
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  } catch {
    return null;
  }
}
