/**
 * What the proxy does to a request on its way: who sent it, what the upstream is told of that, and loops.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import {
  CLIENT_CERT,
  CLIENT_CERT_CHAIN,
  EXPECT,
  FIELD_NAMES,
  FORWARDED,
  HOST,
  UNKNOWN,
  VIA,
  X_FORWARDED_FOR,
  X_FORWARDED_HOST,
  X_FORWARDED_PORT,
  X_FORWARDED_PROTO,
  X_REAL_IP,
} from "../http/field_names.ts";
import { type RequestHead, type Version, versionText } from "../http/message.ts";
import type { DownstreamSession } from "../http/session.ts";
import type { TrustedNetworks } from "../http/trusted_networks.ts";

/** How upstreams learn who the client is. */
export interface ForwardPolicy {
  /** Peers whose own word is believed. */
  readonly trusted: TrustedNetworks;
  readonly fields: "x_forwarded" | "rfc7239" | "both" | "off";
  /** How much of the client's certificate upstreams are told (RFC 9440). */
  readonly clientCert: "off" | "leaf" | "chain";
}

/** By what name Sluice goes in `Via` and `Proxy-Status`. */
export const PSEUDONYM = "sluice";

/** What we add to `Via` for each version. */
const VIA_HOPS: Readonly<Record<Version, string>> = {
  10: `${versionText(10)} ${PSEUDONYM}`,
  11: `${versionText(11)} ${PSEUDONYM}`,
  20: `${versionText(20)} ${PSEUDONYM}`,
  30: `${versionText(30)} ${PSEUDONYM}`,
};

/** `1` at the id of every field that is looked at, taken off or added to. */
const CONCERNED: Uint8Array = new Uint8Array(FIELD_NAMES.length);
for (
  const id of [
    HOST,
    VIA,
    X_FORWARDED_FOR,
    FORWARDED,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    X_FORWARDED_PORT,
    X_REAL_IP,
    CLIENT_CERT,
    CLIENT_CERT_CHAIN,
    EXPECT,
  ]
) CONCERNED[id] = 1;

/** So many times may one request pass a Sluice before it counts as going round in circles. */
const MAX_HOPS = 8;

/** What {@linkcode makeUpstreamRequest} needs to know of a request. */
interface Source {
  readonly downstream: DownstreamSession;
  readonly scheme: string;
  /** Whether a hook has read the content, so that the client was already told to send it. */
  readonly content: { readonly done: boolean };
}

/**
 * The client's address: of the connection, or if that is a trusted proxy, the last address in
 * `X-Forwarded-For` that is not one. Empty on a unix socket without such a field.
 */
export function clientAddress(downstream: DownstreamSession, policy: ForwardPolicy): string {
  const { remote } = downstream.connection;
  let address = remote.kind === "tcp" ? remote.host : "";
  if (!policy.trusted.includes(address)) return address;
  const listed = downstream.head.fields.get("x-forwarded-for")?.split(",") ?? [];
  // From right to left: only what a trusted proxy wrote can be believed.
  for (let i = listed.length - 1; i >= 0; i--) {
    const candidate = stripPort(listed[i]!.trim());
    if (candidate === null) break;
    address = candidate;
    if (!policy.trusted.includes(address)) break;
  }
  return address;
}

/**
 * Makes the request that attempts begin with: the client's, with `Via` and with our word on who sent it. What
 * an untrusted client says of that is thrown away.
 */
