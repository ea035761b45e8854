/**
 * Requests that wait for one connection together, because it may be able to carry them all.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { abortError } from "../transport/io_error.ts";
import type { UpstreamSession } from "../http/session.ts";
import type { Request, Waiter } from "./waiting_line.ts";

/** Those who wait for a connection that is being made. It is given up when all of them have left. */
export class Gathering {
  readonly #abort = new AbortController();
  readonly #members = new Set<Waiter & { leave(): void }>();
  /** `Peer.clientKey` of all of them. */
  readonly clientKey: string;
  #seats: number;

  /** @param seats Requests that the connection is likely to carry. */
  constructor(clientKey: string, seats: number) {
    this.clientKey = clientKey;
    this.#seats = seats;
  }

  /** Whether one more may wait. */
  get hasSeat(): boolean {
    return this.#members.size < this.#seats;
  }

  /** How many wait. */
  get size(): number {
    return this.#members.size;
  }

  /** Aborted when nobody wants the connection any more. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /**
   * Waits for the connection.
   *
   * @throws {ProxyError} Why it could not be made; or the reason of the signal.
   */
  join(request: Request): Promise<UpstreamSession> {
    return new Promise((resolve, reject) => this.add({ ...request, resolve, reject }));
  }

  /** Takes somebody in who has been waiting elsewhere. */
  add(waiter: Waiter): void {
    const { signal, peer } = waiter;
    const leave = () => {
      this.#members.delete(member);
      signal?.removeEventListener("abort", onAbort);
    };
    const onAbort = () => {
      leave();
      const error = abortError(signal!, `Connecting to ${peer.label}`);
      waiter.reject(error);
      if (this.#members.size === 0) this.#abort.abort(error);
    };
    const member = { ...waiter, leave };
    this.#members.add(member);
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
  }

  /** Takes the first one out, or `null`. */
  next(): Waiter | null {
    for (const member of this.#members) {
      member.leave();
      return member;
    }
    return null;
  }

  /** There is no connection: each gets an error of its own, because what becomes of it is noted there. */
  fail(error: unknown): void {
    let told = error;
    for (let one = this.next(); one !== null; one = this.next()) {
      one.reject(told);
      if (error instanceof ProxyError) told = error.copy();
    }
  }
}
