/**
 * The configuration of what listeners speak below HTTP. Times are milliseconds.
 *
 * @module
 */
import type { ClientAuthMode } from "../transport/client_certificate.ts";
import type { TlsVersion } from "../transport/tls_dial.ts";

/** PEM, and the file that it stands in. */
export interface PemSource {
  /** Absolute path; `null` if it stood in the config itself. */
  readonly file: string | null;
  readonly pem: string;
}

/** A certificate of a listener. */
export interface CertificateSource {
  readonly cert: PemSource;
  readonly key: PemSource;
  /** Names that it is chosen for; `null`: those that stand in it. */
  readonly names: readonly string[] | null;
}

/** Client certificates for one name. */
export interface HostAuthConfig {
  readonly host: string;
  readonly mode: ClientAuthMode;
  /** `null` only with mode `none`. */
  readonly ca: PemSource | null;
}

/** How plugins are asked for certificates. */
export interface CertificateHookConfig {
  readonly timeout: number;
  readonly ttl: number;
  readonly negativeTtl: number;
  readonly maxNames: number;
  readonly lookupsPerSecond: number;
  readonly lookupsPerClient: number;
}

/** TLS on a listener. */
export interface ListenerTlsConfig {
  /** What the file says; which of the two engines that is, depends on the rights of the process, too. */
  readonly engine: "auto" | "native" | "node";
  readonly certificates: readonly CertificateSource[];
  readonly unknownName: "default" | "reject";
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** Protocols to agree to by ALPN, best first. */
  readonly alpn: readonly string[];
  readonly handshakeTimeout: number;
  /** Whether files are read again when they change. */
  readonly watch: boolean;
  readonly expiryWarning: number;
  /** Whether a host that the certificate is not for is answered 421. */
  readonly strictHost: boolean;
  readonly clientAuth: Omit<HostAuthConfig, "host"> | null;
  readonly hostAuth: readonly HostAuthConfig[];
  readonly forwardClientCert: "off" | "leaf" | "chain";
  readonly certificateHook: CertificateHookConfig;
}

/** The PROXY protocol on a listener. */
export interface ProxyProtocolConfig {
  /** Networks whose headers are believed. */
  readonly trusted: readonly string[];
  /** Whether connections without a header, or from elsewhere, are closed. */
  readonly required: boolean;
  readonly timeout: number;
}
