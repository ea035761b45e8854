/**
 * Certificates that clients show: what is told of them, and whether they are good by today's roots.
 *
 * @module
 */
import { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { certificateNames, extendedKeyUsage } from "./certificate_names.ts";
import type { ClientCertificate } from "./socket.ts";

/** Most certificates from a client's to its root. */
const MAX_DEPTH = 10;

/** What clients must show, and by whom it must be signed. */
export interface ClientAuth {
  readonly mode: ClientAuthMode;
  /** Roots as PEM. */
  readonly ca: string;
}

/** `optional`: a client may show none, but not a bad one. */
export type ClientAuthMode = "none" | "optional" | "required";

/** The chain that a client has shown, its own certificate first; empty if it has shown none. */
export function shownChain(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  const seen = new Set<unknown>();
  let link = socket.getPeerCertificate(true) as
    | { raw?: Uint8Array; issuerCertificate?: unknown }
    | null;
  while (
    link !== null && link !== undefined && link.raw !== undefined && !seen.has(link) &&
    chain.length < MAX_DEPTH
  ) {
    seen.add(link);
    chain.push(new X509Certificate(link.raw));
    link = link.issuerCertificate as typeof link;
  }
  return chain;
}

/** What is told of a certificate that was accepted. */
export function clientFacts(certificate: X509Certificate): ClientCertificate {
  return {
    ...certificateNames(certificate.raw),
    serialNumber: certificate.serialNumber.toLowerCase(),
    fingerprint: certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
    notBefore: Date.parse(certificate.validFrom),
    notAfter: Date.parse(certificate.validTo),
    verified: true,
  };
}

/** Certificates that are remembered as {@linkcode AcceptedCertificates}; beyond, the oldest is forgotten. */
const MAX_ACCEPTED = 50_000;

/**
 * The certificates that have passed the runtime's full check in a handshake of this thread.
 *
 * A handshake goes on with a certificate that the check has found to be bad, and gives out tickets, before we can
 * refuse it. A session that is taken up again is not checked once more; so it counts only for a certificate that has
 * passed before.
 */
export class AcceptedCertificates {
  readonly #fingerprints = new Set<string>();

  add({ fingerprint256 }: X509Certificate): void {
    this.#fingerprints.delete(fingerprint256);
    this.#fingerprints.add(fingerprint256);
    if (this.#fingerprints.size <= MAX_ACCEPTED) return;
    for (const oldest of this.#fingerprints) {
      this.#fingerprints.delete(oldest);
      return;
    }
  }

  has({ fingerprint256 }: X509Certificate): boolean {
    return this.#fingerprints.has(fingerprint256);
  }
}

/**
 * Checks a chain again by today's roots and today's time: a session that is taken up again brings the certificate of
 * back then. What does not change with time, such as what a certificate is for, was checked back then.
 *
 * @param roots Today's.
 * @param now Milliseconds since 1970.
 * @returns Why the chain is not good, or `null`.
 */
export function chainProblem(
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  now: number,
): string | null {
  const [leaf] = chain;
  if (leaf === undefined) return "there is no certificate";
  let below = leaf;
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    const time = timeProblem(below, now);
    if (time !== null) return time;
    // A root may be a client's very own certificate.
    if (roots.some((root) => root.fingerprint256 === below.fingerprint256)) return null;
    const root = roots.find((one) => signed(below, one));
    if (root !== undefined) return timeProblem(root, now);
    const above = chain.find((one) => one !== below && one.ca && signed(below, one));
    if (above === undefined) {
      return `it was not issued by a trusted root: ${
        issuerText(below)
      } is neither trusted nor shown beside it`;
    }
    below = above;
  }
  return `its chain is longer than ${MAX_DEPTH}`;
}

const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const ANY_USAGE = "2.5.29.37.0";

/**
 * Why the runtime has not accepted a chain, which has one word for all that can be wrong with it.
 *
 * @param chain Not empty.
 * @param code That word.
 */
export function whyNotAccepted(
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  now: number,
  code: string,
): string {
  const problem = chainProblem(chain, roots, now);
  if (problem !== null) return problem;
  const usage = extendedKeyUsage(chain[0]!.raw);
  return usage === null || usage.includes(CLIENT_AUTH) || usage.includes(ANY_USAGE)
    ? code
    : "it is not for clients (its extended key usage has no clientAuth)";
}

/** Longest name of an issuer that is told, in characters: it may have been made by whoever wants in. */
const MOST_ISSUER = 200;

function issuerText({ raw }: X509Certificate): string {
  const { issuer } = certificateNames(raw);
  return issuer.length > MOST_ISSUER ? `${issuer.slice(0, MOST_ISSUER)}…` : issuer;
}

function signed(below: X509Certificate, above: X509Certificate): boolean {
  try {
    return below.checkIssued(above) && below.verify(above.publicKey);
  } catch {
    // A key of a kind that cannot verify: then it has not signed.
    return false;
  }
}

function timeProblem({ validFrom, validTo }: X509Certificate, now: number): string | null {
  if (now < Date.parse(validFrom)) return "it is not valid yet";
  return now > Date.parse(validTo) ? "it has expired" : null;
}
