/**
 * Whether a TLS connection may be used for the host of a request: one that our certificate is not for is misdirected,
 * and one that wants a client certificate is not open to a connection without it.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { coversHost } from "../base/host_pattern.ts";
import { hostOf } from "../http/authority.ts";
import type { DownstreamSession } from "../http/session.ts";
import type { ClientAuthMode } from "../transport/client_certificate.ts";

/** What connections of a listener may be used for. */
export interface HostPolicy {
  /** Whether the certificate must be for the host. */
  readonly strict: boolean;
  /** What the client must have shown for a host, the same object for the same demand; `null`: nothing, for any. */
  readonly demand: ((host: string) => { readonly mode: ClientAuthMode }) | null;
}

/** @throws {ProxyError} `misdirected_request` (421, RFC 9110 §15.5.20) or `denied` (403). */
export function checkHost({ head, connection }: DownstreamSession, policy: HostPolicy): void {
  const { tls } = connection;
  if (tls === null) return;
  // HTTP/1.0 need not name a host. It gets to routes for any host then, so the demand for any other name is its own.
  const host = hostOf(head.authority);
  if (
    policy.strict && host !== "" && tls.ownNames !== null && !coversHost(tls.ownNames, host)
  ) {
    throw new ProxyError(
      "misdirected_request",
      `Cannot serve ${JSON.stringify(host)} here: the certificate of the connection is not for it`,
      { source: "downstream" },
    );
  }
  if (policy.demand === null) return;
  const demand = policy.demand(host);
  if (demand.mode === "none") return;
  // What was asked for another name proves nothing for this one: a new connection may (RFC 9110 §15.5.20).
  if (host !== tls.serverName && demand !== policy.demand(tls.serverName)) {
    throw new ProxyError(
      "misdirected_request",
      `Cannot serve ${JSON.stringify(host)} here: it wants a client certificate of its own`,
      { source: "downstream" },
    );
  }
  if (demand.mode === "optional" || tls.certificate !== null) return;
  throw new ProxyError(
    "denied",
    `Cannot serve ${JSON.stringify(host)}: it needs a client certificate`,
    { source: "downstream" },
  );
}
