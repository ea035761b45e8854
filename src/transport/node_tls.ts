/**
 * TLS on an accepted connection, by node:tls: many certificates, client certificates, versions, and a close that closes.
 *
 * It is about twice the work of the runtime's own TLS, which can do none of that.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { X509Certificate } from "node:crypto";
import type { Duplex } from "node:stream";
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls";
import { ProxyError } from "../base/error.ts";
import { plainHost } from "../base/host_pattern.ts";
import { formatAddress } from "./address.ts";
import type { SocketFacts } from "./base_socket.ts";
import type { ServerCertificate } from "./certificate.ts";
import {
  AcceptedCertificates,
  chainProblem,
  clientFacts,
  shownChain,
  whyNotAccepted,
} from "./client_certificate.ts";
import { errorCode, reason } from "./io_error.ts";
import { adoptConnection } from "./node_connection.ts";
import { carrier, NodeSocket } from "./node_socket.ts";
import type { ConnectionTls, Socket } from "./socket.ts";
import type { Demand, TlsServer } from "./tls_server.ts";

/** What an accepted connection brings. */
export interface Accepted {
  readonly connection: Deno.Conn<Deno.Addr>;
  readonly facts: Omit<SocketFacts, "tls">;
  /** What was read from it already. */
  readonly early: Uint8Array;
}

/** What cannot be told from the public interface of a TLS socket; checked for where it is used. */
interface Internals {
  readonly _handle?: { readonly verifyError?: () => string | undefined } | null;
  readonly servername?: string | false | null;
}

/**
 * Does the handshake, as the server.
 *
 * @throws {ProxyError} `tls_handshake_failure`, `tls_handshake_timeout` or `invalid_cert`, source `downstream`. The
 * connection is closed then.
 */
export function acceptNodeTls(accepted: Accepted, server: TlsServer): Promise<Socket> {
  const { connection, facts, early } = accepted;
  const { options } = server;
  const context = `TLS handshake of ${formatAddress(facts.remote)}`;
  return new Promise((resolve, reject) => {
    const shut = () => {
      try {
        connection.close();
      } catch {
        // The runtime has closed it already.
      }
    };
    let shown: ServerCertificate = server.store.first;
    let demand: Demand | null = null;
    let raw: Duplex;
    let secure: TLSSocket | null = null;
    let over = false;
    const refuse = (error: unknown) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      secure?.destroy();
      raw.destroy();
      shut();
      reject(handshakeError(error, context));
    };
    const timer = setTimeout(() => {
      refuse(
        new ProxyError(
          "tls_handshake_timeout",
          `${context}: not done within ${options.handshakeTimeout} ms`,
          { source: "downstream" },
        ),
      );
    }, options.handshakeTimeout);
    const choose = (name: string, done: (error: Error | null, context?: SecureContext) => void) => {
      const host = plainHost(name);
      const show = (found: ServerCertificate | null) => {
        if (over) return;
        if (found === null) return done(new Error(`no certificate for ${JSON.stringify(name)}`));
        try {
          shown = found;
          demand = server.demandFor(host);
          done(null, contextOf(server, found, demand));
        } catch (error) {
          refuse(error);
        }
      };
      const own = host === "" ? null : server.store.find(host);
      if (own !== null || host === "" || !options.find) return show(own ?? fallback(server));
      // Until it is known which certificate to show, all that the client sends would gather in memory.
      const source = carrier(secure!);
      source?.readStop();
      const { remote } = facts;
      options.find(host, remote.kind === "tcp" ? remote.host : null).then((found) => {
        if (!over) source?.readStart();
        show(found ?? fallback(server));
      }, refuse);
    };
    try {
      raw = adoptConnection(connection);
      // Both outlive the handshake: whoever breaks later has to be heard, and says so to the socket above.
      raw.on("error", () => {});
      if (early.length > 0) raw.unshift(Buffer.from(early));
      secure = new TLSSocket(raw, {
        isServer: true,
        secureContext: contextOf(server, shown, server.demandFor("")),
        requestCert: server.asks,
        rejectUnauthorized: server.demandsAlways,
        ALPNProtocols: [...options.alpn],
        SNICallback: choose,
      });
    } catch (error) {
      raw ??= { destroy() {} } as Duplex;
      refuse(error);
      return;
    }
    const established = secure;
    const onClose = () => refuse(new Error("the client has closed the connection"));
    established.on("error", refuse);
    established.once("close", onClose);
    established.once("secure", () => {
      if (over) return;
      let tls: ConnectionTls;
      try {
        const name = plainHost((established as unknown as Internals).servername || "");
        const asked = server.demandFor(name);
        // The handshake was long, and asked for what does not count any more.
        if (demand !== null && (demand.mode !== asked.mode || demand.ca !== asked.ca)) {
          throw new Error("clients are asked for something else since it began");
        }
        // Where nothing is asked for by this name, what the client shows all the same has been checked by nobody.
        const chain = asked.mode === "none" ? [] : shownChain(established);
        const problem = clientProblem(established, chain, asked);
        if (problem !== null) {
          throw new ProxyError("invalid_cert", `${context}: ${problem}`, { source: "downstream" });
        }
        tls = factsOf(established, name, chain, shown);
      } catch (error) {
        // Called by native code: whatever is thrown from here would be nobody's. A certificate may be unreadable.
        return refuse(error);
      }
      over = true;
      clearTimeout(timer);
      established.off("error", refuse);
      established.off("close", onClose);
      resolve(
        new NodeSocket(established, {
          ...facts,
          tls,
          onReleased: () => {
            shut();
            facts.onReleased?.();
          },
        }),
      );
    });
  });
}

