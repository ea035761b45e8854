/**
 * Why the connection of a client ends, or its request fails, when that is the fault of neither our code nor the bytes.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";

/** The client has closed in order, too early. */
export function closedByClient(): ProxyError {
  return new ProxyError("client_closed", "Connection: closed by the client", {
    source: "downstream",
  });
}

/** @param cause What the socket said. */
export function brokenByClient(cause: ProxyError): ProxyError {
  return new ProxyError("client_closed", "Connection: broken by the client", {
    source: "downstream",
    cause,
  });
}

/** We end it. */
export function closedByUs(): ProxyError {
  return new ProxyError("shutting_down", "Connection: closed by us", { source: "internal" });
}

/** A head took longer than it may. */
export function headTimeout(): ProxyError {
  return new ProxyError("header_timeout", "Request head: not complete in time", {
    source: "downstream",
  });
}

/** @param problem What is wrong with how the content comes. */
export function bodyTimeout(problem: string): ProxyError {
  return new ProxyError("body_timeout", `Request content: ${problem}`, { source: "downstream" });
}

/** The client took what it is sent slower than it may. */
export function writeTimeout(): ProxyError {
  return new ProxyError("write_timeout", "Response: the client does not read", {
    source: "downstream",
  });
}
