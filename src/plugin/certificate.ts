/**
 * What plugins that supply certificates are asked, and what they answer.
 *
 * @module
 */

/** A client wants to be shown the certificate of a name that the config has none for. */
export interface CertificateRequest {
  /** The name that the client asked for (SNI), lower case. */
  readonly serverName: string;
  /** Name of the listener. */
  readonly listener: string;
}

/** A certificate and its key. */
export interface CertificateAnswer {
  /** The certificate, which must bear the name, and those between it and its root, as PEM. */
  readonly cert: string;
  /** Its private key as PEM, without a passphrase. */
  readonly key: string;
}
