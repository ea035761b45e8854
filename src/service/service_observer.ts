/**
 * Writes down what happens to requests and connections of a service worker.
 *
 * @module
 */
import type { ProxyError } from "../base/error.ts";
import { USER_AGENT } from "../http/field_names.ts";
import { versionText } from "../http/message.ts";
import type { ConnectionFacts } from "../http/session.ts";
import { type AccessLog, type AccessRecord, emptyAccessRecord } from "../observe/access_log.ts";
import { literal, type Logger } from "../observe/log.ts";
import { RefusalCounts } from "./refusal_counts.ts";
import type { PhaseName } from "../plugin/phases.ts";
import type { GroupEvent } from "../balancer/group.ts";
import type { HealthEvent } from "../balancer/health/messages.ts";
import type { BreakerState } from "../connector/breaker.ts";
import type { Exchange } from "../proxy/exchange.ts";
import type { RequestMetrics } from "./request_metrics.ts";
import type { UpstreamListener } from "./upstream_runtime.ts";

/** How often one kind of line may be written; the rest is counted and told with the next. */
const LINES_PER_SECOND = 20;

/** Access log, operational log and metrics of one service worker. */
export class ServiceObserver implements UpstreamListener {
  readonly #log: Logger;
  #accessLog: AccessLog | null = null;
  /** One for all requests: it is written out before the next one is filled in. */
  readonly #record: AccessRecord = emptyAccessRecord();
  readonly #refused = new Map<string, RefusalCounts>();
  readonly #limit = new LineLimit(LINES_PER_SECOND);
  readonly #metrics: RequestMetrics | null;

  constructor(service: string, log: Logger, metrics: RequestMetrics | null) {
    this.#log = log;
    this.#metrics = metrics;
    this.#record.service = service;
  }

  /** Where a line for each request goes from now on; `null`: nowhere. */
  set accessLog(accessLog: AccessLog | null) {
    this.#accessLog = accessLog;
  }

  /** A response has opened a tunnel. */
  tunnelOpened(): void {
    this.#metrics?.protocols.tunnelOpened();
  }

  /** A request is over. */
  finished(exchange: Exchange): void {
    this.#metrics?.finished(exchange);
    if (this.#accessLog === null) return;
    const { downstream, peer, upstream, error, tunnel } = exchange;
    const { head, connection } = downstream;
    const record = this.#record;
    record.timestamp = Date.now() - exchange.elapsed;
    record.requestId = exchange.id;
    record.method = head.method;
    record.scheme = exchange.scheme;
    record.authority = head.authority;
    record.path = head.path;
    record.query = head.query;
    record.route = exchange.routeId;
    record.protocolVersion = versionText(head.version);
    record.clientAddress = exchange.clientAddress;
    this.#fillConnection(connection);
    record.userAgent = head.fields.first(USER_AGENT);
    record.status = downstream.status;
    record.bytesIn = downstream.bodyBytes;
    record.bytesOut = downstream.bytesSent;
    record.duration = exchange.elapsed;
    record.upstreamName = peer?.group ?? null;
    record.upstreamAddress = peer?.label ?? null;
    record.upstreamStatus = exchange.upstreamStatus;
    record.upstreamAttempts = exchange.attempt;
    record.upstreamHedges = exchange.hedges;
    record.upstreamReused = upstream?.reused ?? false;
    record.upstreamVersion = upstream === null ? "" : versionText(upstream.version);
    record.upstreamConnect = upstream === null || upstream.reused ? -1 : exchange.connectTime;
    record.upstreamFirstByte = exchange.firstByteAt === 0
      ? -1
      : exchange.firstByteAt - exchange.attemptAt;
    record.error = error === null ? null : error.token || error.type;
    record.errorSource = error?.source ?? null;
    record.shortCircuit = exchange.answeredBy || null;
    record.grpcStatus = exchange.grpc?.status ?? -1;
    record.tunnelProtocol = tunnel?.protocol ?? null;
    record.tunnelReceived = tunnel?.received ?? 0;
    record.tunnelSent = tunnel?.sent ?? 0;
    record.tunnelEnd = tunnel?.end ?? null;
    record.listener = downstream.listener;
    this.#accessLog.write(record);
  }

  /** A request was so malformed that there is nothing but the refusal to write down. */
  refused(
    listener: string,
    connection: ConnectionFacts,
    error: ProxyError,
    status: number,
    requestId: string,
  ): void {
    this.#metrics?.refused(listener, error);
    if (this.#accessLog !== null) {
      const record = Object.assign(this.#record, emptyAccessRecord(), {
        service: this.#record.service,
        timestamp: Date.now(),
        requestId,
        status,
        error: error.token || error.type,
        errorSource: error.source,
        listener,
      });
      this.#fillConnection(connection);
      record.clientAddress = record.peerAddress;
      this.#accessLog.write(record);
    }
    this.#log.debug(`Refused a request: ${literal(error.explain())}`);
  }

