/**
 * The heads of requests and responses, whatever version carried them.
 *
 * @module
 */
import { copyBytes } from "../base/bytes.ts";
import { Fields, latin1, writeLatin1 } from "./fields.ts";
import { HOST } from "./field_names.ts";

/** HTTP/1.0, 1.1, 2 or 3, as ten times the number. */
export type Version = 10 | 11 | 20 | 30;

const NO_BYTES = new Uint8Array(0);

/** How `Via` and the logs write a version. */
export function versionText(version: Version): string {
  return version === 11 ? "1.1" : version === 10 ? "1.0" : version === 20 ? "2" : "3";
}

/** What {@linkcode RequestHead} is made from. */
export interface RequestHeadParts {
  readonly method: string;
  readonly version: Version;
  readonly fields: Fields;
  /** The origin-form target (path and query), `*`, or for CONNECT the authority. */
  readonly target?: string;
  /** The authority of an absolute-form target or of `:authority`; over the Host field. */
  readonly authority?: string;
}

/** Method, target and fields of a request. The target is kept as bytes until somebody reads it. */
export class RequestHead {
  method: string;
  readonly version: Version;
  readonly fields: Fields;
  #bytes: Uint8Array = NO_BYTES;
  #start = 0;
  #end = 0;
  #target: string | null;
  #authority: string | null;

  constructor(parts: RequestHeadParts) {
    this.method = parts.method;
    this.version = parts.version;
    this.fields = parts.fields;
    this.#target = parts.target ?? null;
    this.#authority = parts.authority ?? null;
  }

  /** Makes a head whose origin-form target lies in `bytes[start, end)`. */
  static parsed(
    method: string,
    version: Version,
    fields: Fields,
    bytes: Uint8Array,
    start: number,
    end: number,
    authority: string | null,
  ): RequestHead {
    const head = new RequestHead({ method, version, fields });
    head.#bytes = bytes;
    head.#start = start;
    head.#end = end;
    head.#authority = authority;
    return head;
  }

  /** Path and query as received, `*`, or for CONNECT the authority. */
  get target(): string {
    return this.#target ??= latin1(this.#bytes, this.#start, this.#end);
  }

  /** Replaces path and query. The caller has checked it: see `checkTarget`. */
  set target(target: string) {
    this.#target = target;
  }

  /** The target up to the `?`. */
  get path(): string {
    const target = this.target;
    const mark = target.indexOf("?");
    return mark < 0 ? target : target.slice(0, mark);
  }

  /** What follows the `?`, without it; empty if there is none. */
  get query(): string {
    const target = this.target;
    const mark = target.indexOf("?");
    return mark < 0 ? "" : target.slice(mark + 1);
  }

  /** Host and port that the request is for, as the client wrote it; empty only for HTTP/1.0 without Host. */
  get authority(): string {
    return this.#authority ?? this.fields.first(HOST) ?? "";
  }

  /** Whether the authority came from elsewhere than the Host field. */
  get hasOwnAuthority(): boolean {
    return this.#authority !== null;
  }

  /** Length of the target in bytes. */
  get targetLength(): number {
    return this.#target === null ? this.#end - this.#start : this.#target.length;
  }

  /** Copies the target; returns the position behind it. */
  writeTarget(out: Uint8Array, position: number): number {
    if (this.#target !== null) return writeLatin1(out, position, this.#target);
    return copyBytes(out, position, this.#bytes, this.#start, this.#end);
  }

  /** A copy over the same bytes, whose changes do not show here. */
  fork(): RequestHead {
    const copy = new RequestHead({
      method: this.method,
      version: this.version,
      fields: this.fields.fork(),
    });
    copy.#bytes = this.#bytes;
    copy.#start = this.#start;
    copy.#end = this.#end;
    copy.#target = this.#target;
    copy.#authority = this.#authority;
    return copy;
  }

  /** A copy that owns its bytes, and so outlives the connection's buffer. */
  detach(): RequestHead {
    return new RequestHead({
      method: this.method,
      version: this.version,
      fields: this.fields.detach(),
      target: this.target,
      ...(this.#authority === null ? {} : { authority: this.#authority }),
    });
  }

  /** Lets go of the received bytes. What is still needed (method, target, authority) must be read before. */
  release(): void {
    this.#target ??= "";
    this.#authority ??= "";
    this.#bytes = NO_BYTES;
    this.fields.release();
  }
}

// Visible ASCII without what no client sends as it is. Browsers leave `^`, `{`, `|`, `}` and "`" unescaped, and `\`
// in a query (WHATWG URL); in a path some origins take `\` for `/`. The HTTP/1 parser holds to the same rule.
const BAD_IN_TARGET = /[^\x21-\x7e]|["<>#]|^[^?]*\\/;

/**
 * Checks an origin-form target before it is written.
 *
 * @throws {TypeError} If it does not begin with `/` (or is `*`), or holds what no target may hold.
 */
export function checkTarget(target: string): void {
  if (target === "*") return;
  if (!target.startsWith("/")) {
    throw new TypeError(
      `Cannot set the target: it must begin with "/", found ${JSON.stringify(target)}`,
    );
  }
  const bad = BAD_IN_TARGET.exec(target);
  if (bad !== null) {
    throw new TypeError(
      `Cannot set the target: ${JSON.stringify(bad[0].at(-1))} must be percent-encoded in it`,
    );
  }
}

/** Status and fields of a response. */
export class ResponseHead {
  status: number;
  /** The version the response came with. */
  readonly version: Version;
  readonly fields: Fields;
  /** The reason phrase; empty means the usual one. */
  reason: string;

  constructor(
    status: number,
    fields: Fields = new Fields(),
    reason: string = "",
    version: Version = 11,
  ) {
    this.status = status;
    this.fields = fields;
    this.reason = reason;
    this.version = version;
  }

  /** Whether it is a 1xx: more heads will follow. 101 is final. */
  get informational(): boolean {
    return this.status < 200 && this.status !== 101;
  }

  fork(): ResponseHead {
    return new ResponseHead(this.status, this.fields.fork(), this.reason, this.version);
  }
}

/** Whether a response has no content whatever its fields say (RFC 9112 §6.3 items 1 and 2). */
export function hasNoContent(requestMethod: string, status: number): boolean {
  return requestMethod === "HEAD" || status === 204 || status === 304 || status < 200 ||
    (requestMethod === "CONNECT" && status < 300);
}
