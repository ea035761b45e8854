/**
 * TLS in front of a server that speaks clear text: for servers whose own TLS does not work here.
 *
 * @module
 */
import net from "node:net";
import tls from "node:tls";

/** A running front. */
export interface TlsFront extends AsyncDisposable {
  readonly port: number;
}

/** Ends TLS with HTTP/2 agreed on by ALPN, and passes the bytes on to a port of this host. */
export async function startTlsFront(
  to: number,
  certificate: { readonly cert: string; readonly key: string },
): Promise<TlsFront> {
  const sockets = new Set<net.Socket>();
  const server = tls.createServer({ ...certificate, ALPNProtocols: ["h2"] }, (socket) => {
    const behind = net.connect(to, "127.0.0.1");
    for (const [one, other] of [[socket, behind], [behind, socket]] as const) {
      sockets.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
    }
    socket.pipe(behind).pipe(socket);
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
