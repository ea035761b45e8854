/**
 * Members by priority: which tier serves, and who of it is next.
 *
 * The first tier of which enough is usable serves. If there is none, more is wrong than single members, or the health
 * checks are: then the tier of which most is usable serves with all its members, whatever their health.
 *
 * @module
 */
import type { Backend } from "./backend.ts";
import type { Member } from "./member.ts";
import type { Candidates, Selection } from "./selection/selection.ts";

interface Tier {
  readonly priority: number;
  readonly selection: Selection;
  members: readonly Member[];
  weights: Float64Array;
  shares: Float64Array;
  /** Weight of those that are wanted, and of those of them that are usable. */
  total: number;
  usable: number;
}

/** Members in tiers, each with its own selection. */
export class Tiers {
  readonly #make: () => Selection;
  #tiers: readonly Tier[] = [];
  /** In the order they are asked: the serving one, then the others that have somebody to offer. */
  #order: readonly Tier[] = [];
  #panic = false;

  /** @param make Makes the selection of a tier. */
  constructor(make: () => Selection) {
    this.#make = make;
  }

  /** Whether health is ignored because in no tier enough members are usable. */
  get panic(): boolean {
    return this.#panic;
  }

  /** Priority of the serving tier, or `null` if nobody can serve. */
  get serving(): number | null {
    return this.#order[0]?.priority ?? null;
  }

  /** Weight of all members that are wanted, over all tiers, and of those of them that are usable. */
  get weights(): { readonly total: number; readonly usable: number } {
    let total = 0;
    let usable = 0;
    for (const tier of this.#tiers) {
      total += tier.total;
      usable += tier.usable;
    }
    return { total, usable };
  }

  /** Takes another set of members. `refresh` must follow. */
  update(members: readonly Member[]): void {
    const byPriority = new Map<number, Member[]>();
    for (const member of members) {
      const { priority } = member.endpoint;
      const tier = byPriority.get(priority);
      if (tier === undefined) byPriority.set(priority, [member]);
      else tier.push(member);
    }
    const before = new Map(this.#tiers.map((tier) => [tier.priority, tier]));
    this.#tiers = [...byPriority].sort(([a], [b]) => a - b).map(([priority, members]) => {
      const tier = before.get(priority);
      return {
        priority,
        selection: tier?.selection ?? this.#make(),
        members,
        // Of no length, so that `refresh` finds them changed.
        weights: new Float64Array(0),
        shares: new Float64Array(0),
        total: 0,
        usable: 0,
      };
    });
  }

  /**
   * Takes in what has changed about the members: weights, health, what an operator has set.
   *
   * @param threshold Share of a tier's weight, 0 to 1, that must be usable for it to serve.
   */
  refresh(threshold: number): void {
    for (const tier of this.#tiers) {
      tier.total = 0;
      tier.usable = 0;
      for (const member of tier.members) {
        if (!member.wanted) continue;
        tier.total += member.weight;
        if (member.usable) tier.usable += member.weight;
      }
    }
    const wanted = this.#tiers.filter(({ total }) => total > 0);
    let serving = wanted.find(({ usable, total }) => usable > 0 && usable / total >= threshold);
    // With a threshold of 0 the operator would rather refuse than ask somebody who is down.
    this.#panic = serving === undefined && threshold > 0 && wanted.length > 0;
    if (this.#panic) {
      serving = wanted[0]!;
      for (const tier of wanted) {
        if (tier.usable / tier.total > serving.usable / serving.total) serving = tier;
      }
    }
    for (const tier of this.#tiers) share(tier, this.#panic);
    this.#order = serving === undefined ? [] : [
      serving,
      ...wanted.filter((tier) => tier !== serving && (this.#panic || tier.usable > 0)),
    ];
  }

  /** The next member: of the serving tier, or when all of it were tried, of another. `null` if all were. */
  pick(key: string | null, tried: ReadonlySet<Backend> | null): Backend | null {
    const order = this.#order;
    for (let i = 0; i < order.length; i++) {
      const backend = order[i]!.selection.pick(key, tried);
      if (backend !== null) return backend;
    }
    return null;
  }
}

/** Gives the selection of a tier what its members may have now, and tells it only what has changed. */
function share(tier: Tier, panic: boolean): void {
  const { members } = tier;
  const isNew = tier.weights.length !== members.length;
  if (isNew) {
    tier.weights = new Float64Array(members.length);
    tier.shares = new Float64Array(members.length);
  }
  let weightsChanged = isNew;
  let sharesChanged = false;
  for (let i = 0; i < members.length; i++) {
    const member = members[i]!;
    const weight = member.weight;
    const part = !member.wanted ? 0 : panic ? 1 : member.usable ? member.factor : 0;
    if (tier.weights[i] !== weight) {
      tier.weights[i] = weight;
      weightsChanged = true;
    }
    if (tier.shares[i] !== weight * part) {
      tier.shares[i] = weight * part;
      sharesChanged = true;
    }
  }
  if (weightsChanged) {
    const candidates: Candidates = {
      backends: members,
      weights: tier.weights,
      shares: tier.shares,
    };
    tier.selection.update(candidates);
  } else if (sharesChanged) tier.selection.refresh();
}
