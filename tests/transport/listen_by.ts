/**
 * Listening by any engine, the way a service worker does it.
 *
 * @module
 */
import { HandedSockets } from "../../src/transport/handed_sockets.ts";
import { holdPort } from "../../src/transport/hold.ts";
import { listen } from "../../src/transport/listen.ts";
import type { Listener, ListenOptions } from "../../src/transport/listener.ts";
import { loan } from "../../src/transport/loan.ts";
import type { SocketEngine } from "../../src/transport/socket.ts";

/** Listens; engine `epoll` on a descriptor that it is lent, of a socket that is held until it closes. */
export async function listenBy(
  engine: SocketEngine,
  options: Omit<ListenOptions, "engine" | "loan">,
): Promise<Listener> {
  const { address } = options;
  if (engine !== "epoll" || address.kind !== "tcp") return await listen({ ...options, engine });
  const held = holdPort(options.name, address, options.backlog ?? 511);
  const lender = HandedSockets.load()!;
  const offer = loan(lender.lend({ ...held.address, host: held.ip }));
  lender.unload();
  const listener = await listen({ ...options, engine, address: held.address, loan: offer });
  const close = listener.close.bind(listener);
  let holds = true;
  listener.close = () => {
    close();
    if (holds) held.close();
    holds = false;
  };
  return listener;
}
