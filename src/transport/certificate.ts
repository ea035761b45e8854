/**
 * Certificates of a server: whether a pair of certificate and key is good, what names it is for, and which pair a name
 * gets.
 *
 * @module
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { plainHost, wildcardOf } from "../base/host_pattern.ts";
import { certificateNames } from "./certificate_names.ts";

/** A certificate chain and its key, as PEM. */
export interface CertificatePair {
  readonly cert: string;
  readonly key: string;
  /** Names that it is chosen for; `null`: those that stand in the certificate. */
  readonly names: readonly string[] | null;
}

/** What a certificate says of itself. */
export interface CertificateSummary {
  /** `CN=example.com`, several parts with `, ` between them. */
  readonly subject: string;
  /** DNS names and IP addresses, lower case. */
  readonly names: readonly string[];
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** SHA-256 of the certificate, as 64 hexadecimal digits. */
  readonly fingerprint: string;
}

/** A pair that cannot be used: which half of it is at fault, and why. */
export class CertificateError extends Error {
  override readonly name: string = "CertificateError";
  readonly half: "cert" | "key";

  constructor(half: "cert" | "key", message: string) {
    super(message);
    this.half = half;
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----/g;

/** Whether a text is PEM itself, rather than the path of a file. */
export function isPem(text: string): boolean {
  return text.includes("-----BEGIN ");
}

/**
 * Reads every certificate of a PEM text.
 *
 * @throws {CertificateError} If there is none, or one cannot be read.
 */
export function readCertificates(pem: string): X509Certificate[] {
  const blocks = pem.match(CERTIFICATE) ?? [];
  if (blocks.length === 0) throw new CertificateError("cert", "it holds no certificate");
  return blocks.map((block, i) => {
    try {
      return new X509Certificate(block);
    } catch {
      const which = blocks.length === 1 ? "the certificate" : `certificate ${i + 1}`;
      throw new CertificateError("cert", `${which} in it cannot be read`);
    }
  });
}

/**
 * Checks that a pair can be used, and says what is in it. Whether its time has come or gone is not checked.
 *
 * @throws {CertificateError} If it cannot.
 */
export function inspectPair(cert: string, key: string): CertificateSummary {
  const chain = readCertificates(cert);
  const [leaf, ...above] = chain;
  let privateKey;
  try {
    privateKey = createPrivateKey(key);
  } catch {
    throw new CertificateError(
      "key",
      /ENCRYPTED/.test(key)
        ? "the private key is encrypted: store it without a passphrase"
        : "it holds no private key that can be read",
    );
  }
  if (!leaf!.checkPrivateKey(privateKey)) {
    throw new CertificateError("key", "the private key belongs to another certificate");
  }
  let below = leaf!;
  for (const one of above) {
    if (!below.checkIssued(one)) {
      throw new CertificateError(
        "cert",
        `the chain is not in order: ${subjectOf(below)} was not issued by ${subjectOf(one)}`,
      );
    }
    below = one;
  }
  return summarize(leaf!);
}

function subjectOf({ raw }: X509Certificate): string {
  return certificateNames(raw).subject;
}

/** What stands in a certificate. */
export function summarize(certificate: X509Certificate): CertificateSummary {
  const { subject, names } = certificateNames(certificate.raw);
  return {
    subject,
    names,
    notBefore: Date.parse(certificate.validFrom),
    notAfter: Date.parse(certificate.validTo),
    fingerprint: certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
  };
}

/** A pair that is ready to be shown. */
export interface ServerCertificate {
  readonly cert: string;
  readonly key: string;
  /** Names that it is chosen for. */
  readonly chosenFor: readonly string[];
  /** Names that it is good for: those that stand in it. */
  readonly names: readonly string[];
  readonly fingerprint: string;
}

/**
 * Makes a pair ready.
 *
 * @throws {CertificateError} If it cannot be used.
 */
export function prepare({ cert, key, names }: CertificatePair): ServerCertificate {
  const { names: own, fingerprint } = inspectPair(cert, key);
  return { cert, key, chosenFor: names?.map(plainHost) ?? own, names: own, fingerprint };
}

/** The certificates of a listener, by the names that clients ask for. */
export class CertificateStore {
  /** For clients that ask for no name. */
  readonly first: ServerCertificate;
  readonly all: readonly ServerCertificate[];
  readonly #byName = new Map<string, ServerCertificate>();

  /** @param certificates At least one. The first one is the default; of several for one name, too. */
  constructor(certificates: readonly ServerCertificate[]) {
    this.all = certificates;
    this.first = certificates[0]!;
    for (const one of certificates) {
      for (const name of one.chosenFor) {
        if (!this.#byName.has(name)) this.#byName.set(name, one);
      }
    }
  }

  /** The certificate for a plain name: an exact one before a wildcard; `null` if none is for it. */
  find(host: string): ServerCertificate | null {
    return this.#byName.get(host) ?? this.#byName.get(wildcardOf(host)) ?? null;
  }
}
