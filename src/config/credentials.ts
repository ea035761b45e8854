/**
 * What the files of a listener's TLS hold, in the shape that it is taken in and replaced.
 *
 * @module
 */
import type { CertificatePair } from "../transport/certificate.ts";
import type { ClientAuth } from "../transport/client_certificate.ts";
import type { HostAuth } from "../transport/tls_server.ts";
import type { Config } from "./types.ts";
import type { HostAuthConfig, ListenerTlsConfig } from "./types_listeners.ts";

/** Certificates and roots of a listener. Plain data. */
export interface ListenerCredentials {
  readonly certificates: readonly CertificatePair[];
  readonly clientAuth: ClientAuth | null;
  readonly hostAuth: readonly HostAuth[];
}

/** Takes them from a config. */
export function credentialsOf(
  { certificates, clientAuth, hostAuth }: ListenerTlsConfig,
): ListenerCredentials {
  return {
    certificates: certificates.map(({ cert, key, names }) => ({
      cert: cert.pem,
      key: key.pem,
      names,
    })),
    clientAuth: clientAuth && auth(clientAuth),
    hostAuth: hostAuth.map((one) => ({ host: one.host, ...auth(one) })),
  };
}

/** Takes those of all listeners from a config, by listener. */
export function credentialsIn(
  { listeners }: Config,
): Readonly<Record<string, ListenerCredentials>> {
  return Object.fromEntries(
    listeners.flatMap(({ name, tls }) => tls === null ? [] : [[name, credentialsOf(tls)]]),
  );
}

function auth({ mode, ca }: Omit<HostAuthConfig, "host">): ClientAuth {
  return { mode, ca: ca?.pem ?? "" };
}
