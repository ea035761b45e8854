/**
 * Whom a request can go to: the groups of the config at work in this service worker, and peers that plugins name.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import type { Backend, Outcome } from "../balancer/backend.ts";
import type { SelectionInput, UpstreamGroup } from "../balancer/group.ts";
import type { Breaker, BreakerOutcome } from "../connector/breaker.ts";
import { createPeer, type Peer, type PeerOptions } from "../connector/peer.ts";
import type { PeerChoice, PeerHttp2, PeerSpec } from "../plugin/session.ts";
import { formatAddress, parseAddress } from "../transport/address.ts";

/** A group and what guards it. */
export interface Upstream {
  readonly group: UpstreamGroup;
  readonly breaker: Breaker | null;
}

/**
 * Takes note of how an attempt ended.
 *
 * @param group Name of the group; empty for a peer that a plugin named.
 */
export type AttemptListener = (group: string, outcome: Outcome) => void;

/** A peer that was chosen for an attempt. `settle` must follow exactly once. */
export class Choice {
  readonly peer: Peer;
  /** `null` for a peer that a plugin named. */
  readonly backend: Backend | null;
  readonly #upstream: Upstream | null;
  readonly #ticket: number;
  readonly #onSettled: AttemptListener | null;
  #settled = false;

  constructor(
    peer: Peer,
    upstream: Upstream | null,
    backend: Backend | null,
    ticket: number,
    onSettled: AttemptListener | null,
  ) {
    this.peer = peer;
    this.backend = backend;
    this.#upstream = upstream;
    this.#ticket = ticket;
    this.#onSettled = onSettled;
  }

  /** The group it was chosen from. */
  get group(): UpstreamGroup | null {
    return this.#upstream?.group ?? null;
  }

  /**
   * Takes a place among those who wait for a connection; `stopWaiting` gives it back.
   *
   * @throws {ProxyError} `connection_limit` if the breaker lets no more wait.
   */
  startWaiting(): void {
    const breaker = this.#upstream?.breaker ?? null;
    if (breaker === null || breaker.enterPending()) return;
    throw new ProxyError(
      "connection_limit",
      `Cannot wait for a connection to ${this.peer.label}: as many wait as may`,
      { source: "upstream" },
    );
  }

  stopWaiting(): void {
    this.#upstream?.breaker?.leavePending();
  }

  /** Says how the attempt ended: to the counts, the health and the breaker of the group. */
  settle(outcome: Outcome): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#onSettled?.(this.#upstream?.group.name ?? "", outcome);
    if (this.#upstream === null || this.backend === null) return;
    this.#upstream.group.end(this.backend, outcome);
    this.#upstream.breaker?.exit(this.#ticket, verdict(outcome));
  }
}

function verdict({ kind, status }: Outcome): BreakerOutcome {
  if (kind === "cancelled") return "cancelled";
  return kind === "answered" && status < 500 ? "success" : "failure";
}

/** Peers that plugins may have named; more make the oldest forgotten. */
const MOST_NAMED = 1024;

/** All groups of a service worker, and peers that plugins name. */
export class Upstreams {
  readonly #upstreams: ReadonlyMap<string, Upstream>;
  readonly #named = new Map<string, Peer>();
  readonly #options: PeerOptions;
  readonly #onSettled: AttemptListener | null;

  /**
   * @param upstreams By the name of the group.
   * @param options For peers that plugins name.
   * @param onSettled Told once for each attempt, when it ends or has come as far as its response head.
   */
  constructor(
    upstreams: ReadonlyMap<string, Upstream>,
    options: PeerOptions,
    onSettled: AttemptListener | null = null,
  ) {
    this.#upstreams = upstreams;
    this.#options = options;
    this.#onSettled = onSettled;
  }

  get(name: string): Upstream | undefined {
    return this.#upstreams.get(name);
  }

  /** All groups. */
  get all(): Iterable<Upstream> {
    return this.#upstreams.values();
  }

  /**
   * Chooses a backend of a group.
   *
   * @param tried Backends that have failed this request.
   * @throws {ProxyError} `no_upstream` if nobody can be asked, `circuit_open` if the breaker lets nobody in.
   */
  choose(name: string, input: SelectionInput, tried: ReadonlySet<Backend> | null): Choice {
    const upstream = this.#upstreams.get(name);
    if (upstream === undefined) throw unknown(name);
    const ticket = enter(upstream);
    const backend = upstream.group.select(input, tried);
    if (backend === null) {
      upstream.breaker?.exit(ticket, "cancelled");
      throw new ProxyError(
        "no_upstream",
        `Cannot choose a backend: ${upstream.group.emptyReason()}`,
        { source: "upstream" },
      );
    }
    return this.#begin(upstream, backend, ticket);
  }

