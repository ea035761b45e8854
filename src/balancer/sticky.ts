/**
 * Sessions that stay with their backend by a cookie.
 *
 * The cookie names the backend by a keyed hash of its id, so it tells no address, nobody can make one for a backend
 * of their choice, and every proxy with the same secret understands it.
 *
 * @module
 */
import { createHmac } from "node:crypto";
import type { Backend } from "./backend.ts";

/** How a session is kept with its backend. */
export interface StickyOptions {
  /** Name of the cookie. */
  readonly cookie: string;
  /** Key of the hash, at least 16 bytes; the same on every proxy in front of the group, and not told to anybody. */
  readonly secret: string | Uint8Array;
  /** Default: `/`. */
  readonly path?: string;
  /** Seconds that the cookie is kept; default: until the browser is closed. */
  readonly maxAge?: number;
  /** Whether it is sent over TLS only. Default: `false`. */
  readonly secure?: boolean;
  /** Default: `Lax`. `None` needs `secure`. */
  readonly sameSite?: "Strict" | "Lax" | "None";
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const MIN_SECRET = 16;

/** The names that backends have in the sticky cookie of a group. */
export class StickyNames<T extends Backend = Backend> {
  readonly cookie: string;
  readonly #group: string;
  readonly #secret: string | Uint8Array;
  readonly #attributes: string;
  #byValue: ReadonlyMap<string, T> = new Map();
  #byId: ReadonlyMap<string, string> = new Map();

  /** @throws {RangeError} If the options would not make a good cookie. */
  constructor(group: string, options: StickyOptions) {
    const { cookie, secret, path = "/", maxAge, secure = false, sameSite = "Lax" } = options;
    const refuse = (why: string): never => {
      throw new RangeError(`Cannot make sessions of upstream "${group}" sticky: ${why}`);
    };
    if (!TOKEN.test(cookie)) refuse(`${JSON.stringify(cookie)} is not a cookie name`);
    if (secret.length < MIN_SECRET) refuse(`the secret must have ${MIN_SECRET} bytes or more`);
    if (!/^\/[\x21-\x3a\x3c-\x7e]*$/.test(path)) {
      refuse(`${JSON.stringify(path)} is not a cookie path`);
    }
    if (maxAge !== undefined && !(Number.isInteger(maxAge) && maxAge > 0)) {
      refuse(`the maximum age must be a whole number of seconds over 0, found ${maxAge}`);
    }
    if (sameSite === "None" && !secure) refuse("SameSite=None needs secure");
    this.cookie = cookie;
    this.#group = group;
    this.#secret = secret;
    this.#attributes = `; Path=${path}${maxAge === undefined ? "" : `; Max-Age=${maxAge}`}` +
      `; HttpOnly${secure ? "; Secure" : ""}; SameSite=${sameSite}`;
  }

  /** Takes another set of backends. */
  update(backends: readonly T[]): void {
    const byId = new Map(
      backends.map(({ id }) => [id, this.#byId.get(id) ?? this.#hash(id)]),
    );
    this.#byValue = new Map(backends.map((backend) => [byId.get(backend.id)!, backend]));
    this.#byId = byId;
  }

  /** What a backend is called in the cookie, or `null` if it is not in the set. */
  valueOf(backend: Backend): string | null {
    return this.#byId.get(backend.id) ?? null;
  }

  /** The backend of a cookie, or `null` if it names none of the set. */
  find(value: string): T | null {
    return this.#byValue.get(value) ?? null;
  }

  /** The value of a Set-Cookie field (RFC 6265 §4.1). */
  setCookie(value: string): string {
    return `${this.cookie}=${value}${this.#attributes}`;
  }

  #hash(id: string): string {
    const mac = createHmac("sha256", this.#secret);
    // 128 bits are plenty against guessing, and keep the cookie short.
    return mac.update(JSON.stringify([this.#group, id])).digest().subarray(0, 16)
      .toString("base64url");
  }
}
