/** The cases of Pingora's basic tests, of its core, and of its advisories, and where they are here. */

/** A case, and our tests by file, or the reason why there is none. */
export type Case = readonly [
  pingora: string,
  asserts: string,
  tests: Readonly<Record<string, string[]>> | string,
];

const SIMPLE = "tests/e2e/simple_proxy_test.ts";
const BRIDGES = "tests/e2e/bridges_test.ts";
const REUSE = "tests/e2e/reuse_test.ts";
const TLS_UP = "tests/e2e/upstream_tls_test.ts";
const TLS_DOWN = "tests/e2e/tls_listener_test.ts";
const HTTP2 = "tests/e2e/http2_test.ts";
const HTTP2_UP = "tests/e2e/http2_upstream_test.ts";
const ABUSE = "tests/e2e/http2_abuse_test.ts";
const SMUGGLING = "tests/e2e/smuggling_test.ts";
const DRAIN = "tests/e2e/drain_test.ts";
const SIGNALS = "tests/e2e/signals_test.ts";
const H1_LIMITS = "tests/http1/downstream_limits_test.ts";
const CHUNKED = "tests/http1/chunked_decoder_test.ts";
const EACH_BRIDGE = { [BRIDGES]: ["${down} to ${up}", "GET"] };
const NO_PSK = "no: only s2n has pre-shared keys, and the TLS of the runtime has none";
const NO_COMPRESSION = "no: compression is not there yet, and its keys are refused by name";
const NOT_SENT_AGAIN = {
  [REUSE]: ["${name} on a pooled connection that died is answered 502 and never sent again"],
};
const OTHER_TRUST = {
  [TLS_UP]: ["connections are never shared between peers that trust differently"],
};

/** Pingora's `test_basic`. */
export const BASIC_CASES: readonly Case[] = [
  ["origin_alive", "the origin can be reached", {
    [SIMPLE]: ["a GET is answered with the origin's status, fields and content"],
  }],
  ["simple_proxy", "status, fields and content pass; the source address is the configured one", {
    [SIMPLE]: ["a GET is answered with the origin's status, fields and content"],
    "tests/e2e/streaming_test.ts": ["the origin sees the configured local address"],
  }],
  ["h2_to_h1, h2_to_h2, h2c_to_h2c", "each version reaches each version", EACH_BRIDGE],
  ["h1_on_h2c_port", "HTTP/1 works on a listener with h2c", {
    [HTTP2]: ["HTTP/1 and HTTP/2 share a port, wherever the first bytes are cut"],
  }],
  ["h2_to_h2_host_override", "a Host that a hook sets is the :authority upstream", {
    [HTTP2_UP]: ["a Host that a plugin sets is the :authority of an HTTP/2 upstream"],
  }],
  ["h2_to_h2_upload, h2_to_h1_upload", "content comes back intact", {
    [BRIDGES]: ["a large upload", "both ways at once"],
  }],
  ["h2_head", "HEAD has a length and no content", { [BRIDGES]: ["HEAD"] }],
  ["simple_proxy_uds", "a unix listener has no client address", {
    [SIMPLE]: ["a unix socket listener serves, and has no client address to forward"],
  }],
  ["simple_proxy_uds_peer", "an upstream on a unix socket", {
    [SIMPLE]: ["an upstream may be a unix socket"],
  }],
  ["dropped_conn_get, dropped_conn", "a GET on a pooled connection that died is sent again", {
    [REUSE]: ["a GET on a pooled connection that died is sent again on a new one"],
  }],
  [
    "dropped_conn_post_empty_body, dropped_conn_post_body",
    "Pingora sends a small POST again; here none is that the origin may have acted on, and a PUT is",
    {
      ...NOT_SENT_AGAIN,
      [REUSE]: [
        ...NOT_SENT_AGAIN[REUSE]!,
        "a PUT with content is sent again whole, because it is idempotent",
      ],
    },
  ],
  ["dropped_conn_post_body_over", "content over the buffer is answered 502", NOT_SENT_AGAIN],
  ["tls_no_verify", "any certificate is taken where nothing is verified", {
    [TLS_UP]: ["verify: false takes any certificate"],
  }],
  ["tls_verify_sni_not_host", "the chain alone is checked", {
    [TLS_UP]: ["verify_hostname: false checks the chain alone"],
  }],
  ["tls_none_verify_host", "without a server name the certificate is still checked", {
    [TLS_UP]: ["without a server name the certificate is still checked"],
  }],
  ["tls_verify_sni_host", "chain and name are checked", {
    [TLS_UP]: [
      "a certificate that bears the server name under a trusted root is taken",
      "a certificate for another name is refused",
    ],
  }],
  [
    "tls_underscore_sub_sni_verify_host, tls_underscore_non_sub_sni_verify_host",
    "an underscore is taken below a wildcard, and nowhere else",
    { [TLS_UP]: ["an underscore in a name below a wildcard is taken, any other name is not"] },
  ],
  [
    "tls_alt_verify_host, tls_underscore_sub_alt_verify_host, tls_underscore_non_sub_alt_verify_host",
    "an alternative name counts, and no third one",
    { [TLS_UP]: ["a certificate may bear the alternative name instead, and no third one"] },
  ],
  [
    "upstream_compression, downstream_compression",
    "gzip where the client takes it",
    NO_COMPRESSION,
  ],
  ["connect_close", "Connection: close is answered in kind", {
    [SIMPLE]: [
      "Connection: close is answered in kind, and the connection is closed",
      "without Connection: close the connection carries further requests",
    ],
  }],
  ["connect_proxying_disallowed_h1", "CONNECT is 405", {
    [SIMPLE]: ["CONNECT is answered 405 and never reaches the origin"],
  }],
  ["connect_proxying_disallowed_h2", "CONNECT over HTTP/2 is refused, its connection is not", {
    [HTTP2]: ["what a listener refuses is refused with a status, and the connection goes on"],
  }],
  ["connect_proxying_allowed_h1", "CONNECT passes where it is allowed", {
    [SIMPLE]: ["CONNECT is passed on to the origin where the listener allows it"],
  }],
  [
    "mtls_no_client_cert, mtls_no_intermediate_cert, mtls",
    "the client certificate is shown, its absence or that of its intermediate is the origin's to judge",
    {
      "tests/connector/tls_peers_alone_test.ts": [
        "a client certificate without its intermediate",
        "TLS 1.2: a client certificate without its intermediate",
      ],
      [TLS_UP]: [
        "the client certificate is shown to the origin, and its absence is the origin's to judge",
      ],
    },
  ],
  [
    "mtls_diff_cert_no_reuse, tls_diff_verify_no_reuse, tls_diff_verify_host_no_reuse, tls_diff_alt_cn_no_reuse",
    "connections are not shared across certificates, verification and names",
    {
      ...OTHER_TRUST,
      "tests/connector/tls_peers_alone_test.ts": [
        "peers that differ in certificate, verification or names never share a connection",
      ],
      "tests/connector/http2_connection_test.ts": [
        "connections are never shared across trust settings",
      ],
    },
  ],
  ["tls_psk, tls_psk_invalid", "a pre-shared key is taken, a wrong one is not", NO_PSK],
  [
    "error_before_headers_sent, error_after_headers_sent_rst_received",
    "HTTP/2: a status before the head, a reset after it",
    { [HTTP2]: ["a failure before the head is an answer, after it a reset"] },
  ],
  ["103", "a 103 comes before the final response", {
    "tests/e2e/informational_test.ts": ["a 103 is forwarded before the final response"],
  }],
  ["103_die", "an origin that dies after a 103 makes a 502", {
    "tests/e2e/informational_test.ts": ["an origin that dies after a 103 makes a 502"],
  }],
];

