/**
 * What proxies elsewhere can set on an upstream connection and Deno cannot, so that nobody sets it in vain.
 *
 * @module
 */

const NO_SOCKET_OPTION =
  "Deno gives no way to set this socket option; set it for the host by sysctl";

/** Options by the names that they go by in config files, each with why there is none here. */
export const UNSUPPORTED_PEER_OPTIONS: Readonly<Record<string, string>> = {
  tcp_fast_open: "Deno cannot send data with the SYN (TCP_FASTOPEN_CONNECT)",
  dscp: "Deno cannot mark packets (IP_TOS, IPV6_TCLASS); mark them by a firewall rule on the host",
  tcp_recv_buf: NO_SOCKET_OPTION,
  tcp_send_buf: NO_SOCKET_OPTION,
  tcp_user_timeout: `${NO_SOCKET_OPTION}, or bound a stalled write by timeouts.write`,
  tcp_keep_alive_interval: `${NO_SOCKET_OPTION} (net.ipv4.tcp_keepalive_intvl)`,
  tcp_keep_alive_count: `${NO_SOCKET_OPTION} (net.ipv4.tcp_keepalive_probes)`,
  local_port_range:
    "Deno cannot bound the local port (IP_LOCAL_PORT_RANGE, IP_BIND_ADDRESS_NO_PORT); set net.ipv4.ip_local_port_range for the host",
  bind_device: "Deno cannot bind a connection to an interface (SO_BINDTODEVICE); use local_address",
  transparent: "Deno cannot connect from an address that is not the host's own (IP_TRANSPARENT)",
  so_mark: "Deno cannot mark sockets (SO_MARK)",
  mptcp: "Deno cannot open Multipath TCP connections",
  ciphers: "Deno checks this list but does not apply it; set tls.min_version instead",
  curves: "Deno does not let the key exchange groups be chosen",
  second_keyshare: "Deno does not let the key shares be chosen",
  psk: "Deno offers no TLS with pre-shared keys; use a client certificate",
  security_policy: "it belongs to s2n, a TLS library that Deno does not use",
  max_blinding_delay: "it belongs to s2n, a TLS library that Deno does not use",
  tls_session_resumption: "Deno takes up no TLS session as a client; keep connections in the pool",
  ocsp_stapling: "Deno does not ask an upstream for a stapled OCSP response",
  keylog: "Deno does not give out the secrets of a TLS connection",
  socket_hook: "Deno does not give out the descriptor of a socket",
};
