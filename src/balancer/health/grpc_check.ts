/**
 * Healthy is what says `SERVING` when asked by `grpc.health.v1.Health/Check`, over HTTP/2.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProxyError } from "../../base/error.ts";
import type { Connector } from "../../connector/connector.ts";
import type { Peer } from "../../connector/peer.ts";
import { checkFieldName, checkFieldValue } from "../../http/field_checks.ts";
import type { Run } from "./bounded_run.ts";
import type { CheckTarget, HealthCheck } from "./check.ts";
import { type CheckPeerOptions, checkPeers, hostOf } from "./check_peer.ts";
import {
  decodeCheckResponse,
  encodeCheckRequest,
  GrpcFormatError,
  grpcMessage,
  MAX_ANSWER_BYTES,
  MAX_SERVICE_BYTES,
} from "./grpc_health.ts";
import { exchange, type ExchangeTools, ownConnector, type OwnRequest } from "./http_exchange.ts";

/** Settings of a gRPC check. Plain data. */
export interface GrpcCheckConfig extends CheckPeerOptions {
  readonly type: "grpc";
  /** Name of the service to ask about; empty for the server as a whole. */
  readonly service: string;
  /** Authority to ask for, or `null` for the name and port that the check connects to. */
  readonly host: string | null;
  /** Further metadata. */
  readonly headers: Readonly<Record<string, string>>;
  /** Whether the connection is kept for the next check; otherwise each check also tests connecting. */
  readonly reuse: boolean;
}

/** What a gRPC check does where nothing else is said. */
export const GRPC_CHECK: GrpcCheckConfig = {
  type: "grpc",
  port: 0,
  tls: "as_traffic",
  service: "",
  host: null,
  headers: {},
  reuse: false,
};

const PATH = "/grpc.health.v1.Health/Check";
const KEPT = ["content-type", "grpc-status", "grpc-message"];
/** Fields that the check writes itself, or that gRPC reserves. */
const OWN_FIELD =
  /^(?:host|connection|content-length|content-type|te|transfer-encoding|upgrade|grpc-.*)$/;
/** What the codes mean that servers without an answer give. */
const CODES: Readonly<Record<string, string>> = {
  "5": "NOT_FOUND, so it does not know the service",
  "12": "UNIMPLEMENTED, so it has no health service",
};

/** Asks a gRPC server how a service is. */
export class GrpcCheck implements HealthCheck {
  readonly #config: GrpcCheckConfig;
  readonly #connector: Connector;
  readonly #peerOf: (target: CheckTarget) => Peer;
  readonly #content: Uint8Array;

  /** @throws {ProxyError} `config_error` if it could not be written as a request. */
  constructor(config: GrpcCheckConfig, tools: ExchangeTools) {
    refuseBad(config);
    this.#config = config;
    this.#content = encodeCheckRequest(config.service);
    this.#connector = ownConnector(tools);
    this.#peerOf = checkPeers(config, config.reuse, true);
  }

  async check(target: CheckTarget, run: Run): Promise<void> {
    const peer = this.#peerOf(target);
    const { service } = this.#config;
    const context = `Asking ${peer.label} for the health of ${
      service === "" ? "the server" : JSON.stringify(service)
    }`;
    const request = this.#request(peer);
    const answer = await exchange(this.#connector, peer, request, MAX_ANSWER_BYTES, run);
    const code = answer.fields.get("grpc-status") ?? null;
    if (answer.status !== 200) throw unexpected(`${context}: HTTP status ${answer.status}`);
    if (!isGrpc(answer.fields.get("content-type") ?? "")) {
      throw unexpected(`${context}: the answer is no gRPC, by its Content-Type`);
    }
    if (code !== "0") throw unexpected(`${context}: ${codeText(code, answer.fields)}`);
    if (answer.truncated) throw unexpected(`${context}: the answer is too long`);
    let status: string;
    try {
      status = decodeCheckResponse(answer.content);
    } catch (error) {
      if (!(error instanceof GrpcFormatError)) throw error;
      throw unexpected(`${context}: ${error.message}`);
    }
    if (status !== "SERVING") throw unexpected(`${context}: ${status}, expected SERVING`);
  }

  close(): void {
    this.#connector.close();
  }

  #request(peer: Peer): OwnRequest {
    const { host, headers } = this.#config;
    return {
      method: "POST",
      target: PATH,
      fields: [
        ["Host", host ?? hostOf(peer)],
        ["Content-Type", "application/grpc+proto"],
        ["TE", "trailers"],
        ["User-Agent", "Sluice-Health-Check"],
        ...Object.entries(headers).filter(([name]) => name.toLowerCase() !== "user-agent"),
      ],
      content: this.#content,
      keep: KEPT,
    };
  }
}

function isGrpc(contentType: string): boolean {
  return /^application\/grpc(?:\+proto)?(?:;|$)/.test(contentType.toLowerCase());
}

function codeText(code: string | null, fields: ReadonlyMap<string, string>): string {
  if (code === null) return "the answer ends without grpc-status";
  const message = grpcMessage(fields.get("grpc-message") ?? null);
  const meaning = CODES[code] ?? "";
  return `grpc-status ${code}${meaning === "" ? "" : ` (${meaning})`}${
    message === "" ? "" : `: ${message.slice(0, 200)}`
  }`;
}

function refuseBad({ service, host, headers }: GrpcCheckConfig): void {
  const refuse = (why: string): never => {
    throw new ProxyError("config_error", `gRPC health check: ${why}`, { source: "internal" });
  };
  if (Buffer.byteLength(service) > MAX_SERVICE_BYTES) {
    refuse(`the name of the service is longer than ${MAX_SERVICE_BYTES} bytes`);
  }
  try {
    if (host !== null) checkFieldValue("host", host);
    for (const [name, value] of Object.entries(headers)) {
      checkFieldName(name);
      checkFieldValue(name, value);
      if (OWN_FIELD.test(name.toLowerCase())) {
        throw new TypeError(`the field "${name}" is set by the check itself`);
      }
    }
  } catch (error) {
    refuse(error instanceof Error ? error.message : String(error));
  }
}

function unexpected(message: string): ProxyError {
  return new ProxyError("http_status", message, { source: "upstream" });
}
