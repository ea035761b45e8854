/**
 * The schema of what a listener speaks below HTTP: TLS and the PROXY protocol.
 *
 * @module
 */
import { z } from "zod";
import { cidr, decimal, duration, integer, leaf, Refusal, text, yesNo } from "./leaves.ts";
import { mapping, optional, required, withDefault } from "./schema_base.ts";
import { tlsVersion } from "./schema_transport.ts";

/** A host name, or `*.` and a domain. */
const hostPattern = () =>
  leaf("a host name such as example.com or *.example.com", { type: "string" }, (value) => {
    if (typeof value !== "string") return new Refusal("", "", true);
    return /^(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/
        .test(value)
      ? value.toLowerCase()
      : new Refusal("");
  });

const PEM = "the path of a PEM file, or PEM itself";

const certificate = () =>
  mapping({
    cert: required(
      text(PEM),
      "The certificate and those between it and its root, in that order: a PEM file, or PEM itself (`${file:…}`, `${NAME}`).",
    ),
    key: required(text(PEM), "Its private key, without a passphrase: a PEM file, or PEM itself."),
    names: optional(
      z.array(hostPattern()).min(1),
      "Names that it is chosen for. Default: those that stand in the certificate.",
    ),
  });

const MODES = ["none", "optional", "required"] as const;

const hostAuth = () =>
  mapping({
    host: required(
      hostPattern(),
      "The name, or `*.` and a domain for one level of names below it.",
    ),
    mode: required(z.enum(MODES), "What clients must show for this name."),
    ca: optional(text(PEM), "Roots for this name. Default: those of `client_auth`."),
  });

const clientAuth = () =>
  mapping({
    mode: withDefault(
      z.enum(MODES),
      "none",
      "Whether clients are asked for a certificate, and let in without one. A bad one is never let in.",
    ),
    ca: optional(
      text(PEM),
      "Roots that client certificates must lead to: a PEM file, or PEM itself.",
    ),
    hosts: withDefault(
      z.array(hostAuth()),
      [],
      "Names with a rule of their own; the first that fits counts. A request for such a host on a connection that was made for another name is answered 421.",
    ),
  });

const certificateHook = () =>
  mapping({
    timeout: withDefault(duration(1), "2s", "How long plugins may take for one name."),
    ttl: withDefault(duration(1000), "1h", "How long a certificate that they gave is used."),
    negative_ttl: withDefault(
      duration(1000),
      "30s",
      "How long it is remembered that there is none for a name, or that asking failed.",
    ),
    max_names: withDefault(
      integer(1, 100_000),
      1000,
      "Names that are remembered per service worker; the one not asked for longest goes first.",
    ),
    lookups_per_second: withDefault(
      decimal(0.1, 10_000),
      20,
      "Names that plugins are asked for per service worker; further ones get no certificate from them.",
    ),
    lookups_per_client: optional(
      decimal(0.01, 10_000),
      "Of these, how many for one client: an IPv4 address, or a /64 of IPv6. Behind a balancer without `proxy_protocol`, all clients are one. Default: a quarter of `lookups_per_second`.",
    ),
  });

/** TLS on a listener. */
export const listenerTls = () =>
  mapping({
    engine: withDefault(
      z.enum(["auto", "native", "node"]),
      "auto",
      "What does the handshakes. `native` is faster, for one certificate and nothing else; `node` does everything; `auto` takes `native` where it is enough, and `check` says which and why.",
    ),
    certificates: required(
      z.array(certificate()).min(1),
      "The certificates. The first one is the default.",
    ),
    unknown_name: withDefault(
      z.enum(["default", "reject"]),
      "default",
      "What clients get that ask for no name, or for one that no certificate is for: the default certificate, or no connection.",
    ),
    min_version: withDefault(tlsVersion(), "1.2", "Oldest version of TLS: `1.2` or `1.3`."),
    max_version: withDefault(tlsVersion(), "1.3", "Newest version of TLS: `1.2` or `1.3`."),
    handshake_timeout: withDefault(
      duration(1),
      "10s",
      "How long a handshake may take; over it, the connection is closed.",
    ),
    watch: withDefault(
      yesNo(),
      true,
      "Whether certificates, keys and roots are read again when their files change.",
    ),
    expiry_warning: withDefault(
      duration(),
      "14d",
      "How long before a certificate expires the log warns of it, once a day.",
    ),
    strict_host: withDefault(
      yesNo(),
      true,
      "Whether a request is answered 421 whose host the certificate of its connection is not for (RFC 9110 §15.5.20).",
    ),
    client_auth: optional(clientAuth(), "Client certificates. Default: clients are not asked."),
    forward_client_cert: withDefault(
      z.enum(["off", "leaf", "chain"]),
      "off",
      "Whether upstreams are told the client's certificate: in `Client-Cert`, with `chain` those above it in `Client-Cert-Chain` (RFC 9440). What clients send under these names is removed in any case.",
    ),
    certificate_hook: withDefault(
      certificateHook(),
      {},
      "How plugins with the hook `certificate` are asked for names that no certificate here is for.",
    ),
  });

/** The PROXY protocol on a listener. */
export const proxyProtocol = () =>
  mapping({
    trusted: withDefault(
      z.array(cidr()),
      [],
      "Networks of proxies that send a PROXY header, version 1 or 2, before anything else. Whoever connects to a unix socket is trusted.",
    ),
    required: withDefault(
      yesNo(),
      false,
      "Whether connections from elsewhere, and those without a header, are closed.",
    ),
    timeout: withDefault(
      duration(1),
      "5s",
      "How long a trusted proxy may take to send its header; over it, the connection is closed.",
    ),
  });

/** Who owns a unix socket. */
export const unixOwner = () =>
  leaf(
    'user and group as numbers, such as "1000:1000"',
    { type: "string", pattern: "^\\d+:\\d+$" },
    (value) => {
      if (typeof value === "number") {
        return new Refusal("the group is missing", `write "${value}:${value}"`);
      }
      const match = typeof value === "string" ? /^(\d{1,10}):(\d{1,10})$/.exec(value) : null;
      if (match === null) return new Refusal("", "", typeof value !== "string");
      return { user: Number(match[1]), group: Number(match[2]) };
    },
  );
