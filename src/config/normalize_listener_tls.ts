/**
 * From `listeners[].tls` and `proxy_protocol` to what the program runs by.
 *
 * @module
 */
import { isPem } from "../transport/certificate.ts";
import type { FileData } from "./schema.ts";
import type {
  HostAuthConfig,
  ListenerTlsConfig,
  PemSource,
  ProxyProtocolConfig,
} from "./types_listeners.ts";

type ListenerData = FileData["listeners"][number];

interface Context {
  readonly resolve: (path: string) => string;
  readonly file: (path: string) => string;
}

/** What is agreed to by ALPN (RFC 7301), best first, for what a listener speaks. The one place that says so. */
export function alpnProtocols(protocols: readonly string[]): readonly string[] {
  const found: string[] = [];
  if (protocols.includes("h2")) found.push("h2");
  if (protocols.includes("h1")) found.push("http/1.1");
  return found;
}

export function normalizeListenerTls(
  { tls, protocols }: ListenerData,
  context: Context,
): ListenerTlsConfig | null {
  if (tls === undefined) return null;
  const pem = (value: string): PemSource =>
    isPem(value)
      ? { file: null, pem: value }
      : { file: context.resolve(value), pem: context.file(value) };
  const { client_auth: auth, certificate_hook: hook } = tls;
  const roots = auth?.ca === undefined ? null : pem(auth.ca);
  return {
    engine: tls.engine,
    certificates: tls.certificates.map(({ cert, key, names }) => ({
      cert: pem(cert),
      key: pem(key),
      names: names ?? null,
    })),
    unknownName: tls.unknown_name,
    minVersion: `TLSv${tls.min_version}`,
    maxVersion: `TLSv${tls.max_version}`,
    alpn: alpnProtocols(protocols),
    handshakeTimeout: tls.handshake_timeout,
    watch: tls.watch,
    expiryWarning: tls.expiry_warning,
    strictHost: tls.strict_host,
    clientAuth: auth === undefined ? null : { mode: auth.mode, ca: roots },
    hostAuth: (auth?.hosts ?? []).map(({ host, mode, ca }): HostAuthConfig => ({
      host,
      mode,
      ca: ca === undefined ? roots : pem(ca),
    })),
    forwardClientCert: tls.forward_client_cert,
    certificateHook: {
      timeout: hook.timeout,
      ttl: hook.ttl,
      negativeTtl: hook.negative_ttl,
      maxNames: hook.max_names,
      lookupsPerSecond: hook.lookups_per_second,
      lookupsPerClient: hook.lookups_per_client ?? hook.lookups_per_second / CLIENTS_AT_LEAST,
    },
  };
}

/** So many clients at least share what plugins are asked for. */
const CLIENTS_AT_LEAST = 4;

export function normalizeProxyProtocol(
  { proxy_protocol: data }: ListenerData,
): ProxyProtocolConfig | null {
  return data === undefined
    ? null
    : { trusted: data.trusted, required: data.required, timeout: data.timeout };
}