/** Pingora's core, with the unit tests that matter for what is seen from outside. */
export const CORE_CASES: readonly Case[] = [
  ["http, uds", "listeners on TCP and on unix sockets", {
    [SIMPLE]: [
      "a GET is answered with the origin's status, fields and content",
      "a unix socket listener serves, and has no client address to forward",
    ],
  }],
  ["https_http2", "ALPN agrees on HTTP/2 and HTTP/1.1", {
    [TLS_DOWN]: ["${engine}: curl is served over TLS 1.3 and 1.2, with HTTP/2 and HTTP/1.1"],
  }],
  ["h1_tls_with_h2c, h2_tls_with_h2c", "h2c on a listener with TLS breaks nothing", {
    [TLS_DOWN]: ["h2c on a listener with TLS breaks neither HTTP/1 nor HTTP/2"],
  }],
  ["h2c_tcp", "h2c is known by its first bytes", {
    [HTTP2]: ["HTTP/1 and HTTP/2 share a port, wherever the first bytes are cut"],
  }],
  ["server_phase_fastshutdown", "a fast end", {
    [SIGNALS]: [
      "SIGINT cuts a download, leaves its line in the log and no file behind, and exits 0",
    ],
  }],
  ["server_phase_gracefulshutdown", "a graceful end: drain, grace, end", {
    [SIGNALS]: ["SIGTERM lets a download finish, takes nothing new, and exits 0 right after"],
    [DRAIN]: ["the grace period cuts what does not end"],
  }],
  ["bootstrap_as_a_service", "who depends on a service waits until it is ready", {
    "tests/server/service_graph_test.ts": [
      "a service starts when what it depends on is ready, and stops before it",
    ],
  }],
  ["H1S: TE with CL; 1.0 with TE; several TE fields; CL", "odd framing is refused", {
    [SMUGGLING]: [
      "Content-Length with Transfer-Encoding",
      "Transfer-Encoding on HTTP/1.0",
      "Transfer-Encoding twice",
      "negative Content-Length",
      "a list of Content-Lengths",
    ],
    "tests/conformance/rfc9112/requests_test.ts": [
      "RFC 9112 ${section}: every case gets its verdict",
    ],
  }],
  ["H1S: reuse counter", "a connection carries so many requests", {
    "tests/e2e/limits_test.ts": [
      "the last request that a connection may carry says Connection: close",
    ],
  }],
  ["H1S: reading too much, content up to the close", "such a connection is not used again", {
    [REUSE]: [
      "bytes behind a complete response poison nobody: that connection is closed",
      "a connection is not used again after Connection: close or an unknown end",
    ],
  }],
  ["H1S: table of minimum rates", "a write has the time that its size deserves", {
    [H1_LIMITS]: ["minSendRate gives a write the time that its size deserves, at least a second"],
  }],
  [
    "H1S: reading and writing in a select can be cancelled",
    "no state is lost when one side waits",
    "no: nothing here is cancelled between two awaits; the bridges test both sides at once",
  ],
  ["v1/body: split chunks, ends, trailers, partial heads", "chunks, cut anywhere", {
    [CHUNKED]: [
      "any chunks, cut anywhere, decode to what they carry",
      "any bytes give the same verdict whole and byte by byte, and never a crash",
    ],
  }],
  ["v1/body: bad CRLF, overflow", "malformed chunks are refused", {
    "tests/e2e/bad_upstream_test.ts": ["${name} from an upstream is never a complete response"],
    [H1_LIMITS]: ["content that turns out malformed while it is read over closes the connection"],
  }],
  ["v1/body: extensions", "chunk extensions are bounded and not passed on", {
    [H1_LIMITS]: ["a flood of chunk extensions is refused though every line is short"],
    "tests/e2e/streaming_test.ts": ["chunk extensions are not passed on"],
  }],
  ["LB: ketama", "keys go where nginx sends them", {
    "tests/balancer/selection/ketama_nginx_test.ts": [
      "200 keys go where the installed nginx sends them with hash $arg_k consistent, retries too",
    ],
  }],
  ["LB: weighted round robin", "shares are exact", {
    "tests/balancer/selection/statistics_test.ts": [
      "round robin is nginx's order, exact over each round",
    ],
  }],
  ["LB: health flips", "health flips at its thresholds", {
    "tests/balancer/health/active_test.ts": [
      "health flips exactly as a count of results in a row says, whatever the results",
    ],
  }],
];

