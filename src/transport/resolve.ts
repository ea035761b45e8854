/**
 * Host names to IP addresses, by the resolver of the system (so `/etc/hosts` counts).
 *
 * @module
 */
import { lookup, type LookupAddress } from "node:dns";
import { isIP } from "node:net";
import { ProxyError } from "../base/error.ts";
import { attempt } from "./attempt.ts";
import { errorCode, reason } from "./io_error.ts";

/** Bounds of a look-up. */
export interface ResolveOptions {
  /** Milliseconds after which it fails with `dns_timeout`. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * What is being asked for now. A look-up cannot be cancelled and holds a thread, so a name that does not answer
 * is asked for once, however many requests want it.
 */
const asked = new Map<string, Promise<string[]>>();

/**
 * Finds all addresses of a host, in the order in which they are to be tried. An IP literal is its own address.
 *
 * @throws {ProxyError} `dns_error`, `dns_timeout`, or what the signal gives as its reason.
 */
export function resolveHost(host: string, options: ResolveOptions): Promise<string[]> {
  const { timeout, signal } = options;
  if (isIP(host) !== 0) return Promise.resolve([host]);
  const context = `Looking up "${host}"`;
  return attempt<string[]>({ timeout, timeoutType: "dns_timeout", context, signal }, (end) => {
    askOnce(host).then(end.resolve, end.reject);
    return () => {};
  });
}

function askOnce(host: string): Promise<string[]> {
  let answer = asked.get(host);
  if (answer === undefined) {
    answer = ask(host).finally(() => asked.delete(host));
    asked.set(host, answer);
  }
  return answer;
}

function ask(host: string): Promise<string[]> {
  return new Promise((resolve, reject) => {
    lookup(host, { all: true, verbatim: true }, (error, found: LookupAddress[]) => {
      if (error === null && found.length > 0) return resolve(found.map((one) => one.address));
      const why = error === null
        ? "no address"
        : errorCode(error) === "ENOTFOUND"
        ? "no such host"
        : reason(error);
      reject(
        new ProxyError("dns_error", `Looking up "${host}": ${why}`, {
          source: "upstream",
          retry: true,
          ...(error === null ? {} : { cause: error }),
        }),
      );
    });
  });
}
