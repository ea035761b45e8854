/**
 * Every kind of active health check. A new one is a file and a row.
 *
 * @module
 */
import { ProxyError } from "../../base/error.ts";
import type { HealthCheck } from "./check.ts";
import type { ExchangeTools } from "./http_exchange.ts";
import { HttpCheck, type HttpCheckConfig } from "./http_check.ts";
import { TcpCheck, type TcpCheckConfig } from "./tcp_check.ts";

/** Settings of a gRPC check (`grpc.health.v1.Health/Check`). Plain data. */
export interface GrpcCheckConfig {
  readonly type: "grpc";
  /** Name of the service to ask about; empty for the server as a whole. */
  readonly service: string;
}

/** Settings of a check of any kind. Plain data. */
export type CheckConfig = TcpCheckConfig | HttpCheckConfig | GrpcCheckConfig;

/** What a row of {@linkcode CHECKS} says. */
interface CheckRow<C> {
  /** Why it cannot be used, or `null`. */
  readonly refused: string | null;
  readonly create: (config: C, tools: ExchangeTools) => HealthCheck;
}

/** The kinds of checks, by the `type` of their settings. */
export const CHECKS: { readonly [T in CheckConfig["type"]]: CheckRow<CheckOf<T>> } = {
  tcp: { refused: null, create: (config, tools) => new TcpCheck(config, tools) },
  http: { refused: null, create: (config, tools) => new HttpCheck(config, tools) },
  grpc: {
    refused: "it needs HTTP/2, and Sluice speaks only HTTP/1.1 to upstreams; use http or tcp",
    create: refuseGrpc,
  },
};

type CheckOf<T extends CheckConfig["type"]> = Extract<CheckConfig, { readonly type: T }>;

/**
 * Makes a check.
 *
 * @throws {ProxyError} `config_error` if there is no such kind, it is refused, or its settings make no sense.
 */
export function createCheck(config: CheckConfig, tools: ExchangeTools): HealthCheck {
  const row = Object.hasOwn(CHECKS, config.type)
    ? CHECKS[config.type] as CheckRow<CheckConfig>
    : undefined;
  if (row === undefined) throw refusal(config.type, "there is no such check");
  if (row.refused !== null) throw refusal(config.type, row.refused);
  return row.create(config, tools);
}

function refuseGrpc(): never {
  throw refusal("grpc", CHECKS.grpc.refused!);
}

function refusal(type: string, why: string): ProxyError {
  return new ProxyError("config_error", `Health check "${type}": ${why}`, { source: "internal" });
}
