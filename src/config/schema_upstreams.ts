/**
 * The schema of `upstreams`.
 *
 * @module
 */
import { z } from "zod";
import { PEER_OPTIONS } from "../connector/peer.ts";
import { duration, endpoint, integer, ip, name, text, yesNo } from "./leaves.ts";
import { mapping, optional, required, withDefault } from "./schema_base.ts";
import { formatDuration } from "./units.ts";

const ms = formatDuration;

const clientCertificate = () =>
  mapping({
    cert: required(text("the path of a PEM file"), "PEM file with the certificate chain."),
    key: required(text("the path of a PEM file"), "PEM file with the private key."),
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

const transport = () =>
  mapping({
    protocol: withDefault(z.enum(["h1"]), "h1", "What is spoken: HTTP/1.1."),
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
    local_address: optional(ip(), "Local address to connect from. Default: the system chooses."),
    tcp_keep_alive: withDefault(
      duration(),
      ms(PEER_OPTIONS.tcpKeepAlive * 1000),
      "Silence before TCP keep-alive probes, in whole seconds; `0`: none.",
    ),
  });

const endpointEntry = () =>
  z.union([
    endpoint(),
    mapping({
      address: required(
        endpoint(),
        "Where it is: `host:port`, `http://host`, `https://host` or `unix:/path`.",
      ),
      weight: withDefault(
        integer(0, 65535),
        1,
        "Share of the requests; `0` gets none.",
      ),
    }),
  ]);

/** A named set of endpoints. */
export const upstreamSchema = () =>
  mapping({
    name: required(name(), "Name for routes to refer to."),
    load_balancing: withDefault(
      mapping({
        policy: withDefault(
          z.enum(["round_robin", "weighted", "random"]),
          "round_robin",
          "How endpoints take turns; all heed the weights.",
        ),
      }),
      {},
      "How an endpoint is chosen.",
    ),
    endpoints: required(
      z.array(endpointEntry()).min(1),
      "Where the upstream is: addresses, or mappings with `address` and `weight`.",
    ),
    transport: withDefault(transport(), {}, "How endpoints are connected to."),
  });
