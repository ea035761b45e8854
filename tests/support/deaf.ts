/**
 * Ports that connections to get no answer from.
 *
 * @module
 */

/** A port whose accept queue is full, so that the kernel drops what knocks there. */
export async function deaf(
  hostname: string = "127.0.0.1",
): Promise<{ port: number; close: () => void }> {
  const listener = Deno.listen({ hostname, port: 0, tcpBacklog: 1 });
  const { port } = listener.addr;
  const held: Deno.Conn[] = [];
  // One that is late alone may be so because this very process was held up.
  for (let late = 0; late < 2;) {
    try {
      held.push(await Deno.connect({ hostname, port, signal: AbortSignal.timeout(150) }));
      late = 0;
    } catch {
      late++;
    }
  }
  return {
    port,
    close: () => {
      listener.close();
      for (const one of held) one.close();
    },
  };
}