  /**
   * What a plugin's `upstreamPeer` returned, as a choice.
   *
   * @throws {ProxyError} If it names nothing that can be reached.
   */
  resolve(
    choice: string | PeerSpec | PeerChoice,
    input: SelectionInput,
    tried: ReadonlySet<Backend> | null,
  ): Choice {
    if (typeof choice === "string") {
      return this.#upstreams.has(choice)
        ? this.choose(choice, input, tried)
        : this.#namedChoice({ address: choice });
    }
    if (!("upstream" in choice)) return this.#namedChoice(choice);
    if (choice.backend === undefined) {
      return this.choose(choice.upstream, {
        head: input.head,
        clientAddress: input.clientAddress,
        hashValue: choice.hashValue ?? input.hashValue,
        subset: choice.subset ?? input.subset,
      }, tried);
    }
    const upstream = this.#upstreams.get(choice.upstream);
    if (upstream === undefined) throw unknown(choice.upstream);
    const backend = upstream.group.find(choice.backend);
    if (backend === null) {
      throw new ProxyError(
        "no_upstream",
        `Cannot use the backend of upstreamPeer: ${
          JSON.stringify(choice.backend)
        } is no member of upstream "${choice.upstream}"`,
        { source: "internal", status: 500 },
      );
    }
    return this.#begin(upstream, backend, enter(upstream));
  }

  #begin(upstream: Upstream, backend: Backend, ticket: number): Choice {
    upstream.group.begin(backend);
    return new Choice(backend.peer, upstream, backend, ticket, this.#onSettled);
  }

  #namedChoice(spec: PeerSpec): Choice {
    return new Choice(this.#namedPeer(spec), null, null, 0, this.#onSettled);
  }

  #namedPeer(spec: PeerSpec): Peer {
    const { address, tls, protocol = "h1", http2 = {} } = spec;
    const serverName = typeof tls === "object" ? tls.serverName ?? "" : "";
    const encrypted = tls !== undefined && tls !== false;
    const key = JSON.stringify([address, encrypted, serverName, protocol, http2]);
    const known = this.#named.get(key);
    if (known !== undefined) return known;
    const parsed = parseAddress(String(address));
    if (typeof parsed === "string") {
      throw unusable(
        `${JSON.stringify(address)} is neither an upstream group nor an address (${parsed})`,
      );
    }
    const wrong = wrongProtocol(protocol, encrypted, http2);
    if (wrong !== null) throw unusable(wrong);
    const peer = createPeer({
      address: parsed,
      tls: !encrypted ? null : {
        ...NAMED_TLS,
        serverName: serverName || (parsed.kind === "tcp" ? parsed.host : formatAddress(parsed)),
      },
      options: { ...this.#options, protocol, http2 },
    });
    if (this.#named.size >= MOST_NAMED) this.#named.delete(this.#named.keys().next().value!);
    this.#named.set(key, peer);
    return peer;
  }
}

/** Why a peer cannot be spoken to as a plugin wants it, or `null`. */
function wrongProtocol(protocol: string, encrypted: boolean, http2: PeerHttp2): string | null {
  if (protocol === "h2" && !encrypted) return "protocol h2 needs tls; without it, write h2c";
  if (protocol === "h2c" && encrypted) return "protocol h2c is clear text; with tls, write h2";
  const { maxStreams = 1, pingTimeout = 1, streamWindow = 65_535 } = http2;
  if (maxStreams < 1) return "http2.maxStreams must be 1 or more";
  if (pingTimeout < 1) return "http2.pingTimeout must be 1 or more";
  if (streamWindow < 65_535 || streamWindow > 0x7fff_ffff) {
    return "http2.streamWindow must be 65535 to 2147483647";
  }
  return null;
}

function unusable(why: string): ProxyError {
  return new ProxyError("no_upstream", `Cannot use the peer of upstreamPeer: ${why}`, {
    source: "internal",
    status: 500,
  });
}

/** What holds for TLS to a peer that a plugin named: everything is checked. */
const NAMED_TLS = {
  alternativeName: null,
  verify: true,
  verifyHostname: true,
  ca: null,
  clientCertificate: null,
} as const;

function unknown(name: string): ProxyError {
  return new ProxyError("no_upstream", `Cannot choose a backend: there is no upstream "${name}"`, {
    source: "internal",
    status: 500,
  });
}

/** A ticket of the breaker, `0` if there is none. */
function enter({ breaker, group }: Upstream): number {
  if (breaker === null) return 0;
  const ticket = breaker.enter();
  if (typeof ticket === "number") return ticket;
  throw new ProxyError(
    "circuit_open",
    ticket === "open"
      ? `Cannot use upstream "${group.name}": its circuit breaker is open`
      : `Cannot use upstream "${group.name}": it has as many requests as it may have at a time`,
    { source: "upstream", retryAfter: breaker.retryAfter },
  );
}
