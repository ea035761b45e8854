/**
 * Starts listening.
 *
 * Several service workers can listen on one TCP address and share its accept queue: engine `deno` by the runtime,
 * engine `handle` by a descriptor that each is given; without one each has a queue of its own, by SO_REUSEPORT. A unix
 * socket can be bound once only, so there one worker listens.
 *
 * @module
 */
import { isIP } from "node:net";
import { ProxyError } from "../base/error.ts";
import { formatAddress, type TcpAddress } from "./address.ts";
import type { SetupSteps } from "./connection_setup.ts";
import { listenDeno } from "./deno_listener.ts";
import { EpollListener } from "./epoll/epoll_listener.ts";
import { epollLoop } from "./epoll/loop.ts";
import { listenHandle } from "./handle_listener.ts";
import { reason } from "./io_error.ts";
import type { Listener, ListenOptions } from "./listener.ts";
import { claim } from "./loan.ts";
import { handleEngineAvailable } from "./native_handle.ts";
import { listenNativeTls } from "./native_tls_listener.ts";
import { bindUnix } from "./unix_path.ts";

/**
 * Starts listening.
 *
 * @throws {ProxyError} `bind_error` if the address cannot be listened on.
 */
export async function listen(options: ListenOptions): Promise<Listener> {
  try {
    const steps = setupSteps(options);
    if (options.address.kind === "unix") {
      const { listener, release } = await bindUnix(options.address.path, {
        mode: options.unixMode ?? 0o660,
        owner: options.unixOwner ?? null,
        takeOver: options.takeOver ?? false,
      });
      return listenDeno(listener, options.address, options, release, steps);
    }
    if (options.tls?.engine === "native") {
      return listenNativeTls(
        options.address.port === 0 ? pickPort(options.address) : options.address,
        options.tls.server,
        options,
      );
    }
    const { proxyHeader = null, tls = null, loan = null } = options;
    const loop = options.engine === "epoll" && loan !== null ? epollLoop() : null;
    if (loop !== null && loan !== null && proxyHeader === null && tls === null && claim(loan)) {
      return new EpollListener(loop, loan.descriptor, options.address, options);
    }
    if (
      proxyHeader === null && tls === null && options.engine === "handle" &&
      handleEngineAvailable() && isIP(options.address.host) !== 0
    ) {
      return listenHandle(options.address, options);
    }
    const listener = bindTcp(options.address.host, options.address.port, options.backlog ?? 511);
    const { port } = listener.addr as Deno.NetAddr;
    return listenDeno(listener, { ...options.address, port }, options, () => {}, steps);
  } catch (error) {
    if (error instanceof ProxyError) throw error;
    throw new ProxyError(
      "bind_error",
      `Listener "${options.name}" cannot listen on ${formatAddress(options.address)}: ${
        reason(error)
      }`,
      { source: "internal", cause: error },
    );
  }
}

/** What stands between accepting and handing on; `null`: nothing. */
function setupSteps(options: ListenOptions): SetupSteps | null {
  const { proxyHeader = null, admission = null, tls = null } = options;
  if (proxyHeader === null && admission === null && tls === null) return null;
  return { proxyHeader, admission, tls: tls?.server ?? null };
}

/** What binding asks for beyond Deno's types: one accept queue that all threads of the process share. */
interface SharedListenOptions extends Deno.TcpListenOptions {
  readonly loadBalanced: true;
}

/** Ports that are tried before giving up, should each be taken in the moment between picking and binding. */
const PICKS = 16;

/** Binds a port, with one accept queue for all threads of the process; `0` picks a free one. */
export function bindTcp(hostname: string, port: number, tcpBacklog: number): Deno.Listener {
  if (port !== 0) return bindShared(hostname, port, tcpBacklog);
  // The shared queue is found by its port, and all that ask for port 0 would get the same one. So the port is
  // picked first.
  for (let pick = 1;; pick++) {
    try {
      return bindShared(hostname, freePort(hostname), tcpBacklog);
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse) || pick === PICKS) throw error;
    }
  }
}

function freePort(hostname: string): number {
  const probe = Deno.listen({ hostname, port: 0 });
  const { port } = probe.addr;
  probe.close();
  return port;
}

function pickPort(address: TcpAddress): TcpAddress {
  return { ...address, port: freePort(address.host) };
}

function bindShared(hostname: string, port: number, tcpBacklog: number): Deno.Listener {
  const options: SharedListenOptions = { hostname, port, tcpBacklog, loadBalanced: true };
  return Deno.listen(options);
}
