/**
 * The TLS side of a listener under test.
 *
 * @module
 */
import { prepare } from "../../src/transport/certificate.ts";
import {
  type TlsCredentials,
  TlsServer,
  type TlsServerOptions,
} from "../../src/transport/tls_server.ts";
import type { TestCertificate } from "./certs.ts";

/** Makes one that shows `certificates`, the first one to whoever asks for nothing known. */
export function tlsServer(
  certificates: readonly TestCertificate[],
  options: Partial<TlsServerOptions> = {},
  auth: Partial<Pick<TlsCredentials, "clientAuth" | "hostAuth">> = {},
): TlsServer {
  return new TlsServer({
    unknownName: "default",
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.3",
    alpn: ["http/1.1"],
    handshakeTimeout: 5_000,
    ...options,
  }, credentials(certificates, auth));
}

/** What such a server shows and asks for. */
export function credentials(
  certificates: readonly TestCertificate[],
  auth: Partial<Pick<TlsCredentials, "clientAuth" | "hostAuth">> = {},
): TlsCredentials {
  return {
    certificates: certificates.map((one) => prepare({ ...one, names: null })),
    clientAuth: null,
    hostAuth: [],
    ...auth,
  };
}
