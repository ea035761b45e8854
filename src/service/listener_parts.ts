/**
 * What the config of a listener means to its parts: the socket, the handshake, the requests.
 *
 * @module
 */
import type { ListenerConfig } from "../config/types.ts";
import { TrustedNetworks } from "../http/trusted_networks.ts";
import type { ExchangeOptions } from "../proxy/exchange.ts";
import type { HostPolicy } from "../proxy/host_check.ts";
import type { ProxyHeaderPolicy } from "../transport/proxy_accept.ts";
import type { TlsServer } from "../transport/tls_server.ts";
import type { ListenerCounts } from "./connection_counts.ts";

/** What requests of a listener need from it. Its tunnels stay counted when it gets other settings. */
export function exchangeOptions(
  listener: ListenerConfig,
  tls: TlsServer | null,
  { tunnels }: Pick<ListenerCounts, "tunnels">,
): ExchangeOptions {
  tunnels.most = listener.maxTunnels;
  return {
    forward: {
      trusted: new TrustedNetworks(listener.trustedProxies),
      fields: listener.forwarded,
      clientCert: listener.tls?.forwardClientCert ?? "off",
    },
    bodyBuffer: listener.pluginBodyBuffer,
    hosts: tls && hostPolicy(listener, tls),
    tunnels,
  };
}

/** Whose PROXY headers are believed. */
export function proxyHeaderPolicy({ proxyProtocol }: ListenerConfig): ProxyHeaderPolicy | null {
  if (proxyProtocol === null) return null;
  const { trusted, required, timeout } = proxyProtocol;
  const networks = new TrustedNetworks(trusted);
  return { trusts: (host) => networks.includes(host), required, timeout };
}

function hostPolicy({ tls }: ListenerConfig, server: TlsServer): HostPolicy {
  const { strictHost, hostAuth } = tls!;
  return {
    strict: strictHost,
    demand: hostAuth.length === 0 ? null : (host) => server.demandFor(host),
  };
}

/** What clients of a listener have to show. */
export function askedBy({ tls }: ListenerConfig) {
  return tls && { clientAuth: tls.clientAuth, hostAuth: tls.hostAuth };
}

/** What of a listener its socket is opened with. Certificates are shown by the next handshake, whichever they are. */
export function socketPart(
  { address, engine, unixMode, unixOwner, maxConnections, proxyProtocol, tls }: ListenerConfig,
) {
  return {
    address,
    engine,
    unixMode,
    unixOwner,
    maxConnections,
    proxyProtocol,
    tls: tls && {
      ...tls,
      certificates: [],
      clientAuth: tls.clientAuth && tls.clientAuth.mode,
      hostAuth: tls.hostAuth.map(({ host, mode }) => [host, mode]),
      forwardClientCert: null,
      strictHost: null,
      watch: null,
      expiryWarning: null,
    },
  };
}
