/**
 * Parts of a group by label.
 *
 * @module
 */
import type { Member } from "./member.ts";
import type { Selection } from "./selection/selection.ts";
import { Tiers } from "./tiers.ts";

/** Labels that a member must bear, all of them, to be in a subset: `{ zone: "a" }`. */
export type Labels = Readonly<Record<string, string>>;

/** Most subsets with tables of their own. A plugin may take labels from what a client sent. */
const MAX_SUBSETS = 64;

interface Subset {
  readonly labels: Labels;
  readonly tiers: Tiers;
  epoch: number;
}

/** The subsets of a group that have been asked for. */
export class Subsets {
  readonly #make: () => Selection;
  readonly #threshold: number;
  readonly #known = new Map<string, Subset>();
  #members: readonly Member[] = [];
  #lastLabels: Labels | null = null;
  #last: Subset | null = null;

  constructor(make: () => Selection, threshold: number) {
    this.#make = make;
    this.#threshold = threshold;
  }

  /** Takes another set of members. */
  update(members: readonly Member[]): void {
    this.#members = members;
    this.#lastLabels = null;
    for (const [key, subset] of this.#known) {
      const part = members.filter((member) => bears(member, subset.labels));
      if (part.length === 0) this.#known.delete(key);
      else subset.tiers.update(part);
      subset.epoch = -1;
    }
  }

  /**
   * The tiers of a subset, up to date.
   *
   * @param epoch Number of the last change to any member.
   * @returns `null` if no member bears the labels, or too few of those that do are usable: then all are to be asked.
   */
  find(labels: Labels, epoch: number): Tiers | null {
    const subset = labels === this.#lastLabels ? this.#last : this.#lookUp(labels);
    if (subset === null) return null;
    if (subset.epoch !== epoch) {
      subset.tiers.refresh(this.#threshold);
      subset.epoch = epoch;
    }
    return subset.tiers.panic ? null : subset.tiers;
  }

  #lookUp(labels: Labels): Subset | null {
    const key = JSON.stringify(Object.entries(labels).sort(([a], [b]) => a < b ? -1 : 1));
    let subset = this.#known.get(key) ?? null;
    if (subset === null) {
      const members = this.#members.filter((member) => bears(member, labels));
      if (members.length > 0) {
        subset = { labels: { ...labels }, tiers: new Tiers(this.#make), epoch: -1 };
        subset.tiers.update(members);
        if (this.#known.size >= MAX_SUBSETS) {
          this.#known.delete(this.#known.keys().next().value!);
        }
        this.#known.set(key, subset);
      }
    }
    // Labels of the configuration are the same object each time. A plugin's are not, and could be changed by it, but
    // then not while they are frozen.
    if (Object.isFrozen(labels)) {
      this.#lastLabels = labels;
      this.#last = subset;
    }
    return subset;
  }
}

function bears({ endpoint }: Member, labels: Labels): boolean {
  for (const name in labels) if (endpoint.labels[name] !== labels[name]) return false;
  return true;
}
