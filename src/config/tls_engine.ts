/**
 * Which TLS engine a listener gets, and why.
 *
 * @module
 */
import type { TlsEngine } from "../transport/listener.ts";
import type { ListenerConfig } from "./types.ts";

/** What the config alone does not say. */
export interface EngineCircumstances {
  /** Whether plugins of the service decide about connections, or supply certificates. */
  readonly hooks: { readonly connectionFilter: boolean; readonly certificate: boolean };
  /** Whether this process can do what the engine `native` leaves undone: it needs Deno's right `ffi`, on Linux. */
  readonly surgery: boolean;
}

/** An engine, and the reason in words that follow its name. */
export interface EngineChoice {
  readonly engine: TlsEngine;
  readonly why: string;
}

/** Chooses the engine of a listener; `null` for one without TLS. */
export function chooseTlsEngine(
  { tls, proxyProtocol, address }: ListenerConfig,
  { hooks, surgery }: EngineCircumstances,
): EngineChoice | null {
  if (tls === null) return null;
  if (tls.engine !== "auto") return { engine: tls.engine, why: "the config says so" };
  const wanted = tls.certificates.length > 1
    ? "there are several certificates"
    : tls.clientAuth !== null || tls.hostAuth.length > 0
    ? "clients are asked for certificates"
    : tls.unknownName === "reject"
    ? "unknown names are rejected"
    : tls.minVersion !== "TLSv1.2" || tls.maxVersion !== "TLSv1.3"
    ? "versions are chosen"
    : proxyProtocol !== null
    ? "the PROXY protocol comes before TLS"
    : address.kind === "unix"
    ? "it is a unix socket"
    : hooks.certificate
    ? "a plugin supplies certificates"
    : hooks.connectionFilter
    ? "a plugin decides about connections before TLS"
    : !surgery
    ? "without the right ffi, native could neither answer at once nor close what hangs"
    : null;
  return wanted === null
    ? { engine: "native", why: "one certificate is enough" }
    : { engine: "node", why: wanted };
}
