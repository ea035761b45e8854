/**
 * Opens a TLS connection to an upstream, over TCP or a unix socket.
 *
 * It runs on node:tls: Deno's own TLS has no client certificate after the fact, no choice of verification per
 * connection, and cannot really close a connection whose handshake hangs.
 *
 * @module
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { isIP, type Socket as NetSocket } from "node:net";
import {
  checkServerIdentity,
  connect as tlsConnect,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  type TLSSocket,
} from "node:tls";
import { ProxyError } from "../base/error.ts";
import { type Address, formatAddress } from "./address.ts";
import { attempt } from "./attempt.ts";
import { dialNode, type DialOptions, eachAddress, nodeFacts } from "./dial.ts";
import { errorCode, reason } from "./io_error.ts";
import { NodeSocket } from "./node_socket.ts";
import type { ConnectionTls, Socket } from "./socket.ts";

/** Whom to expect, and whom to be. */
export interface TlsDialIdentity {
  /** Name to ask for and to check; empty: the host of the address is what is checked, and no name is asked for. */
  readonly serverName: string;
  /** Another name that the certificate may bear instead. */
  readonly alternativeName: string | null;
  /** Whether the chain must lead to a trusted root. */
  readonly verify: boolean;
  /** Whether the certificate must bear the name; needs `verify`. */
  readonly verifyHostname: boolean;
  /** Trusted roots as PEM; `null` for those of the runtime. */
  readonly ca: string | null;
  /** Our certificate chain and key as PEM. */
  readonly clientCertificate: { readonly cert: string; readonly key: string } | null;
  /** Lowest version to agree to. Default: TLS 1.2, which is also the lowest there is. */
  readonly minVersion?: TlsVersion;
  /** Highest version to agree to. Default: TLS 1.3. */
  readonly maxVersion?: TlsVersion;
}

/** Versions of TLS that there are here; older ones are broken. */
export type TlsVersion = "TLSv1.2" | "TLSv1.3";

/** How to connect. */
export interface TlsDialOptions extends Omit<DialOptions, "engine"> {
  /** Milliseconds for the handshake alone. */
  readonly tlsTimeout: number;
  /** Protocols to offer by ALPN, best first. Default: `http/1.1`. */
  readonly alpn?: readonly string[] | undefined;
}

/** How to do a handshake on a connection that is there. */
export type HandshakeOptions = Pick<TlsDialOptions, "tlsTimeout" | "alpn" | "signal" | "times">;

/** Contexts are costly to make, and a peer's identity is one object for as long as the peer lives. */
const contexts = new WeakMap<TlsDialIdentity, SecureContext>();

/**
 * Connects and does the handshake.
 *
 * @throws {ProxyError} What `dial` throws; `invalid_cert` if the chain, the name or the time of the certificate is
 * not accepted, `tls_handshake_failure`, `tls_handshake_timeout`; `config_error` if our own certificate is no good.
 */
export async function tlsDial(
  address: Address,
  identity: TlsDialIdentity,
  options: TlsDialOptions,
): Promise<Socket> {
  return await startTls(await dialRaw(address, options), address, identity, options);
}

/** Connects by node's sockets, to a host with several addresses as `dial` does. */
export async function dialRaw(address: Address, options: DialOptions): Promise<NetSocket> {
  if (address.kind === "tcp") {
    return await eachAddress(
      address,
      options,
      (to, timeout, signal) => dialNode(to, { ...options, timeout, signal }),
      (raw) => {
        raw.on("error", () => {});
        raw.destroy();
      },
    );
  }
  const start = performance.now();
  const raw = await dialNode(address, options);
  if (options.times !== undefined) options.times.connect = performance.now() - start;
  return raw;
}

/**
 * Does the handshake on a connection, which is closed if that fails.
 *
 * @param address Whom the connection leads to.
 * @throws {ProxyError} As {@linkcode tlsDial} does.
 */
export async function startTls(
  raw: NetSocket,
  address: Address,
  identity: TlsDialIdentity,
  options: HandshakeOptions,
): Promise<Socket> {
  const start = performance.now();
  const socket = await handshake(raw, address, identity, options);
  if (options.times !== undefined) options.times.tls = performance.now() - start;
  return socket;
}