/** What clients get that no certificate is for. */
function fallback({ store, options }: TlsServer): ServerCertificate | null {
  return options.unknownName === "reject" ? null : store.first;
}

/** Contexts are costly to make. One for each certificate and each set of roots that is asked for beside it. */
const contexts = new WeakMap<ServerCertificate, Map<string, SecureContext>>();

function contextOf(server: TlsServer, shown: ServerCertificate, { ca }: Demand): SecureContext {
  const { minVersion, maxVersion } = server.options;
  const key = `${minVersion} ${maxVersion} ${ca}`;
  let made = contexts.get(shown);
  if (made === undefined) contexts.set(shown, made = new Map());
  let context = made.get(key);
  if (context === undefined) {
    // What is kept here for roots that are not asked for any more goes with the certificate.
    if (made.size >= 16) made.clear();
    context = createSecureContext({
      cert: shown.cert,
      key: shown.key,
      minVersion,
      maxVersion,
      ...(ca === "" ? {} : { ca }),
    });
    made.set(key, context);
  }
  return context;
}

const accepted = new AcceptedCertificates();

/** What the runtime says of a client that has shown no certificate where every client must. */
const NO_CERTIFICATE = "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE";
const NONE_SHOWN = "the client has shown no certificate";

/**
 * Why a client cannot be let in for its certificate, or for the lack of one.
 *
 * The runtime takes up sessions of other listeners, and goes on with certificates that it has found to be bad: nothing
 * but what is checked here keeps anybody out.
 */
function clientProblem(
  socket: TLSSocket,
  chain: readonly X509Certificate[],
  { mode, roots }: Demand,
): string | null {
  if (mode === "none") return null;
  if (chain.length === 0) {
    return mode === "required" ? NONE_SHOWN : null;
  }
  const problem = chainProblemOf(socket, chain, roots);
  return problem === null ? null : `the client's certificate is not accepted: ${problem}`;
}

function chainProblemOf(
  socket: TLSSocket,
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
): string | null {
  if (socket.isSessionReused()) {
    return accepted.has(chain[0]!)
      ? chainProblem(chain, roots, Date.now())
      : "its session was not accepted here";
  }
  const handle = (socket as unknown as Internals)._handle;
  const error = typeof handle?.verifyError === "function" ? handle.verifyError() : "UNKNOWN";
  if (error) return whyNotAccepted(chain, roots, Date.now(), error);
  accepted.add(chain[0]!);
  return null;
}

function factsOf(
  socket: TLSSocket,
  serverName: string,
  chain: readonly X509Certificate[],
  shown: ServerCertificate,
): ConnectionTls {
  const cipher = socket.getCipher();
  return {
    version: socket.getProtocol() ?? "",
    cipher: cipher?.standardName ?? cipher?.name ?? "",
    serverName,
    alpn: socket.alpnProtocol || "",
    resumed: socket.isSessionReused(),
    certificate: chain.length === 0 ? null : clientFacts(chain[0]!),
    ownNames: shown.names,
    clientChain: chain.map(({ raw }) => raw),
  };
}

function handshakeError(error: unknown, context: string): ProxyError {
  if (error instanceof ProxyError) return error;
  const code = errorCode(error);
  if (code === NO_CERTIFICATE) {
    return new ProxyError("invalid_cert", `${context}: ${NONE_SHOWN}`, {
      source: "downstream",
      cause: error,
    });
  }
  return new ProxyError(
    "tls_handshake_failure",
    `${context}: ${reason(error)}${code === "" ? "" : ` (${code})`}`,
    { source: "downstream", cause: error },
  );
}
