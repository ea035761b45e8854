/**
 * The state of one request: both its sides and what was decided on the way.
 *
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { ProxyError } from "../base/error.ts";
import { Deadline, type TimerWheel } from "../base/timer_wheel.ts";
import type { Peer } from "../connector/peer.ts";
import type { ModuleRuns } from "../modules/module.ts";
import type { Fields } from "../http/fields.ts";
import type { RequestHead, ResponseHead } from "../http/message.ts";
import type { DownstreamSession, UpstreamSession } from "../http/session.ts";
import type { PhaseHandler } from "../plugin/handler.ts";
import type { Cloneable, Outcome } from "../plugin/session.ts";
import type { Backend } from "../balancer/backend.ts";
import type { SelectionInput } from "../balancer/group.ts";
import type { GrpcCall } from "./grpc_call.ts";
import { HookSession, type HookSource } from "./hook_session.ts";
import { EMPTY_PLAN, type Plan } from "./plan.ts";
import { checkHost, type HostPolicy } from "./host_check.ts";
import { clientAddress, type ForwardPolicy, makeUpstreamRequest } from "./request_path.ts";
import { RequestContent } from "./request_content.ts";
import type { Route } from "./route.ts";
import type { TunnelGate } from "./tunnel_gate.ts";
import type { TunnelRecord } from "./tunnel_record.ts";
import type { Choice } from "./upstreams.ts";

let lastKey = 0;

/** What an exchange needs from its listener. */
export interface ExchangeOptions {
  readonly forward: ForwardPolicy;
  /** Most bytes that `readBody` may hold. */
  readonly bodyBuffer: number;
  /** What TLS connections of the listener may be used for; `null` on a listener without TLS. */
  readonly hosts?: HostPolicy | null;
  /** Places for tunnels; default: as many as are wanted. */
  readonly tunnels?: TunnelGate;
}

/** One request on its way through the phases. */
export class Exchange implements HookSource, SelectionInput {
  readonly downstream: DownstreamSession;
  readonly content: RequestContent;
  /** The request decides for itself where it goes, unless a hook says otherwise. */
  readonly hashValue: null = null;
  readonly subset: null = null;
  readonly #options: ExchangeOptions;
  plan: Plan = EMPTY_PLAN;
  route: Route | null = null;
  attempt = 0;
  /** Backends that have failed this request. */
  tried: Set<Backend> | null = null;
  /** Whether the next attempt leaves the pool alone: a pooled connection has just turned out to be dead. */
  fresh = false;
  /** Attempts that only made good for a pooled connection that had turned out to be dead. */
  replays = 0;
  peer: Peer | null = null;
  /** Whom the attempt goes to, as a member of its group. */
  choice: Choice | null = null;
  upstream: UpstreamSession | null = null;
  /** The response on its way to the client. */
  response: ResponseHead | null = null;
  trailers: Fields | null = null;
  vars: Map<string, Cloneable> | null = null;
  answeredBy = "";
  skippers: Set<PhaseHandler> | null = null;
  /** What `allowSpawningSubrequest` said. */
  maySpawnSubrequests = false;
  /** The group that a split has drawn for this request. */
  splitGroup: string | null = null;
  /** The modules that are concerned with it. */
  modules: ModuleRuns | null = null;
  /** The gRPC call that it is, if it is one. */
  grpc: GrpcCall | null = null;
  /** Why it must be over, though its client is still there. */
  expired: ProxyError | null = null;
  /** What goes through the tunnel that the response has opened, if it has. */
  tunnel: TunnelRecord | null = null;
  /** The key that the upstream has to prove it has read, when the client has none; else empty. */
  webSocketKey = "";
  /** How many others were asked because an answer was late. */
  hedges = 0;
  /** Why it failed, if it did. */
  error: ProxyError | null = null;
  /** Status that the upstream sent, before any hook changed it. */
  upstreamStatus = 0;
  /** Milliseconds from asking for the connection to having it, in the last attempt. */
  connectTime = 0;
  /** `performance.now()` when the last attempt began, and when its head was there. */
  attemptAt = 0;
  firstByteAt = 0;
  #draft: RequestHead | null = null;
  #attemptRequest: RequestHead | null = null;
  #hooks: HookSession | null = null;
  #uploadHooks: HookSession | null = null;
  #key = 0;
  #id = "";
  #clientAddress: string | null = null;
  #abort: AbortController | null = null;
  #finished = 0;
  /** Where it has a place, if it wants to become a tunnel. */
  #tunnelGate: TunnelGate | null = null;
  #time: { readonly wheel: TimerWheel; readonly deadline: Deadline } | null = null;

  constructor(downstream: DownstreamSession, options: ExchangeOptions) {
    this.downstream = downstream;
    this.#options = options;
    this.content = new RequestContent(downstream);
  }

  /**
   * Checks that the connection may be used for the host.
   *
   * @throws {ProxyError} `misdirected_request` or `denied`.
   */
  checkHost(): void {
    const { hosts } = this.#options;
    if (hosts) checkHost(this.downstream, hosts);
  }