function handshake(
  raw: NetSocket,
  address: Address,
  identity: TlsDialIdentity,
  options: HandshakeOptions,
): Promise<Socket> {
  const context = `TLS handshake with ${formatAddress(address)}`;
  const drop = () => {
    raw.on("error", () => {});
    raw.destroy();
  };
  if (options.signal?.aborted) drop();
  return attempt<Socket>({
    timeout: options.tlsTimeout,
    timeoutType: "tls_handshake_timeout",
    context,
    signal: options.signal,
  }, (end) => {
    const names = acceptedNames(identity, address);
    let secure: TLSSocket | undefined;
    const giveUp = () => {
      secure?.on("error", () => {});
      secure?.destroy();
      drop();
    };
    const refuse = (error: unknown) => {
      giveUp();
      end.reject(handshakeError(error, context));
    };
    try {
      if (identity.verify && identity.verifyHostname && names.length === 0) {
        throw certificateError(context, "there is no name to check it against");
      }
      secure = tlsConnect({
        socket: raw,
        secureContext: contextFor(identity, context),
        ...(isName(identity.serverName) ? { servername: identity.serverName } : {}),
        ALPNProtocols: [...options.alpn ?? ["http/1.1"]],
        rejectUnauthorized: identity.verify,
        checkServerIdentity: (_host, certificate) =>
          identity.verifyHostname ? checkNames(names, certificate, context) : undefined,
      });
    } catch (error) {
      refuse(error);
      return giveUp;
    }
    const established = secure;
    const onClose = () => refuse(new Error("the other side has closed the connection"));
    established.once("error", refuse);
    established.once("end", onClose);
    established.once("close", onClose);
    established.once("secureConnect", () => {
      // Verification must not hang on one option of a library being honoured.
      if (identity.verify && !established.authorized) {
        return refuse(certificateError(context, String(established.authorizationError)));
      }
      established.off("error", refuse);
      established.off("end", onClose);
      established.off("close", onClose);
      const ends = nodeFacts(raw, address.kind === "unix" ? address.path : "");
      end.resolve(
        new NodeSocket(established, { ...ends, tls: factsOf(established, identity.serverName) }),
      );
    });
    return giveUp;
  });
}

/** An IP address is no name to ask for (RFC 6066 §3), only one to check. */
function isName(serverName: string): boolean {
  return serverName !== "" && isIP(serverName) === 0;
}

function acceptedNames(identity: TlsDialIdentity, address: Address): string[] {
  const name = identity.serverName || (address.kind === "tcp" ? address.host : "");
  return [name, identity.alternativeName ?? ""].filter((one) => one !== "");
}

function checkNames(
  names: readonly string[],
  certificate: PeerCertificate,
  context: string,
): Error | undefined {
  let failure: Error | undefined;
  for (const name of names) {
    const error = checkServerIdentity(name, certificate);
    if (error === undefined) return undefined;
    failure ??= error;
  }
  return certificateError(context, reason(failure), failure);
}

function contextFor(identity: TlsDialIdentity, context: string): SecureContext {
  let made = contexts.get(identity);
  if (made === undefined) {
    checkOwnCertificate(identity, context);
    const { minVersion = "TLSv1.2", maxVersion = "TLSv1.3" } = identity;
    if (minVersion > maxVersion) {
      throw new ProxyError(
        "config_error",
        `${context}: the lowest version, ${minVersion}, is over the highest, ${maxVersion}`,
        { source: "internal" },
      );
    }
    made = createSecureContext({
      // Beside a context of our own, `connect` takes no notice of versions.
      minVersion,
      maxVersion,
      ...(identity.ca === null ? {} : { ca: identity.ca }),
      ...(identity.clientCertificate === null ? {} : {
        cert: identity.clientCertificate.cert,
        key: identity.clientCertificate.key,
      }),
    });
    contexts.set(identity, made);
  }
  return made;
}

/** The runtime would go without a certificate that it cannot use, and only the other side would notice. */
function checkOwnCertificate({ clientCertificate }: TlsDialIdentity, context: string): void {
  if (clientCertificate === null) return;
  let why = "the key belongs to another certificate";
  try {
    const certificate = new X509Certificate(clientCertificate.cert);
    if (certificate.checkPrivateKey(createPrivateKey(clientCertificate.key))) return;
  } catch (error) {
    why = reason(error);
  }
  throw new ProxyError("config_error", `${context}: our certificate cannot be used: ${why}`, {
    source: "internal",
  });
}

function factsOf(socket: TLSSocket, serverName: string): ConnectionTls {
  const cipher = socket.getCipher();
  return {
    version: socket.getProtocol() ?? "",
    cipher: cipher?.standardName ?? cipher?.name ?? "",
    serverName: isName(serverName) ? serverName : "",
    alpn: socket.alpnProtocol || "",
    resumed: socket.isSessionReused(),
    certificate: null,
    ownNames: null,
    clientChain: [],
  };
}

/** OpenSSL's names for a chain that cannot be trusted; handshake failures are `ERR_SSL_…`, broken sockets errnos. */
const CERTIFICATE_CODE =
  /^(?:CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_|HOSTNAME_MISMATCH|ERR_TLS_CERT_)/;

function handshakeError(error: unknown, context: string): ProxyError {
  if (error instanceof ProxyError) return error;
  if (CERTIFICATE_CODE.test(errorCode(error))) {
    return certificateError(context, reason(error), error);
  }
  return new ProxyError("tls_handshake_failure", `${context}: ${reason(error)}`, {
    source: "upstream",
    retry: true,
    cause: error,
  });
}

function certificateError(context: string, why: string, cause?: unknown): ProxyError {
  return new ProxyError("invalid_cert", `${context}: the certificate is not accepted: ${why}`, {
    source: "upstream",
    retry: true,
    ...(cause === undefined ? {} : { cause }),
  });
}
