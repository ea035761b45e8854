/**
 * An HTTP/1 connection as the pool has it.
 *
 * @module
 */
import type { UpstreamSession } from "../http/session.ts";
import { Http1UpstreamConnection } from "../http1/upstream_connection.ts";

/** Remembers that it was ended by bytes that answer no request, and can wait without having been used. */
export class PooledHttp1Connection extends Http1UpstreamConnection {
  stray = false;
  #parked = false;

  override onRead(length: number): void {
    if (length > 0 && !this.busy) this.stray = true;
    super.onRead(length);
  }

  override release(reusable: boolean): void {
    if (reusable && this.input.size > 0) this.stray = true;
    super.release(reusable);
  }

  /** Begins to read, as between two exchanges: the peer may close it. */
  park(): void {
    this.#parked = true;
    this.wantBytes("nothing");
  }

  override begin(method: string): UpstreamSession {
    const session = super.begin(method);
    if (!this.#parked) return session;
    this.#parked = false;
    // Like a connection that was used, it may have been closed by the peer a moment ago: the request may be tried
    // again in the same cases.
    (session as { reused: boolean }).reused = true;
    return session;
  }
}
