/**
 * Every kind of active health check. A new one is a file and a row.
 *
 * @module
 */
import { ProxyError } from "../../base/error.ts";
import type { HealthCheck } from "./check.ts";
import type { ExchangeTools } from "./http_exchange.ts";
import { GrpcCheck, type GrpcCheckConfig } from "./grpc_check.ts";
import { HttpCheck, type HttpCheckConfig } from "./http_check.ts";
import { TcpCheck, type TcpCheckConfig } from "./tcp_check.ts";

/** Settings of a check of any kind. Plain data. */
export type CheckConfig = TcpCheckConfig | HttpCheckConfig | GrpcCheckConfig;

/** What a row of {@linkcode CHECKS} says: how a check is made. */
type CheckRow<C> = (config: C, tools: ExchangeTools) => HealthCheck;

/** The kinds of checks, by the `type` of their settings. */
export const CHECKS: { readonly [T in CheckConfig["type"]]: CheckRow<CheckOf<T>> } = {
  tcp: (config, tools) => new TcpCheck(config, tools),
  http: (config, tools) => new HttpCheck(config, tools),
  grpc: (config, tools) => new GrpcCheck(config, tools),
};

type CheckOf<T extends CheckConfig["type"]> = Extract<CheckConfig, { readonly type: T }>;

/**
 * Makes a check.
 *
 * @throws {ProxyError} `config_error` if there is no such kind, or its settings make no sense.
 */
export function createCheck(config: CheckConfig, tools: ExchangeTools): HealthCheck {
  const row = Object.hasOwn(CHECKS, config.type)
    ? CHECKS[config.type] as CheckRow<CheckConfig>
    : undefined;
  if (row === undefined) {
    throw new ProxyError("config_error", `Health check "${config.type}": there is no such check`, {
      source: "internal",
    });
  }
  return row(config, tools);
}
