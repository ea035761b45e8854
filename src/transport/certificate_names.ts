/**
 * The names in a certificate and what it is for, read from its DER.
 *
 * The texts that node makes of them are no source: whatever stands in a name stands in the text as it is, so that one
 * name can look like several.
 *
 * @module
 */
import { plainHost } from "../base/host_pattern.ts";
import {
  type Element,
  elements,
  identifierText,
  inside,
  OBJECT_IDENTIFIER,
  OCTET_STRING,
  SEQUENCE,
  SET,
} from "./der.ts";

/** Names of a certificate. */
export interface CertificateNames {
  /** Whom it is for and who has signed it: `CN=client, O=Example`, special characters escaped (RFC 4514). */
  readonly subject: string;
  readonly issuer: string;
  /** DNS names and IP addresses, lower case. The common name is none of them (RFC 9525 §2). */
  readonly names: readonly string[];
}

const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;
const EXTENSIONS = 0xa3;
const VERSION = 0xa0;
const SUBJECT_ALTERNATIVE_NAME = "2.5.29.17";
const EXTENDED_KEY_USAGE = "2.5.29.37";

/** Short names of RFC 4514 §3 and those that are usual beside them. */
const SHORT_NAMES: Readonly<Record<string, string>> = {
  "2.5.4.3": "CN",
  "2.5.4.5": "serialNumber",
  "2.5.4.6": "C",
  "2.5.4.7": "L",
  "2.5.4.8": "ST",
  "2.5.4.9": "STREET",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
  "0.9.2342.19200300.100.1.1": "UID",
  "0.9.2342.19200300.100.1.25": "DC",
  "1.2.840.113549.1.9.1": "emailAddress",
};

/**
 * Reads the names of a certificate.
 *
 * @param der The certificate.
 * @throws {RangeError} If it is not one.
 */
export function certificateNames(der: Uint8Array): CertificateNames {
  const [signed] = inside(der, SEQUENCE);
  const parts = [...elements(signed!.content)];
  if (parts[0]?.tag === VERSION) parts.shift();
  // serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo (RFC 5280 §4.1).
  const [, , issuer, , subject] = parts;
  const extensions = parts.find(({ tag }) => tag === EXTENSIONS);
  return {
    subject: nameText(subject!),
    issuer: nameText(issuer!),
    names: extensions === undefined ? [] : alternativeNames(extensions),
  };
}

/**
 * What a certificate may be used for (RFC 5280 §4.2.1.12), as object identifiers; `null`: for anything.
 *
 * @param der The certificate.
 * @throws {RangeError} If it is not one.
 */
export function extendedKeyUsage(der: Uint8Array): string[] | null {
  const [signed] = inside(der, SEQUENCE);
  const extensions = [...elements(signed!.content)].find(({ tag }) => tag === EXTENSIONS);
  const usage = extensions === undefined ? null : extensionOf(extensions, EXTENDED_KEY_USAGE);
  return usage === null ? null : usage.map(({ content }) => identifierText(content));
}

function alternativeNames(extensions: Element): string[] {
  const names = extensionOf(extensions, SUBJECT_ALTERNATIVE_NAME) ?? [];
  return names.flatMap(({ tag, content }) =>
    tag === DNS_NAME
      ? [plainHost(latin1(content))]
      : tag === IP_ADDRESS
      ? [addressText(content)]
      : []
  );
}

/** What is in the sequence that an extension is; `null`: there is no such extension. */
function extensionOf(extensions: Element, wanted: string): Element[] | null {
  for (const { content } of inside(extensions.content, SEQUENCE)) {
    const [id, ...rest] = elements(content);
    if (identifierText(id!.content) !== wanted) continue;
    const value = rest.find(({ tag }) => tag === OCTET_STRING);
    return inside(value!.content, SEQUENCE);
  }
  return null;
}

function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from(
    { length: bytes.length >> 1 },
    (_, i) => (bytes[2 * i]! << 8 | bytes[2 * i + 1]!).toString(16),
  );
  // An address of another length is none, and nothing compares equal to it.
  return bytes.length === 16
    ? new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1)
    : `#${groups.join("")}`;
}

function nameText(name: Element): string {
  return [...elements(name.content)].map(({ tag, content }) => {
    if (tag !== SET) throw new RangeError("a name that is not one");
    return [...elements(content)].map(attributeText).join("+");
  }).join(", ");
}

function attributeText({ content }: Element): string {
  const [id, value] = elements(content);
  if (id?.tag !== OBJECT_IDENTIFIER || value === undefined) {
    throw new RangeError("a name that is not one");
  }
  const type = identifierText(id.content);
  return `${Object.hasOwn(SHORT_NAMES, type) ? SHORT_NAMES[type] : type}=${
    escaped(stringText(value))
  }`;
}

const UTF8_STRING = 0x0c;
const BMP_STRING = 0x1e;

function stringText({ tag, content }: Element): string {
  if (tag === UTF8_STRING) return new TextDecoder().decode(content);
  if (tag !== BMP_STRING) return latin1(content);
  let text = "";
  for (let i = 0; i + 1 < content.length; i += 2) {
    text += String.fromCharCode(content[i]! << 8 | content[i + 1]!);
  }
  return text;
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** RFC 4514 §2.4; control characters by their code. */
function escaped(text: string): string {
  return text
    .replace(/[\\",+<>;=]/g, "\\$&")
    // deno-lint-ignore no-control-regex
    .replace(/[\x00-\x1f\x7f]/g, (c) => `\\${c.charCodeAt(0).toString(16).padStart(2, "0")}`)
    .replace(/^[ #]/, "\\$&");
}
