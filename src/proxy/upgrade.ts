/**
 * Asking for another protocol, and being granted it, between sides that may speak different versions of HTTP. The
 * sessions of all versions show a request with `Upgrade` and a 101; what is left to do is here.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import type { UpstreamSession } from "../http/session.ts";
import { adaptRequest, adaptResponse, namesProtocol, WEBSOCKET } from "../http/websocket.ts";
import type { Exchange } from "./exchange.ts";

/**
 * Makes the request of an attempt fit its upstream. To be called when the upstream is known, before the head is sent.
 *
 * @throws {ProxyError} `upgrade_failed`, if the client's handshake cannot be carried on.
 */
export function prepareUpgrade(exchange: Exchange, upstream: UpstreamSession): void {
  const { downstream } = exchange;
  if (downstream.upgrade !== WEBSOCKET) return;
  exchange.webSocketKey = adaptRequest(
    sidesOf(exchange, upstream),
    exchange.upstreamRequest().fields,
    downstream.head.fields,
  );
}

/**
 * Checks the final head of a response to a request that asked for a protocol, and makes it fit the client. To be called
 * before hooks see it.
 *
 * @throws {ProxyError} `upgrade_failed`, 502, if the client could take it for something that it is not.
 */
export function settleUpgrade(exchange: Exchange, upstream: UpstreamSession): void {
  const { downstream } = exchange;
  const response = exchange.response!;
  const { upgrade } = downstream;
  const { status } = response;
  if (status !== 101) {
    if (downstream.head.version >= 20 && upgrade !== "") refuseSuccess(status);
    return;
  }
  if (upgrade === "") throw failed("101 to a request that asked for no upgrade");
  const named = response.fields.get("upgrade");
  // Over HTTP/2 no response names it: what was asked for is what was granted.
  if (upstream.version < 20 && !namesProtocol(named, upgrade)) {
    throw failed(`101 to another protocol than "${upgrade}"`);
  }
  if (upgrade === WEBSOCKET) {
    adaptResponse(
      sidesOf(exchange, upstream),
      response.fields,
      downstream.head.fields,
      exchange.webSocketKey,
    );
  }
}

/**
 * Refuses a 2xx that is not the granting of a protocol: a client of HTTP/2 would take its content for the tunnel
 * (RFC 8441 §5).
 *
 * @throws {ProxyError} `upgrade_failed`, 502.
 */
export function refuseSuccess(status: number): void {
  if (status >= 200 && status < 300) throw failed(`${status} to a request for another protocol`);
}

function sidesOf({ downstream }: Exchange, upstream: UpstreamSession) {
  const { version, method } = downstream.head;
  return { client: version, upstream: upstream.version, method };
}

function failed(problem: string): ProxyError {
  return new ProxyError("upgrade_failed", `Cannot use the response: ${problem}`, {
    source: "upstream",
  });
}