/** Pingora's advisories: each is a regression test. */
export const ADVISORIES: readonly Case[] = [
  ["CVE-2025-4366", "content of a request that was answered early is no request", {
    [SMUGGLING]: [
      "content of a request that was answered early is never read as a request",
      "content behind a 502 is never read as a request",
    ],
    [H1_LIMITS]: ["every way to answer early leaves no content behind to be taken for a request"],
  }],
  ["CVE-2026-2833", "a tunnel begins with the 101", {
    "tests/e2e/upgrade_test.ts": [
      "bytes behind an Upgrade request do not reach the origin before it agrees",
      "when the origin refuses, what follows an Upgrade request is a request of its own",
    ],
  }],
  ["CVE-2026-2835", "no request ends with its connection, and odd codings are refused", {
    [SMUGGLING]: [
      "${name} is refused, and nothing behind it is a request",
      "chunked that is not last",
      "Transfer-Encoding: identity",
    ],
  }],
  ["CVE-2026-2836", "the key of the cache has scheme, host and path", "no: nothing is cached yet"],
  ["CVE-2026-105297", "fields and streams of HTTP/2 are bounded", {
    [ABUSE]: [
      "more streams than allowed",
      "a field section of many tiny fields, or of one over and over, is 431",
    ],
  }],
  ["CVE-2026-105299", "Connection takes off nothing that the proxy adds", {
    "tests/e2e/fields_test.ts": [
      "Connection cannot strip Host, X-Forwarded-For, Via or credentials",
      "hop-by-hop fields and what Connection nominates stay behind",
    ],
  }],
  ["RUSTSEC-2024-0332", "a flood of CONTINUATION ends its connection", {
    [ABUSE]: ["CONTINUATION frames", "a field block without end"],
  }],
  ["MadeYouReset", "resets that a client provokes are counted", {
    [ABUSE]: ["made you reset", "rapid reset"],
  }],
  ["#945, #674", "CL with TE is refused, not mended", {
    [SMUGGLING]: ["Content-Length with Transfer-Encoding", "Transfer-Encoding with Content-Length"],
  }],
];
