/**
 * The schema of `transport`: how the endpoints of an upstream are connected to and talked with.
 *
 * @module
 */
import { z } from "zod";
import { PEER_OPTIONS, UPSTREAM_PROTOCOLS } from "../connector/peer.ts";
import { duration, endpoint, integer, ip, leaf, Refusal, text, yesNo } from "./leaves.ts";
import { upstreamHttp2 } from "./schema_http2.ts";
import { fieldValues, mapping, optional, required, withDefault } from "./schema_base.ts";
import { formatDuration } from "./units.ts";

const ms = formatDuration;

const clientCertificate = () =>
  mapping({
    cert: required(text("the path of a PEM file"), "PEM file with the certificate chain."),
    key: required(text("the path of a PEM file"), "PEM file with the private key."),
  });

/** A version of TLS. YAML reads 1.2 as a number. */
export const tlsVersion = () =>
  leaf<"1.2" | "1.3">("1.2 or 1.3", { enum: ["1.2", "1.3", 1.2, 1.3] }, (value) => {
    if (typeof value !== "string" && typeof value !== "number") return new Refusal("", "", true);
    const version = String(value);
    if (version === "1.2" || version === "1.3") return version;
    return /^1(\.[01])?$/.test(version)
      ? new Refusal("TLS before 1.2 is not safe, and not spoken")
      : new Refusal("");
  });

const tls = () =>
  mapping({
    server_name: optional(
      text("a host name"),
      "Name to ask for (SNI) and to check the certificate against. Default: the host of the endpoints.",
    ),
    alternative_name: optional(
      text("a host name"),
      "Another name that the certificate may bear instead.",
    ),
    verify: withDefault(
      yesNo(),
      true,
      "Whether the certificate chain must lead to a trusted root. Without it, anybody can pose as the upstream.",
    ),
    verify_hostname: withDefault(
      yesNo(),
      true,
      "Whether the certificate must bear the name. Means nothing when `verify` is false.",
    ),
    ca: optional(
      text("the path of a PEM file"),
      "PEM file with the roots to trust. Default: `server.ca_file`, or else those of the system.",
    ),
    client_certificate: optional(clientCertificate(), "Our own certificate, for mutual TLS."),
    min_version: withDefault(tlsVersion(), "1.2", "Oldest version of TLS: `1.2` or `1.3`."),
    max_version: withDefault(tlsVersion(), "1.3", "Newest version of TLS: `1.2` or `1.3`."),
  });

const timeouts = () =>
  mapping({
    connect: withDefault(duration(1), ms(PEER_OPTIONS.connectTimeout), "For the TCP connect."),
    tls: withDefault(duration(1), ms(PEER_OPTIONS.tlsTimeout), "For the TLS handshake."),
    total_connect: withDefault(
      duration(1),
      ms(PEER_OPTIONS.totalConnectTimeout),
      "For name look-up, TCP and TLS together.",
    ),
    first_byte: withDefault(
      duration(1),
      ms(PEER_OPTIONS.firstByteTimeout),
      "From the end of the request to the first byte of the response.",
    ),
    read: withDefault(
      duration(1),
      ms(PEER_OPTIONS.readTimeout),
      "Between two pieces of the response.",
    ),
    write: withDefault(
      duration(1),
      ms(PEER_OPTIONS.writeTimeout),
      "How long a write may wait for the upstream to read.",
    ),
    tunnel_idle: withDefault(
      duration(),
      ms(PEER_OPTIONS.tunnelIdleTimeout),
      "How long a tunnel (WebSocket, CONNECT) may be silent in both directions; `0`: no limit.",
    ),
    tunnel: withDefault(
      duration(),
      ms(PEER_OPTIONS.tunnelTimeout),
      "How long a tunnel may last; `0`: no limit.",
    ),
  });

const keepalive = () =>
  mapping({
    max_idle: withDefault(
      integer(0),
      PEER_OPTIONS.maxIdle,
      "Most idle connections to one endpoint, per service worker.",
    ),
    idle_timeout: withDefault(
      duration(),
      ms(PEER_OPTIONS.idleTimeout),
      "How long an unused connection is kept; `0`: connections are not used again.",
    ),
  });

const outerProxy = () =>
  mapping({
    address: required(
      endpoint(),
      "Where the proxy is: `host:port`, `http://host` or `unix:/path`. It is spoken to in clear text.",
    ),
    headers: withDefault(fieldValues(), {}, "Fields of the CONNECT request, for authentication."),
  });

/** How endpoints are connected to. */
export const transportSchema = () =>
  mapping({
    protocol: withDefault(
      z.enum(UPSTREAM_PROTOCOLS),
      PEER_OPTIONS.protocol,
      "What is spoken: `h1`; `h2` over TLS; `h2c`, HTTP/2 in clear text; `auto`, over TLS what the endpoint prefers, else `h1`.",
    ),
    http2: withDefault(upstreamHttp2(), {}, "HTTP/2 connections."),
    tls: optional(
      z.union([yesNo(), tls()]),
      "TLS towards the endpoints: `true`, or how. Endpoints with `https://` turn it on.",
    ),
    timeouts: withDefault(timeouts(), {}, "How long things may take."),
    keepalive: withDefault(keepalive(), {}, "Idle connections."),
    max_connections: withDefault(
      integer(0),
      PEER_OPTIONS.maxConnections,
      "Most connections to one endpoint, busy and idle, per service worker; `0`: no limit.",
    ),
    max_pending: withDefault(
      integer(0),
      PEER_OPTIONS.maxPending,
      "Requests that may wait for one of `max_connections`.",
    ),
    pending_timeout: withDefault(
      duration(1),
      ms(PEER_OPTIONS.pendingTimeout),
      "How long a request may wait for a connection.",
    ),
    max_age: withDefault(
      duration(),
      ms(PEER_OPTIONS.maxAge),
      "How long a connection is used; then it is closed after its request; `0`: no limit.",
    ),
    max_requests: withDefault(
      integer(0),
      PEER_OPTIONS.maxRequests,
      "Requests that one connection may carry; `0`: no limit.",
    ),
    prewarm: withDefault(
      integer(0, 64),
      PEER_OPTIONS.prewarm,
      "Idle connections to each endpoint that are kept ready, per service worker.",
    ),
    group_key: optional(
      text("a text"),
      "Connections are shared only with upstreams of the same key, and of the same settings. Default: none.",
    ),
    proxy: optional(
      outerProxy(),
      "Connect through a proxy, by CONNECT. Default: directly.",
    ),
    proxy_protocol: optional(
      z.enum(["v1", "v2"]),
      "Tell the endpoint who the client is by the PROXY protocol; each connection is then for one client. Default: none.",
    ),
    local_address: optional(ip(), "Local address to connect from. Default: the system chooses."),
    local_address_fallback: withDefault(
      yesNo(),
      PEER_OPTIONS.localAddressFallback,
      "Whether any other address is taken when `local_address` cannot be used.",
    ),
    tcp_keep_alive: withDefault(
      duration(),
      ms(PEER_OPTIONS.tcpKeepAlive * 1000),
      "Silence before TCP keep-alive probes, in whole seconds; `0`: none.",
    ),
  });