  /** A client has broken a rule of its connection, or flooded it, so that there is no request to speak of. */
  connectionFailed(listener: string, connection: ConnectionFacts, error: ProxyError): void {
    this.refused(listener, connection, error, 0, "");
    // What hurts others is worth a line; what is only wrong is for the client to notice.
    if (error.type !== "peer_flood") return;
    const left = this.#limit.admit();
    if (left < 0) return;
    this.#log.warn(`Closed a connection: ${literal(error.explain())}`, {
      listener,
      peer_address: this.#record.peerAddress,
      ...(left > 0 ? { lines_left_out: left } : {}),
    });
  }

  /** An attempt or a whole request has failed. */
  failed(exchange: Exchange, error: ProxyError, summary: string, final: boolean): void {
    if (!final) this.#metrics?.retried(exchange, error);
    const { source } = error;
    // What clients do wrong is theirs to notice; the access log has it. An upstream that closes a connection in good
    // order, or wants the other version, does nothing wrong.
    const isOrderly = !final && error.unprocessed && error.type !== "stream_reset";
    if (source === "downstream" || isOrderly) {
      const what = final ? "Request failed" : "Attempt failed, trying again";
      this.#log.debug(literal(`${what}: ${summary}: ${error.explain()}`));
      return;
    }
    const left = this.#limit.admit();
    if (left < 0) return;
    const peer = exchange.peer === null ? "" : `, peer ${exchange.peer.label}`;
    const text = `${
      final ? "Request failed" : "Attempt failed, trying again"
    }: ${summary}: ${error.explain()} (source ${source}${peer}, attempt ${exchange.attempt})`;
    const fields = { request_id: exchange.id, ...(left > 0 ? { lines_left_out: left } : {}) };
    if (final && source === "internal" && error.status >= 500) {
      this.#log.error(literal(text), fields);
    } else this.#log.warn(literal(text), fields);
  }

  /** A hook has failed; the request may go on all the same. */
  hookFailed(plugin: string, phase: PhaseName, error: ProxyError): void {
    const left = this.#limit.admit();
    if (left < 0) return;
    this.#log.warn(`Plugin ${plugin} failed in ${phase}: ${literal(error.explain())}`, {
      plugin,
      phase,
      ...(left > 0 ? { lines_left_out: left } : {}),
    });
  }

  /** The members of an upstream group, or who of them serves, have changed. */
  groupChanged(group: string, event: GroupEvent): void {
    switch (event.kind) {
      case "panic":
        this.#log.warn(
          `Upstream ${group}: too few members are usable; their health is ignored until more are`,
          { upstream: group, usable: event.usable, total: event.total },
        );
        break;
      case "panic_over":
        this.#log.info(`Upstream ${group}: enough members are usable again`, { upstream: group });
        break;
      case "tier":
        this.#log.warn(
          event.priority === null
            ? `Upstream ${group}: no member can serve`
            : `Upstream ${group}: members of priority ${event.priority} serve`,
          { upstream: group, before: event.before },
        );
        break;
      case "members":
        this.#log.info(`Upstream ${group}: other members`, {
          upstream: group,
          added: event.added.slice(0, 20),
          removed: event.removed.slice(0, 20),
        });
        break;
    }
  }

  /** A member of a group has become usable or unusable. */
  healthChanged(event: HealthEvent): void {
    const good = event.kind === "healthy" || event.kind === "returned" || event.kind === "enabled";
    const text = literal(`Upstream ${event.group}: ${event.id} is ${event.kind}: ${event.reason}`);
    const fields = {
      upstream: event.group,
      endpoint: event.id,
      ...(event.duration > 0 ? { ms: Math.round(event.duration) } : {}),
    };
    if (good) this.#log.info(text, fields);
    else this.#log.warn(text, fields);
  }

  /** The circuit breaker of a group has opened, closed, or lets probes through. */
  breakerChanged(group: string, state: BreakerState): void {
    const text = `Upstream ${group}: circuit breaker is ${state.replace("_", " ")}`;
    if (state === "open") this.#log.warn(text, { upstream: group });
    else this.#log.info(text, { upstream: group });
  }

  /** Requests of an edition before the one that serves were cut: too many editions had some left. */
  editionCut(edition: number, requests: number, most: number): void {
    this.#log.warn(
      `Cut ${requests} requests and tunnels that an older config still had: more than server.max_retired_editions (${most}) editions of it had some left`,
      { edition, requests },
    );
  }

  /** A listener cannot accept, or a connection could not be taken on. */
  listenerFailed(listener: string, error: ProxyError): void {
    this.#log.error(`Listener ${listener}: ${literal(error.explain())}`, { listener });
  }

  /** A plugin gave no certificate that can be shown, or could not be asked. */
  certificateFailed(listener: string, error: ProxyError): void {
    const left = this.#limit.admit();
    if (left < 0) return;
    this.#log.warn(`Listener ${listener}: ${literal(error.explain())}`, {
      listener,
      ...(left > 0 ? { lines_left_out: left } : {}),
    });
  }

  /** A connection was closed before it carried a request: for its PROXY header, its handshake, or by a hook. */
  connectionRefused(listener: string, error: ProxyError): void {
    this.#log.debug(`Listener ${listener}: ${literal(error.explain())}`, { listener });
    const counts = this.#refused.get(listener) ?? new RefusalCounts();
    this.#refused.set(listener, counts);
    const text = counts.add(error.type);
    if (text !== null) this.#log.info(`Listener ${listener}: ${text}`, { listener });
  }

  #fillConnection({ remote, relay = remote, tls }: ConnectionFacts): void {
    const record = this.#record;
    record.peerAddress = relay.kind === "tcp" ? relay.host : "";
    record.tls = tls;
    record.clientPort = remote.kind === "tcp" ? remote.port : 0;
  }
}

/** Lets so many lines a second pass: clients must not be able to fill a disk with our own words. */
class LineLimit {
  readonly #perSecond: number;
  #second = 0;
  #used = 0;
  #left = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** How many lines were left out since the last one, or `-1` to leave this one out, too. */
  admit(): number {
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#used = 0;
    }
    if (this.#used >= this.#perSecond) {
      this.#left++;
      return -1;
    }
    this.#used++;
    const left = this.#left;
    this.#left = 0;
    return left;
  }
}
