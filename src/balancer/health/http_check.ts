/**
 * Healthy is what answers a request with an expected status, and with content that holds an expected text.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProxyError } from "../../base/error.ts";
import type { Connector } from "../../connector/connector.ts";
import type { Peer } from "../../connector/peer.ts";
import { checkFieldName, checkFieldValue } from "../../http/field_checks.ts";
import { checkTarget } from "../../http/message.ts";
import type { Run } from "./bounded_run.ts";
import type { CheckTarget, HealthCheck } from "./check.ts";
import { type CheckPeerOptions, checkPeers, hostOf } from "./check_peer.ts";
import { exchange, type ExchangeTools, ownConnector, type OwnRequest } from "./http_exchange.ts";
import { formatRanges, inRanges, type StatusRange, SUCCESS } from "./status_ranges.ts";

/** Settings of an HTTP check. Plain data. */
export interface HttpCheckConfig extends CheckPeerOptions {
  readonly type: "http";
  readonly method: string;
  /** Path, and query if there is one. */
  readonly path: string;
  /** Host to ask for, or `null` for the name and port that the check connects to. */
  readonly host: string | null;
  /** Further fields. */
  readonly headers: Readonly<Record<string, string>>;
  /** Statuses of a healthy member. */
  readonly status: readonly StatusRange[];
  /** Text that the content must hold within its first `bodyBytes`, or `null`. */
  readonly body: string | null;
  /** How much of the content is read, in bytes. */
  readonly bodyBytes: number;
  /** Whether the connection is kept for the next check; otherwise each check also tests connecting. */
  readonly reuse: boolean;
}

/** What an HTTP check does where nothing else is said. */
export const HTTP_CHECK: HttpCheckConfig = {
  type: "http",
  port: 0,
  tls: "as_traffic",
  method: "GET",
  path: "/",
  host: null,
  headers: {},
  status: SUCCESS,
  body: null,
  bodyBytes: 64 * 1024,
  reuse: false,
};

const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Fields that a check writes itself. */
const OWN_FIELDS = new Set([
  "host",
  "connection",
  "content-length",
  "transfer-encoding",
  "upgrade",
]);

/** Asks for a page. */
export class HttpCheck implements HealthCheck {
  readonly #config: HttpCheckConfig;
  readonly #connector: Connector;
  readonly #peerOf: (target: CheckTarget) => Peer;
  readonly #wanted: Buffer | null;

  /** @throws {ProxyError} `config_error` if it could not be written as a request. */
  constructor(config: HttpCheckConfig, tools: ExchangeTools) {
    refuseBad(config);
    this.#config = config;
    this.#connector = ownConnector(tools);
    this.#peerOf = checkPeers(config, config.reuse);
    this.#wanted = config.body === null ? null : Buffer.from(config.body, "utf8");
  }

  async check(target: CheckTarget, run: Run): Promise<void> {
    const config = this.#config;
    const peer = this.#peerOf(target);
    // Content is read to search it, and to free the connection for the next check.
    const limit = this.#wanted !== null || config.reuse ? config.bodyBytes : 0;
    const answer = await exchange(this.#connector, peer, this.#request(peer), limit, run);
    // A query may hold a secret.
    const context = `Asking ${peer.label} for ${config.path.replace(/\?.*$/s, "?…")}`;
    if (!inRanges(config.status, answer.status)) {
      throw unexpected(
        `${context}: status ${answer.status}, expected ${formatRanges(config.status)}`,
      );
    }
    if (this.#wanted === null) return;
    const content = Buffer.from(
      answer.content.buffer,
      answer.content.byteOffset,
      answer.content.byteLength,
    );
    if (content.indexOf(this.#wanted) >= 0) return;
    const where = answer.truncated ? ` in its first ${config.bodyBytes} bytes` : "";
    throw unexpected(`${context}: the expected text is not in the content${where}`);
  }

  close(): void {
    this.#connector.close();
  }

  #request(peer: Peer): OwnRequest {
    const { method, path, host, headers } = this.#config;
    const fields: [string, string][] = [["Host", host ?? hostOf(peer)]];
    const own = Object.entries(headers);
    const has = (name: string) => own.some(([key]) => key.toLowerCase() === name);
    if (!has("user-agent")) fields.push(["User-Agent", "Sluice-Health-Check"]);
    if (!has("accept")) fields.push(["Accept", "*/*"]);
    fields.push(...own);
    return { method, target: path, fields };
  }
}

function refuseBad(config: HttpCheckConfig): void {
  const { method, path, host, headers, status, body, bodyBytes } = config;
  const refuse = (why: string): never => {
    throw new ProxyError("config_error", `HTTP health check: ${why}`, { source: "internal" });
  };
  if (!METHOD.test(method) || method === "CONNECT") {
    refuse(`the method ${JSON.stringify(method)} cannot be used`);
  }
  if (body !== null && method === "HEAD") refuse("the answer to HEAD has no content to search");
  if (status.length === 0) refuse("no status would be healthy");
  if (!Number.isInteger(bodyBytes) || bodyBytes < 1) refuse("`bodyBytes` must be at least 1");
  if (body === "" || (body !== null && Buffer.byteLength(body) > bodyBytes)) {
    refuse("the expected text is empty or longer than what is read");
  }
  try {
    if (path === "*") throw new TypeError("`*` is no path");
    checkTarget(path);
    if (host !== null) checkFieldValue("host", host);
    for (const [name, value] of Object.entries(headers)) {
      checkFieldName(name);
      checkFieldValue(name, value);
      if (OWN_FIELDS.has(name.toLowerCase())) {
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
