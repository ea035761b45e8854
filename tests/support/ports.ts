/**
 * Ports for what cannot be told to listen on port 0, and for what must find nobody.
 *
 * @module
 */

/** Below it are ports of well-known services, and one that browsers refuse. */
const LOWEST = 11_000;

const given = new Set<number>();

/**
 * A port of 127.0.0.1 that nobody listens on, and that nobody comes to listen on by chance: it is drawn from below those
 * that the kernel gives to whoever asks for port 0 and to outgoing connections, as tests beside this one do all the time.
 */
export function freePort(): number {
  const end = firstEphemeral();
  // A machine whose own range leaves nothing below it has to give one of those.
  if (end < LOWEST + 1_000) return listenable(0)!;
  for (;;) {
    const port = listenable(LOWEST + Math.floor(Math.random() * (end - LOWEST)));
    if (port === null || given.has(port)) continue;
    given.add(port);
    return port;
  }
}

function listenable(port: number): number | null {
  try {
    using listener = Deno.listen({ hostname: "127.0.0.1", port });
    return listener.addr.port;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return null;
    throw error;
  }
}

function firstEphemeral(): number {
  try {
    return Number.parseInt(Deno.readTextFileSync("/proc/sys/net/ipv4/ip_local_port_range"));
  } catch {
    // What other systems take for it: 49152 (RFC 6335 §6).
    return 49_152;
  }
}