  /**
   * Takes a place for the tunnel that it is to become, if it asks for one.
   *
   * @throws {ProxyError} `tunnel_limit` if there is none.
   */
  enterTunnels(): void {
    const { tunnels } = this.#options;
    const { upgrade, head } = this.downstream;
    if (tunnels === undefined || (upgrade === "" && head.method !== "CONNECT")) return;
    if (!tunnels.enter()) {
      throw new ProxyError(
        "tunnel_limit",
        `Cannot open a tunnel: the listener has as many as it may have at a time (max_tunnels, ${tunnels.most})`,
        { source: "internal" },
      );
    }
    this.#tunnelGate = tunnels;
  }

  /** The session that hooks get; made for the first one. */
  get hooks(): HookSession {
    return this.#hooks ??= new HookSession(this);
  }

  /** The same for the upload, whose hooks are called while those of the response are. */
  get uploadHooks(): HookSession {
    return this.#uploadHooks ??= new HookSession(this);
  }

  get key(): number {
    if (this.#key === 0) {
      lastKey = lastKey >= 0x7ffffffe ? 1 : lastKey + 1;
      this.#key = lastKey;
    }
    return this.#key;
  }

  get id(): string {
    return this.#id ||= crypto.randomUUID();
  }

  get head(): RequestHead {
    return this.downstream.head;
  }

  get scheme(): string {
    return this.downstream.connection.tls === null ? "http" : "https";
  }

  get routeId(): string | null {
    return this.route?.id ?? null;
  }

  /** The client's address, seen through trusted proxies. */
  get clientAddress(): string {
    return this.#clientAddress ??= clientAddress(this.downstream, this.#options.forward);
  }

  get elapsed(): number {
    return (this.#finished || systemClock.now()) - this.downstream.startedAt;
  }

  /** Aborted when the request is over or its client is gone. */
  get signal(): AbortSignal {
    if (this.#abort === null) {
      this.#abort = new AbortController();
      const why = this.downstream.failure ?? this.expired;
      if (this.#finished > 0 || why !== null) this.#abort.abort(why ?? undefined);
    }
    return this.#abort.signal;
  }

  /** The request as it will go out: the attempt's copy while there is one, else what all attempts begin with. */
  upstreamRequest(): RequestHead {
    return this.#attemptRequest ??
      (this.#draft ??= makeUpstreamRequest(this, this.#options.forward));
  }

  /** Begins an attempt; with `copy`, changes to its request do not outlive it. */
  beginAttempt(copy: boolean): void {
    this.attempt++;
    this.attemptAt = systemClock.now();
    this.firstByteAt = 0;
    this.upstream = null;
    this.choice = null;
    this.peer = null;
    this.skippers = null;
    this.#releaseAttempt();
    if (copy) this.#attemptRequest = this.upstreamRequest().fork();
  }

  /** Tells whoever works for this request that its client is gone. */
  clientGone(error: ProxyError): void {
    this.error ??= error;
    this.#abort?.abort(error);
    this.upstream?.abort(error);
  }

  /** Ends the request with an error if it is not over in `ms` milliseconds. */
  limitTime(wheel: TimerWheel, ms: number, error: () => ProxyError): void {
    const deadline = new Deadline(() => this.expire(error()));
    this.#time = { wheel, deadline };
    wheel.arm(deadline, ms);
  }

  /** Ends the request with an error, though its client is still there. */
  expire(error: ProxyError): void {
    this.expired = error;
    this.#abort?.abort(error);
    this.upstream?.abort(error);
    // A client that does not read holds up whoever would otherwise see the error.
    if (this.downstream.responded) this.downstream.abort(error);
  }

  /** Reads all content, and keeps it for the upstream. */
  async readWholeBody(limit: number = this.#options.bodyBuffer): Promise<Uint8Array> {
    return await this.content.readAll(Math.min(limit, this.#options.bodyBuffer));
  }

  outcome(): Outcome {
    const { error, downstream } = this;
    return {
      status: downstream.status,
      bytesReceived: downstream.bodyBytes,
      bytesSent: downstream.bytesSent,
      attempts: this.attempt,
      duration: this.elapsed,
      error: error &&
        { type: error.type, source: error.source, message: error.message, status: error.status },
    };
  }

  /** Stops the clock: all that is left is to log. */
  finish(): void {
    this.#finished = systemClock.now();
    this.#tunnelGate?.leave();
    this.#tunnelGate = null;
    if (this.#time !== null) this.#time.wheel.cancel(this.#time.deadline);
    this.#abort?.abort();
  }

  /** Gives back what the request borrowed. Hooks that kept the session then see empty fields. */
  release(): void {
    this.#hooks?.release();
    this.#uploadHooks?.release();
    this.#releaseAttempt();
    this.#draft?.release();
    this.response?.fields.release();
    this.content.release();
  }

  #releaseAttempt(): void {
    this.#attemptRequest?.release();
    this.#attemptRequest = null;
  }
}
