/**
 * What a TLS listener shows and asks for, whichever engine does the handshakes. All of it can be replaced while the
 * listener runs.
 *
 * @module
 */
import type { X509Certificate } from "node:crypto";
import { coversHost } from "../base/host_pattern.ts";
import { same } from "../base/same.ts";
import { CertificateStore, readCertificates, type ServerCertificate } from "./certificate.ts";
import type { ClientAuth, ClientAuthMode } from "./client_certificate.ts";
import type { TlsVersion } from "./tls_dial.ts";

/** What may change: files are written anew. */
export interface TlsCredentials {
  readonly certificates: readonly ServerCertificate[];
  /** `null`: no client is asked for a certificate. */
  readonly clientAuth: ClientAuth | null;
  /** Names with rules of their own for client certificates. */
  readonly hostAuth: readonly HostAuth[];
}

/** Client certificates for one name, or by a wildcard for one level of names. */
export interface HostAuth extends ClientAuth {
  readonly host: string;
}

/** What does not change. */
export interface TlsServerOptions {
  /** What clients get that ask for a name which no certificate is for. */
  readonly unknownName: "default" | "reject";
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** Protocols to agree to, best first. */
  readonly alpn: readonly string[];
  /** Milliseconds from the accepted connection to the end of its handshake. */
  readonly handshakeTimeout: number;
  /** Finds a certificate that is not among those of the listener; default: nobody is asked. */
  readonly find?: CertificateFinder | null;
}

/**
 * Finds the certificate for a plain name, which the client of an address wants (`null`: it has none); `null`: there is
 * none. If it rejects, the handshake fails.
 */
export type CertificateFinder = (
  host: string,
  client: string | null,
) => Promise<ServerCertificate | null>;

/** What a client is asked for. */
export interface Demand {
  readonly mode: ClientAuthMode;
  /** Roots as PEM. */
  readonly ca: string;
  readonly roots: readonly X509Certificate[];
}

const NOTHING_ASKED: Demand = { mode: "none", ca: "", roots: [] };

/** The TLS side of a listener. */
export class TlsServer {
  readonly options: TlsServerOptions;
  /** Called when the credentials are others. */
  onReplaced: (() => void) | null = null;
  #store!: CertificateStore;
  #demand!: Demand;
  #hosts!: readonly { readonly host: string; readonly demand: Demand }[];
  #asked!: Pick<TlsCredentials, "clientAuth" | "hostAuth">;

  /** @throws {CertificateError} If the roots for clients cannot be read. */
  constructor(options: TlsServerOptions, credentials: TlsCredentials) {
    this.options = options;
    this.#take(credentials);
  }

  get store(): CertificateStore {
    return this.#store;
  }

  /** Whether clients are asked for a certificate: it is asked before the name is known to matter. */
  get asks(): boolean {
    return this.#demand.mode !== "none" || this.#hosts.some(({ demand }) => demand.mode !== "none");
  }

  /** Whether a handshake without a certificate fails, whatever the name. */
  get demandsAlways(): boolean {
    return this.#demand.mode === "required" &&
      this.#hosts.every(({ demand }) => demand.mode === "required");
  }

  /**
   * Shows and asks for something else from now on. Connections that are there stay as they are.
   *
   * @returns Whether clients are asked for something else, so that those let in before may not be let in again.
   * @throws {CertificateError} If the roots for clients cannot be read. Nothing has changed then.
   */
  replace(credentials: TlsCredentials): boolean {
    const { clientAuth, hostAuth } = this.#asked;
    this.#take(credentials);
    this.onReplaced?.();
    return !same({ clientAuth, hostAuth }, this.#asked);
  }

  /** What clients that ask for a plain name must show. */
  demandFor(host: string): Demand {
    for (const one of this.#hosts) if (coversHost([one.host], host)) return one.demand;
    return this.#demand;
  }

  #take({ certificates, clientAuth, hostAuth }: TlsCredentials): void {
    const demand = clientAuth === null ? NOTHING_ASKED : demandOf(clientAuth);
    const hosts = hostAuth.map((one) => ({ host: one.host, demand: demandOf(one) }));
    this.#store = new CertificateStore(certificates);
    this.#demand = demand;
    this.#hosts = hosts;
    this.#asked = { clientAuth, hostAuth };
  }
}

function demandOf({ mode, ca }: ClientAuth): Demand {
  return { mode, ca, roots: mode === "none" ? [] : readCertificates(ca) };
}
