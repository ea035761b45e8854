/**
 * Groups of peers, and which of a group is next.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { createPeer, type Peer, type PeerOptions, type PeerTls } from "../connector/peer.ts";
import type { PeerSpec } from "../plugin/session.ts";
import { formatAddress, parseAddress } from "../transport/address.ts";

/** A peer and its share of the requests. */
export interface WeightedPeer {
  readonly peer: Peer;
  readonly weight: number;
}

/** How the peers of a group take turns; both heed the weights. */
export type Policy = "round_robin" | "random";

/** A named set of peers. */
export class UpstreamGroup {
  readonly name: string;
  readonly #members: readonly WeightedPeer[];
  readonly #policy: Policy;
  readonly #current: number[];

  constructor(name: string, members: readonly WeightedPeer[], policy: Policy = "round_robin") {
    this.name = name;
    this.#members = members;
    this.#policy = policy;
    this.#current = members.map(() => 0);
  }

  get members(): readonly WeightedPeer[] {
    return this.#members;
  }

  /**
   * The next peer.
   *
   * @param tried Peers that have failed this request; they come again only when all have.
   * @returns `null` if every weight is zero.
   */
  pick(tried: ReadonlySet<Peer> | null): Peer | null {
    const members = this.#members;
    if (members.length === 1) return members[0]!.weight > 0 ? members[0]!.peer : null;
    const peer = this.#policy === "random" ? this.#draw(tried) : this.#turn(tried);
    if (peer === null && tried !== null && tried.size > 0) return this.pick(null);
    return peer;
  }

  /** Smooth weighted round robin, as nginx does it: heavier peers come more often, and evenly spread. */
  #turn(tried: ReadonlySet<Peer> | null): Peer | null {
    const members = this.#members;
    let best = -1;
    let total = 0;
    for (let i = 0; i < members.length; i++) {
      const { peer, weight } = members[i]!;
      if (weight === 0 || tried?.has(peer)) continue;
      total += weight;
      this.#current[i]! += weight;
      if (best < 0 || this.#current[i]! > this.#current[best]!) best = i;
    }
    if (best < 0) return null;
    this.#current[best]! -= total;
    return members[best]!.peer;
  }

  #draw(tried: ReadonlySet<Peer> | null): Peer | null {
    let total = 0;
    for (const { peer, weight } of this.#members) if (!tried?.has(peer)) total += weight;
    let left = Math.random() * total;
    for (const { peer, weight } of this.#members) {
      if (weight === 0 || tried?.has(peer)) continue;
      left -= weight;
      if (left < 0) return peer;
    }
    return null;
  }
}

/** What a group is made from. */
export interface GroupParts {
  readonly name: string;
  readonly policy: "round_robin" | "weighted" | "random";
  readonly endpoints: readonly { readonly address: Peer["address"]; readonly weight: number }[];
  readonly tls: PeerTls | null;
  readonly options: PeerOptions;
}

/** All groups of a service worker, and peers that plugins name. */
export class UpstreamGroups {
  readonly #groups = new Map<string, UpstreamGroup>();
  /** Peers by what a plugin named them as; bounded, because a plugin may name any number. */
  readonly #named = new Map<string, Peer>();
  readonly #options: PeerOptions;

  /** @param options For peers that plugins name. */
  constructor(groups: readonly GroupParts[], options: PeerOptions) {
    this.#options = options;
    for (const { name, policy, endpoints, tls, options } of groups) {
      const members = endpoints.map(({ address, weight }) => {
        // A name to check is not asked of the operator when the address already is one.
        const named = tls !== null && tls.serverName === "" && address.kind === "tcp"
          ? { ...tls, serverName: address.host }
          : tls;
        return { peer: createPeer({ group: name, address, tls: named, options }), weight };
      });
      this.#groups.set(
        name,
        new UpstreamGroup(name, members, policy === "random" ? "random" : "round_robin"),
      );
    }
  }

  /** A group by name. */
  get(name: string): UpstreamGroup | undefined {
    return this.#groups.get(name);
  }

  /**
   * What a plugin's `upstreamPeer` returned, as a peer.
   *
   * @throws {ProxyError} If it names nothing that can be reached.
   */
  resolve(choice: string | PeerSpec, tried: ReadonlySet<Peer> | null): Peer {
    if (typeof choice === "string") {
      const group = this.#groups.get(choice);
      if (group !== undefined) return pickFrom(group, tried);
      return this.#namedPeer({ address: choice });
    }
    return this.#namedPeer(choice);
  }

  #namedPeer(spec: PeerSpec): Peer {
    const { address, tls } = spec;
    const serverName = typeof tls === "object" ? tls.serverName ?? "" : "";
    const key = JSON.stringify([address, tls !== undefined && tls !== false, serverName]);
    const known = this.#named.get(key);
    if (known !== undefined) return known;
    const parsed = parseAddress(String(address));
    if (typeof parsed === "string") {
      throw new ProxyError(
        "no_upstream",
        `Cannot use the peer of upstreamPeer: ${
          JSON.stringify(address)
        } is neither an upstream group nor an address (${parsed})`,
        { source: "internal", status: 500 },
      );
    }
    const peer = createPeer({
      address: parsed,
      tls: tls === undefined || tls === false ? null : {
        serverName: serverName || (parsed.kind === "tcp" ? parsed.host : formatAddress(parsed)),
        alternativeName: null,
        verify: true,
        verifyHostname: true,
        ca: null,
        clientCertificate: null,
      },
      options: this.#options,
    });
    if (this.#named.size >= 1024) this.#named.clear();
    this.#named.set(key, peer);
    return peer;
  }
}

/**
 * The next peer of a group.
 *
 * @throws {ProxyError} `no_upstream` if all its weights are zero.
 */
export function pickFrom(group: UpstreamGroup, tried: ReadonlySet<Peer> | null): Peer {
  const peer = group.pick(tried);
  if (peer !== null) return peer;
  throw new ProxyError(
    "no_upstream",
    `Cannot choose a peer: every endpoint of upstream "${group.name}" has weight 0`,
    { source: "upstream" },
  );
}
