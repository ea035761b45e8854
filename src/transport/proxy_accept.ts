/**
 * Reads the PROXY header at the beginning of an accepted connection.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { type Address, formatAddress } from "./address.ts";
import { reason } from "./io_error.ts";
import { MAX_PROXY_HEADER, parseProxyHeader, type ProxiedEnds } from "./proxy_header.ts";

/** Whose headers are believed. */
export interface ProxyHeaderPolicy {
  /** Whether the header of a peer is believed. Whoever is on a unix socket always is. */
  readonly trusts: (host: string) => boolean;
  /** Whether connections without a header, or from others, are refused. */
  readonly required: boolean;
  /** Milliseconds until the header is there, or it is clear that there is none. */
  readonly timeout: number;
}

/** What came first on a connection. */
export interface ProxyGreeting {
  /** Whom the header names; `null`: nobody else than the peer. */
  readonly ends: ProxiedEnds | null;
  /** What was read beyond the header. */
  readonly early: Uint8Array;
}

const NOTHING: Uint8Array = new Uint8Array(0);

/**
 * Reads the header if there is one.
 *
 * Whoever is not trusted is not asked: what such a peer sends goes to the protocol behind, where a header is an error.
 *
 * @throws {ProxyError} `invalid_request` or `header_timeout`, source `downstream`: the connection is to be closed.
 */
export async function readProxyHeader(
  connection: Pick<Deno.Conn<Deno.Addr>, "read" | "close">,
  remote: Address,
  policy: ProxyHeaderPolicy,
): Promise<ProxyGreeting> {
  const refuse = (why: string, type: "invalid_request" | "header_timeout" = "invalid_request") =>
    new ProxyError(type, `PROXY header of ${formatAddress(remote)}: ${why}`, {
      source: "downstream",
    });
  if (remote.kind === "tcp" && !policy.trusts(remote.host)) {
    if (policy.required) throw refuse("it is not from a trusted network");
    return { ends: null, early: NOTHING };
  }
  const buffer = new Uint8Array(MAX_PROXY_HEADER);
  let length = 0;
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    connection.close();
  }, policy.timeout);
  try {
    for (;;) {
      const read = await connection.read(buffer.subarray(length)).catch((error) => {
        throw late
          ? refuse(`not there within ${policy.timeout} ms`, "header_timeout")
          : refuse(reason(error));
      });
      if (read === null) throw refuse("the connection ended before it");
      length += read;
      const header = parseProxyHeader(buffer.subarray(0, length));
      switch (header.kind) {
        case "incomplete":
          continue;
        case "malformed":
          throw refuse(header.reason);
        case "none":
          if (policy.required) throw refuse("there is none");
          return { ends: null, early: buffer.subarray(0, length) };
        case "header":
          return { ends: header.ends, early: buffer.subarray(header.length, length) };
      }
    }
  } finally {
    clearTimeout(timer);
  }
}
