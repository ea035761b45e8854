/**
 * Every bound that a client or an upstream can run into on any HTTP version, named and defaulted.
 *
 * @module
 */

/** Bounds of a downstream connection. Times are milliseconds, sizes bytes. */
export interface DownstreamLimits {
  /** Request line and fields together; over it: 431. */
  readonly headBytes: number;
  /** Number of fields; over it: 431. */
  readonly fields: number;
  /** Length of the request target; over it: 414. */
  readonly targetBytes: number;
  /** Content of one request, `0` for no limit; over it: 413. */
  readonly bodyBytes: number;
  /** From the first byte of a head to its last; over it: 408. Also the time a fresh connection has to begin. */
  readonly headerTimeout: number;
  /** Between two pieces of request content; over it: 408. */
  readonly bodyTimeout: number;
  /** Bytes per second that request content must come with on average, after a grace of `bodyTimeout`; `0` is off; under it: 408. */
  readonly bodyMinRate: number;
  /** How long an idle connection is kept for its next request. */
  readonly keepAliveTimeout: number;
  /** Requests that one connection may carry; the last response says `Connection: close`. `0` is no limit. */
  readonly requestsPerConnection: number;
  /** How long a write may wait for the client to read. */
  readonly writeTimeout: number;
  /** Bytes per second that a client must read: a write gets `bytes / rate` seconds, at least one, instead of `writeTimeout`; `0` is off. */
  readonly minSendRate: number;
  /** Unread request content that is read and thrown away to keep the connection; more closes it. */
  readonly drainBytes: number;
  /** How long that may take. */
  readonly drainTimeout: number;
}

/** Bounds of an upstream connection, apart from those of its peer. */
export interface UpstreamLimits {
  /** Status line and fields together. */
  readonly headBytes: number;
  /** Number of fields. */
  readonly fields: number;
  /** 1xx heads before the final one. */
  readonly informational: number;
}

export const DOWNSTREAM_LIMITS: DownstreamLimits = {
  headBytes: 32 * 1024,
  fields: 100,
  targetBytes: 8 * 1024,
  bodyBytes: 0,
  headerTimeout: 10_000,
  bodyTimeout: 30_000,
  bodyMinRate: 0,
  keepAliveTimeout: 75_000,
  requestsPerConnection: 10_000,
  writeTimeout: 30_000,
  minSendRate: 0,
  drainBytes: 64 * 1024,
  drainTimeout: 5_000,
};

export const UPSTREAM_LIMITS: UpstreamLimits = {
  headBytes: 64 * 1024,
  fields: 200,
  informational: 16,
};
