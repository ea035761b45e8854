/**
 * A connection that has switched protocols: bytes both ways until both sides have finished.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import type { DownstreamSession, UpstreamSession } from "../http/session.ts";
import type { Upload } from "./duplex.ts";
import type { Exchange } from "./exchange.ts";

/**
 * Answers 101 and moves bytes. Each direction ends by itself; a side that breaks ends both.
 *
 * @param upload The request's content, if it is still on its way: it comes before the tunnel.
 * @throws {ProxyError} If a side broke or was silent for too long.
 */
export async function runTunnel(
  exchange: Exchange,
  upstream: UpstreamSession,
  upload: Upload | null,
): Promise<void> {
  const { downstream } = exchange;
  const response = exchange.response!;
  if (!response.fields.has("upgrade")) {
    response.fields.appendTrusted("Upgrade", downstream.upgrade);
  }
  downstream.keepAlive = false;
  downstream.writeHead(response, { kind: "none" });
  await downstream.flush();
  if (upload !== null) {
    await upload.done;
    const failure = upload.readError ?? upload.writeError;
    if (failure !== null) throw failure;
  }
  // Only now: what the client sent after its request must not reach the upstream before it has agreed.
  downstream.startTunnel();
  upstream.startTunnel();
  const directions = [relay(downstream, upstream), relay(upstream, downstream)];
  try {
    await Promise.all(directions);
    upstream.release();
  } catch (caught) {
    const error = ProxyError.wrap(caught, "internal_error", "Cannot go on with the tunnel");
    upstream.abort(error);
    downstream.abort(error);
    await Promise.allSettled(directions);
    throw error;
  }
}

type Side = DownstreamSession | UpstreamSession;

async function relay(from: Side, to: Side): Promise<void> {
  for (;;) {
    const next = from.readBody();
    const piece = next instanceof Promise ? await next : next;
    if (piece.length === 0 && from.bodyDone) break;
    const written = to.writeBody(piece, false);
    if (written !== undefined) await written;
    const flushed = to.flush();
    if (flushed !== undefined) await flushed;
  }
  to.closeTunnelWrite();
}