export function makeUpstreamRequest(source: Source, policy: ForwardPolicy): RequestHead {
  const { downstream } = source;
  const { remote } = downstream.connection;
  const request = downstream.head.fork();
  const { fields } = request;
  const socketAddress = remote.kind === "tcp" ? remote.host : "";
  const trusted = policy.trusted.includes(socketAddress);
  const authority = downstream.head.authority;
  let via = "";
  let forwardedFor = "";
  let forwarded = "";
  let proto = "";
  let host = "";
  let hasHost = false;
  for (let i = 0; i < fields.entries; i++) {
    const id = fields.idAt(i);
    // Nearly all fields are none of our business.
    if (id === UNKNOWN && fields.isLookalikeAt(i)) fields.removeAt(i);
    if (id < 0 || CONCERNED[id] !== 1) continue;
    switch (id) {
      case HOST:
        hasHost = true;
        break;
      case VIA:
        via = joined(via, fields.valueAt(i));
        fields.removeAt(i);
        break;
      case X_FORWARDED_FOR:
        if (trusted) forwardedFor = joined(forwardedFor, fields.valueAt(i));
        fields.removeAt(i);
        break;
      case FORWARDED:
        if (trusted) forwarded = joined(forwarded, fields.valueAt(i));
        fields.removeAt(i);
        break;
      case X_FORWARDED_PROTO:
        if (trusted) proto = fields.valueAt(i);
        fields.removeAt(i);
        break;
      case X_FORWARDED_HOST:
        if (trusted) host = fields.valueAt(i);
        fields.removeAt(i);
        break;
      case X_FORWARDED_PORT:
      case X_REAL_IP:
        if (!trusted) fields.removeAt(i);
        break;
      case CLIENT_CERT:
      case CLIENT_CERT_CHAIN:
        // Only the server that has checked a certificate may say so (RFC 9440 §2.4).
        fields.removeAt(i);
        break;
      case EXPECT:
        // The client has been told to go on already when its content was read here.
        if (source.content.done && downstream.bodyBytes > 0) fields.removeAt(i);
        break;
    }
  }
  if (!hasHost && authority !== "") fields.appendTrusted("Host", authority, HOST);
  if (downstream.upgrade !== "") fields.appendTrusted("Upgrade", downstream.upgrade);
  // A client of HTTP/2 asks for them by being one. A handshake need not say so: there are servers that take no more
  // than one word in Connection.
  if (downstream.acceptsTrailers && (downstream.upgrade === "" || downstream.head.version < 20)) {
    fields.appendTrusted("TE", "trailers");
  }
  const hop = VIA_HOPS[downstream.head.version];
  fields.appendTrusted("Via", joined(via, hop), VIA);
  if (policy.fields === "x_forwarded" || policy.fields === "both") {
    const chain = joined(forwardedFor, socketAddress);
    if (chain !== "") fields.appendTrusted("X-Forwarded-For", chain, X_FORWARDED_FOR);
    fields.appendTrusted("X-Forwarded-Proto", proto || source.scheme, X_FORWARDED_PROTO);
    const forwardedHost = host || authority;
    if (forwardedHost !== "") {
      fields.appendTrusted("X-Forwarded-Host", forwardedHost, X_FORWARDED_HOST);
    }
  }
  const { tls } = downstream.connection;
  if (policy.clientCert !== "off" && tls !== null && tls.clientChain.length > 0) {
    addClientCertificate(request, tls.clientChain, policy.clientCert === "chain");
  }
  if (policy.fields === "rfc7239" || policy.fields === "both") {
    const element = forwardedElement(socketAddress, source.scheme, authority);
    fields.appendTrusted("Forwarded", joined(forwarded, element), FORWARDED);
  }
  return request;
}

/**
 * Refuses a request that comes round for the ninth time.
 *
 * @throws {ProxyError} `loop_detected`.
 */
export function checkLoop(head: RequestHead): void {
  const via = head.fields.first(VIA) === null ? null : head.fields.get("via");
  if (via === null) return;
  let hops = 0;
  for (const entry of via.split(",")) {
    if (entry.trim().split(/[ \t]+/)[1] === PSEUDONYM) hops++;
  }
  if (hops < MAX_HOPS) return;
  throw new ProxyError("loop_detected", `Cannot forward: the request passed here ${hops} times`, {
    source: "internal",
  });
}

function addClientCertificate(
  { fields }: RequestHead,
  chain: readonly Uint8Array[],
  whole: boolean,
): void {
  // Byte sequences of RFC 9651 §3.3.5.
  const [leaf, ...above] = chain.map((der) => `:${der.toBase64()}:`);
  fields.appendTrusted("Client-Cert", leaf!);
  if (whole && above.length > 0) fields.appendTrusted("Client-Cert-Chain", above.join(", "));
}

function joined(list: string, item: string): string {
  return list === "" ? item : item === "" ? list : `${list}, ${item}`;
}

/** One element of `Forwarded` (RFC 7239 §4); what is not a token is quoted. */
function forwardedElement(address: string, scheme: string, authority: string): string {
  const node = address === "" ? "unknown" : address.includes(":") ? `"[${address}]"` : address;
  const host = authority === ""
    ? ""
    : /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(authority)
    ? `;host=${authority}`
    : `;host="${authority.replace(/["\\]/g, "\\$&")}"`;
  return `for=${node};proto=${scheme}${host}`;
}

/** An address without its port, or `null` if it is not an address. */
function stripPort(text: string): string | null {
  const bracketed = /^\[([0-9A-Fa-f:.]+)\](?::\d+)?$/.exec(text);
  if (bracketed !== null) return bracketed[1]!;
  if (/^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$/.test(text)) return text;
  return /^(\d{1,3}(?:\.\d{1,3}){3})(?::\d+)?$/.exec(text)?.[1] ?? null;
}
