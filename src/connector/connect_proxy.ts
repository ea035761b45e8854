/**
 * Asks a proxy to connect us with a peer (CONNECT, RFC 9110 §9.3.6, RFC 9112).
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { Socket as NetSocket } from "node:net";
import { ProxyError } from "../base/error.ts";
import { isAuthority } from "../http/authority.ts";
import { checkFieldName, checkFieldValue } from "../http/field_checks.ts";
import { INCOMPLETE } from "../http1/field_section_parser.ts";
import { HeadScanner } from "../http1/head_scanner.ts";
import { parseResponseHead, readResponse, responseRules } from "../http1/response_head_parser.ts";
import { formatAddress, type TcpAddress } from "../transport/address.ts";
import { attempt } from "../transport/attempt.ts";
import { reason } from "../transport/io_error.ts";
import type { OuterProxy } from "./peer.ts";

/** Bytes of all heads of a reply together. */
export const MOST_REPLY_BYTES = 16 * 1024;
/** Heads that say that the final one is still to come. */
const MOST_INFORMATIONAL = 8;
const RULES = responseRules({ fields: 100 });
/** What CONNECT says by itself, and must not be made to say twice or otherwise. */
const OWN_FIELDS = /^(?:host|content-length|transfer-encoding|connection|upgrade|te|trailer)$/i;

/** Bounds of a request for a tunnel. */
export interface ConnectProxyOptions {
  /** Milliseconds for the whole reply. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Turns a connection to a proxy into one to a peer. The connection is closed if that fails.
 *
 * @throws {ProxyError} `connect_proxy_failure` if the proxy refuses (its cause is an `http_status` with the status of
 * the answer), answers something else than HTTP, or closes; `connect_timeout`; `config_error` if a header or the
 * address of the peer cannot be sent; or what the signal gives as its reason.
 */
export function connectThrough(
  raw: NetSocket,
  proxy: OuterProxy,
  target: TcpAddress,
  options: ConnectProxyOptions,
): Promise<void> {
  const context = `Connecting to ${formatAddress(target)} through the proxy ${
    formatAddress(proxy.address)
  }`;
  // An error between two steps must find somebody, or it ends the process.
  raw.on("error", () => {});
  let request: string;
  try {
    request = connectRequest(target, proxy.headers);
  } catch (error) {
    raw.destroy();
    return Promise.reject(
      new ProxyError("config_error", `${context}: ${reason(error)}`, { source: "internal" }),
    );
  }
  return attempt<void>({ ...options, timeoutType: "connect_timeout", context }, (end) => {
    const reply = new Reply();
    const done = () => {
      raw.off("data", onData);
      raw.off("end", onEnd);
      raw.off("close", onEnd);
      raw.off("error", onError);
    };
    const refuse = (why: string, cause?: unknown, retry = true) => {
      done();
      raw.destroy();
      end.reject(failure(context, why, cause, retry));
    };
    const onData = (bytes: Buffer) => {
      let status: number;
      try {
        status = reply.take(bytes);
      } catch (error) {
        return refuse(reason(error), error);
      }
      if (status === INCOMPLETE) return;
      if (status < 200 || status > 299) {
        const answer = new ProxyError("http_status", `The proxy answers ${status}`, {
          source: "upstream",
          status,
        });
        // What it does not allow it will not allow the next time either.
        return refuse(`it answers ${status}`, answer, status >= 500);
      }
      // TLS and HTTP/1 begin with us: nobody behind the proxy can have said anything yet.
      if (reply.rest > 0) {
        return refuse(`${reply.rest} bytes behind its answer that nobody asked for`);
      }
      raw.pause();
      done();
      end.resolve();
    };
    const onEnd = () => refuse("it closes the connection without an answer");
    const onError = (error: Error) => refuse(reason(error), error);
    raw.on("data", onData);
    raw.on("end", onEnd);
    raw.on("close", onEnd);
    raw.on("error", onError);
    raw.write(request, "latin1");
    return () => {
      done();
      raw.destroy();
    };
  }).catch((error) => {
    raw.destroy();
    throw error;
  });
}

/**
 * The request as text, one byte per character.
 *
 * @throws {Error} If the target is no authority, or a header is none.
 */
export function connectRequest(target: TcpAddress, headers: OuterProxy["headers"]): string {
  const authority = formatAddress(target);
  if (!isAuthority(authority)) throw new Error("the address cannot stand in a request");
  let text = `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n`;
  for (const [name, value] of headers) {
    checkFieldName(name);
    if (OWN_FIELDS.test(name)) throw new Error(`the header "${name}" is not for anybody to set`);
    text += `${name}: ${checkFieldValue(name, value)}\r\n`;
  }
  return `${text}\r\n`;
}

/** Reads the heads of a reply, however they are cut. */
export class Reply {
  readonly #bytes = new Uint8Array(MOST_REPLY_BYTES);
  readonly #scanner = new HeadScanner();
  #start = 0;
  #end = 0;
  #informational = 0;
  /** Bytes behind the final head. */
  rest = 0;

  /**
   * Takes a piece.
   *
   * @returns The final status, or {@linkcode INCOMPLETE}.
   * @throws {ProxyError} If it is not well-formed, or too long.
   */
  take(piece: Uint8Array): number {
    const fits = Math.min(piece.length, MOST_REPLY_BYTES - this.#end);
    this.#bytes.set(piece.subarray(0, fits), this.#end);
    this.#end += fits;
    while (this.#isDecided()) {
      const status = this.#parse();
      if (status >= 200) {
        this.rest = this.#end - this.#start + piece.length - fits;
        return status;
      }
      if (status === 101 || ++this.#informational > MOST_INFORMATIONAL) {
        throw new ProxyError(
          "invalid_response",
          `it answers ${status}, and not for the first time`,
        );
      }
    }
    return INCOMPLETE;
  }

  #isDecided(): boolean {
    // What does not begin like HTTP at all need not be waited for.
    if (this.#end > this.#start && this.#bytes[this.#start] !== 72) return true;
    // The limit holds for all heads together: what is left of it is all that the next one has.
    return this.#scanner.isDecided(
      this.#bytes,
      this.#start,
      this.#end,
      MOST_REPLY_BYTES - this.#start,
    );
  }

  #parse(): number {
    const headEnd = parseResponseHead(this.#bytes, this.#start, this.#end, RULES);
    if (headEnd === INCOMPLETE) {
      throw this.#end >= MOST_REPLY_BYTES
        ? new ProxyError("response_head_too_large", `an answer of over ${MOST_REPLY_BYTES} bytes`)
        : new ProxyError("invalid_response", "a line of its answer ends too early");
    }
    const { head } = readResponse(this.#bytes, "CONNECT");
    head.fields.release();
    this.#start = headEnd;
    this.#scanner.reset();
    return head.status;
  }
}

function failure(context: string, why: string, cause: unknown, retry: boolean): ProxyError {
  return new ProxyError("connect_proxy_failure", `${context}: ${why}`, {
    source: "upstream",
    retry,
    ...(cause === undefined ? {} : { cause }),
  });
}
