/**
 * A connection that has switched protocols: bytes both ways until both sides have finished.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import type { TimerWheel } from "../base/timer_wheel.ts";
import type { DownstreamSession, UpstreamSession } from "../http/session.ts";
import type { Upload } from "./duplex.ts";
import type { Exchange } from "./exchange.ts";
import { SilenceClock } from "./silence_clock.ts";
import type { TunnelEnd, TunnelRecord } from "./tunnel_record.ts";

/** What a tunnel works with. */
export interface TunnelTools {
  readonly wheel: TimerWheel;
  /** Called when the tunnel is open. */
  readonly onTunnel: (exchange: Exchange) => void;
}

/** Whether a response opens a tunnel: a 101, or a 2xx to CONNECT (RFC 9110 §9.3.6). */
export function opensTunnel(method: string, status: number): boolean {
  return status === 101 || (method === "CONNECT" && status >= 200 && status < 300);
}

/**
 * Sends the head that opens the tunnel and moves bytes. Each direction ends by itself; a side that breaks ends both, and
 * so does a time that is over, which is no error.
 *
 * @param upload The request's content, if it is still on its way: it comes before the tunnel.
 * @throws {ProxyError} If a side broke.
 */
export async function runTunnel(
  exchange: Exchange,
  upstream: UpstreamSession,
  upload: Upload | null,
  { wheel, onTunnel }: TunnelTools,
): Promise<void> {
  const { downstream } = exchange;
  const response = exchange.response!;
  if (response.status === 101 && !response.fields.has("upgrade")) {
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
  const tunnel = new Tunnel(exchange, upstream, wheel);
  onTunnel(exchange);
  await tunnel.run();
}

class Tunnel {
  readonly #downstream: DownstreamSession;
  readonly #upstream: UpstreamSession;
  readonly #record: TunnelRecord;
  readonly #clock: SilenceClock;
  #timedOut = false;

  constructor(exchange: Exchange, upstream: UpstreamSession, wheel: TimerWheel) {
    const { downstream } = exchange;
    const { tunnelIdleTimeout, tunnelTimeout } = exchange.peer!.options;
    this.#downstream = downstream;
    this.#upstream = upstream;
    this.#record = exchange.tunnel = {
      protocol: downstream.upgrade || "connect",
      received: 0,
      sent: 0,
      end: null,
    };
    const limits = { silence: tunnelIdleTimeout, duration: tunnelTimeout };
    this.#clock = new SilenceClock(wheel, limits, (what) => {
      this.#timedOut = true;
      this.#break(
        what === "silence"
          ? new ProxyError(
            "tunnel_idle_timeout",
            `Tunnel: silent for tunnel_idle (${tunnelIdleTimeout} ms)`,
            { source: "downstream" },
          )
          : new ProxyError(
            "tunnel_timeout",
            `Tunnel: had lasted for tunnel (${tunnelTimeout} ms)`,
            { source: "downstream" },
          ),
      );
    });
  }

  async run(): Promise<void> {
    const directions = [this.#upward(), this.#downward()];
    try {
      await Promise.all(directions);
      this.#upstream.release();
    } catch (caught) {
      const error = ProxyError.wrap(caught, "internal_error", "Cannot go on with the tunnel");
      this.#break(error);
      await Promise.allSettled(directions);
      if (!this.#timedOut) throw error;
    } finally {
      this.#clock.stop();
    }
  }

  async #upward(): Promise<void> {
    const from = this.#downstream;
    const to = this.#upstream;
    for (;;) {
      const next = from.readBody();
      const piece = next instanceof Promise ? await next : next;
      if (piece.length === 0 && from.bodyDone) break;
      this.#clock.touch();
      this.#record.received += piece.length;
      const written = to.writeBody(piece, false);
      if (written !== undefined) await written;
      const flushed = to.flush();
      if (flushed !== undefined) await flushed;
    }
    this.#record.end ??= "client_closed";
    to.closeTunnelWrite();
  }

  async #downward(): Promise<void> {
    const from = this.#upstream;
    const to = this.#downstream;
    for (;;) {
      const next = from.readBody();
      const piece = next instanceof Promise ? await next : next;
      if (piece.length === 0 && from.bodyDone) break;
      this.#clock.touch();
      this.#record.sent += piece.length;
      const written = to.writeBody(piece, false);
      if (written !== undefined) await written;
      const flushed = to.flush();
      if (flushed !== undefined) await flushed;
    }
    this.#record.end ??= "upstream_closed";
    to.closeTunnelWrite();
  }

  /** Ends both sides at once. */
  #break(error: ProxyError): void {
    this.#record.end ??= endOf(error);
    this.#upstream.abort(error);
    this.#downstream.abort(error);
  }
}

function endOf({ type, source }: ProxyError): TunnelEnd {
  if (type === "tunnel_idle_timeout") return "idle_timeout";
  if (type === "tunnel_timeout") return "timeout";
  if (type === "shutting_down") return "shutdown";
  return source === "upstream" ? "upstream_broke" : "client_broke";
}
