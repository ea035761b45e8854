/**
 * What happens between an accepted connection and its first byte of HTTP: PROXY header, admission, TLS.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { type Address, formatAddress } from "./address.ts";
import type { ConnectionGate } from "./connection_gate.ts";
import { addressOf, DenoSocket } from "./deno_socket.ts";
import { acceptNodeTls } from "./node_tls.ts";
import { type ProxyHeaderPolicy, readProxyHeader } from "./proxy_accept.ts";
import type { Socket } from "./socket.ts";
import type { TlsServer } from "./tls_server.ts";

/** Who says whether a client may come in. */
export interface Admission {
  /** Whether anybody has to be asked; may change. */
  readonly needed: boolean;
  /** Never rejects. */
  ask(remote: Address): Promise<boolean>;
}

/** Steps that a connection takes before it is handed on; `null`: none. */
export interface SetupSteps {
  readonly proxyHeader: ProxyHeaderPolicy | null;
  readonly admission: Admission | null;
  readonly tls: TlsServer | null;
}

const NOTHING: Uint8Array = new Uint8Array(0);

/** Takes a connection through all steps, and hands it on or closes it. Never rejects. */
export async function setUpConnection(
  connection: Deno.Conn<Deno.Addr>,
  gate: ConnectionGate,
  steps: SetupSteps,
): Promise<void> {
  let socket: Socket;
  try {
    socket = await takeSteps(connection, gate, steps);
  } catch (error) {
    closeQuietly(connection);
    gate.onReleased();
    gate.refused(
      ProxyError.wrap(error, "internal_error", "Cannot set up a connection", "internal"),
    );
    return;
  }
  gate.pass(socket);
}

async function takeSteps(
  connection: Deno.Conn<Deno.Addr>,
  gate: ConnectionGate,
  steps: SetupSteps,
): Promise<Socket> {
  const peer = addressOf(connection.remoteAddr);
  let remote = peer;
  let local = addressOf(connection.localAddr);
  let relay: Address | undefined;
  let early = NOTHING;
  if (steps.proxyHeader !== null) {
    const greeting = await readProxyHeader(connection, peer, steps.proxyHeader);
    early = greeting.early;
    if (greeting.ends !== null) {
      remote = greeting.ends.source;
      local = greeting.ends.destination;
      relay = peer;
    }
  }
  await checkAdmission(remote, steps.admission);
  const facts = { remote, local, relay, onReleased: gate.onReleased };
  if (steps.tls === null) return new DenoSocket(connection, { ...facts, tls: null }, early);
  return await acceptNodeTls({ connection, facts, early }, steps.tls);
}

/** @throws {ProxyError} `denied`, if the client may not come in. */
export async function checkAdmission(remote: Address, admission: Admission | null): Promise<void> {
  if (admission?.needed !== true || await admission.ask(remote)) return;
  throw new ProxyError("denied", `Connection of ${formatAddress(remote)}: not admitted`, {
    source: "downstream",
  });
}

/** Hands a connection on that is set up, if the client may come in. What he sends meanwhile waits in the socket. */
export function passAdmitted(
  socket: Socket,
  admission: Admission | null,
  gate: ConnectionGate,
): void {
  if (admission?.needed !== true) return gate.pass(socket);
  checkAdmission(socket.remote, admission).then(() => gate.pass(socket), (error) => {
    socket.destroy();
    gate.refused(
      ProxyError.wrap(error, "internal_error", "Cannot admit a connection", "internal"),
    );
  });
}

/** Closes a connection that may be closed. */
export function closeQuietly(connection: { close(): void }): void {
  try {
    connection.close();
  } catch {
    // The runtime has closed it already.
  }
}

/** Whether a connection needs no step at all: nobody has to be asked, and it is clear text from its first byte. */
export function passesAtOnce({ proxyHeader, admission, tls }: SetupSteps): boolean {
  return proxyHeader === null && tls === null && admission?.needed !== true;
}
