/**
 * An upstream group: a named set of backends, and who of them is next.
 *
 * @module
 */
import type { Clock } from "../base/clock.ts";
import type { Peer } from "../connector/peer.ts";
import type { RequestHead } from "../http/message.ts";
import { formatAddress } from "../transport/address.ts";
import type { Backend, Endpoint, Outcome } from "./backend.ts";
import { cookieValue } from "./cookie.ts";
import { observeOutcome } from "./ewma.ts";
import { hashKey, type HashKeySource } from "./hash_key.ts";
import type { HealthView } from "./health_view.ts";
import { LoadBook } from "./load_book.ts";
import { cleanWeight, MAX_WEIGHT, Member } from "./member.ts";
import { type MemberState, memberState } from "./member_state.ts";
import type { Selection } from "./selection/selection.ts";
import { type PolicyName, type SelectionRow, SELECTIONS } from "./selection/table.ts";
import { StickyNames, type StickyOptions } from "./sticky.ts";
import { type Labels, Subsets } from "./subset.ts";
import { Tiers } from "./tiers.ts";

/** What a choice is made by. The group reads it and keeps nothing of it. */
export interface SelectionInput {
  /** The request as it came from downstream; `null` for one of our own, which has neither key nor cookie. */
  readonly head: RequestHead | null;
  /** Address of the client, trusted proxies seen through. */
  readonly clientAddress: string;
  /** What to hash over what `hashKey` of the group says; `null`: that. */
  readonly hashValue: string | null;
  /** Labels to prefer over those of the group; `null`: those. */
  readonly subset: Labels | null;
}

/** What becomes of a group that somebody may want to know. */
export type GroupEvent =
  /** Too few members are usable, health is ignored from now on. Weights, of all members and of the usable ones. */
  | { readonly kind: "panic"; readonly total: number; readonly usable: number }
  | { readonly kind: "panic_over" }
  /** Another tier serves; `null`: none does. */
  | {
    readonly kind: "tier";
    readonly priority: number | null;
    readonly before: number | null;
  }
  /** The set of members has changed. Ids. */
  | {
    readonly kind: "members";
    readonly added: readonly string[];
    readonly removed: readonly string[];
  };

/** What a group is made of. */
export interface UpstreamGroupOptions {
  readonly name: string;
  readonly policy: PolicyName;
  /** For policies that hash; `null`: the address of the client. */
  readonly hashKey: HashKeySource | null;
  readonly endpoints: readonly Endpoint[];
  /** Asked once per member, and again when its endpoint changes. */
  readonly makePeer: (endpoint: Endpoint) => Peer;
  /** For this group alone; see {@linkcode HealthView.onChange}. */
  readonly health: HealthView;
  readonly clock: Clock;
  /** Share of a tier's weight, 0 to 1, that must be usable for it to serve; `0`: the health is never ignored. */
  readonly panicThreshold: number;
  /** Labels to prefer. Default: none. */
  readonly subset?: Labels | null;
  /** Default: sessions are not kept together. */
  readonly sticky?: StickyOptions | null;
  /** The book of the group that this one replaces. Default: an empty one. */
  readonly book?: LoadBook;
  /** Numbers in `[0, 1)`. Default: `Math.random`. */
  readonly random?: () => number;
  /** Told of events; must not throw. Default: nobody. */
  readonly onEvent?: ((event: GroupEvent) => void) | null;
}

/** A named set of backends: chooses among them, counts what they do, follows their health. */
export class UpstreamGroup {
  readonly name: string;
  readonly policy: PolicyName;
  /** What is remembered by id; for the group that replaces this one. */
  readonly book: LoadBook;
  onEvent: ((event: GroupEvent) => void) | null;
  readonly #row: SelectionRow;
  readonly #keySource: HashKeySource;
  readonly #makePeer: (endpoint: Endpoint) => Peer;
  readonly #health: HealthView;
  readonly #onHealth = () => this.#outdated = true;
  readonly #clock: Clock;
  readonly #threshold: number;
  readonly #labels: Labels | null;
  readonly #sticky: StickyNames<Member> | null;
  readonly #tiers: Tiers;
  readonly #subsets: Subsets;
  #members: ReadonlyMap<string, Member> = new Map();
  #outdated = true;
  #closed = false;
  /** Counts the changes, so that subsets see that they are behind. */
  #epoch = 0;
  #panic = false;
  #serving: number | null = null;
  #panics = 0;
  #panicPicks = 0;

  /** @throws {RangeError} If the panic threshold or the sticky options are out of range. */
  constructor(options: UpstreamGroupOptions) {
    const { name, policy, clock, random = Math.random, panicThreshold } = options;
    if (!(panicThreshold >= 0 && panicThreshold <= 1)) {
      throw new RangeError(
        `Cannot make upstream "${name}": the panic threshold must be from 0 to 1, found ${panicThreshold}`,
      );
    }
    this.name = name;
    this.policy = policy;
    this.book = options.book ?? new LoadBook();
    this.onEvent = null;
    this.#row = SELECTIONS[policy];
    this.#keySource = options.hashKey ?? { kind: "client_address" };
    this.#makePeer = options.makePeer;
    this.#health = options.health;
    this.#clock = clock;
    this.#threshold = panicThreshold;
    this.#labels = preferred(options.subset) === null ? null : Object.freeze({ ...options.subset });
    this.#sticky = options.sticky ? new StickyNames(name, options.sticky) : null;
    const make = (): Selection => this.#row.make({ clock, random });
    this.#tiers = new Tiers(make);
    this.#subsets = new Subsets(make, panicThreshold);
    this.update(options.endpoints);
    this.#refresh();
    // The first set of members is no change.
    this.onEvent = options.onEvent ?? null;
    this.#health.onChange = this.#onHealth;
    if (this.#panic) this.#tellPanic();
  }

  /** The members, for health checks and the like. */
  get backends(): readonly Backend[] {
    return [...this.#members.values()];
  }

  /** The members and their state, for people. */
  get members(): readonly MemberState[] {
    if (this.#outdated) this.#refresh();
    return [...this.#members.values()].map((member) => memberState(member, this.#panic));
  }

  /** Whether health is ignored now because too few members are usable. */
  get panic(): boolean {
    if (this.#outdated) this.#refresh();
    return this.#panic;
  }

  /** How often the group has begun to ignore health, and how many requests it chose for meanwhile. */
  get panicCounts(): { readonly times: number; readonly picks: number } {
    return { times: this.#panics, picks: this.#panicPicks };
  }

  /** Priority of the tier that serves now, or `null` if none does. */
  get servingPriority(): number | null {
    if (this.#outdated) this.#refresh();
    return this.#serving;
  }

  /** A member by its id, which is its address as the config spells it; `null` if it is none. */
  find(id: string): Backend | null {
    return this.#members.get(id) ?? null;
  }

  /**
   * The next backend.
   *
   * @param tried Backends that have failed this request; they come again only when all usable ones have.
   * @returns `null` if nobody can be asked; `emptyReason` says why.
   */
  select(input: SelectionInput, tried: ReadonlySet<Backend> | null): Backend | null {
    if (this.#outdated) this.#refresh();
    const skip = tried !== null && tried.size > 0 ? tried : null;
    const key = this.#row.keyed ? this.#keyOf(input) : null;
    let backend = this.#choose(input, key, skip);
    if (backend === null && skip !== null) backend = this.#choose(input, key, null);
    if (this.#panic && backend !== null) this.#panicPicks++;
    return backend;
  }

  /** Says that a request goes to a backend now; `end` must follow exactly once. */
  begin(backend: Backend): void {
    backend.load.inFlight++;
    backend.load.requests++;
  }

  /** Says how it ended. The backend may have left the group meanwhile. */
  end(backend: Backend, outcome: Outcome): void {
    const { load } = backend;
    if (load.inFlight > 0) load.inFlight--;
    if (outcome.kind === "failed" || outcome.kind === "connect_failed") load.failures++;
    if (this.#row.timed) observeOutcome(load, outcome, this.#clock.now());
    if (!this.#closed && this.#members.get(backend.id) === backend) {
      this.#health.record(backend, outcome);
    } else if (load.inFlight === 0) this.book.forget(backend.id);
  }

  /**
   * Replaces the set of members at once. Those that stay keep their counts; requests that run on those that leave are
   * counted down as they end. Endpoints with one and the same address are one member with the sum of the weights.
   *
   * @throws What `makePeer` throws; the set is then as it was.
   */
  update(endpoints: readonly Endpoint[]): void {
    if (this.#closed) return;
    const wanted = merge(endpoints);
    const peers = new Map<string, Peer>();
    for (const [id, endpoint] of wanted) {
      const member = this.#members.get(id);
      if (member === undefined || !sameEndpoint(member.endpoint, endpoint)) {
        peers.set(id, this.#makePeer(endpoint));
      }
    }
    const added: string[] = [];
    const members = new Map<string, Member>();
    for (const [id, endpoint] of wanted) {
      let member = this.#members.get(id);
      const peer = peers.get(id);
      if (member === undefined) {
        member = new Member(id, this.book.acquire(id), endpoint, peer!);
        added.push(id);
      } else if (peer !== undefined) {
        member.endpoint = endpoint;
        member.peer = peer;
      }
      members.set(id, member);
    }
    const removed = [...this.#members.keys()].filter((id) => !members.has(id));
    this.#members = members;
    for (const id of removed) this.book.release(id);
    const list = [...members.values()];
    this.#tiers.update(list);
    this.#subsets.update(list);
    this.#sticky?.update(list);
    this.#outdated = true;
    if (added.length > 0 || removed.length > 0) {
      this.onEvent?.({ kind: "members", added, removed });
    }
  }

  /**
   * Sets a weight over the configured one, until it is set anew; it outlives updates and reloads.
   *
   * @param weight 0 to 65535; `0`: no requests; `null`: the configured one again.
   * @returns `false` if nothing is known of that id.
   * @throws {RangeError} If the weight is none.
   */
  setWeight(id: string, weight: number | null): boolean {
    if (weight !== null && !(Number.isInteger(weight) && weight >= 0 && weight <= MAX_WEIGHT)) {
      throw new RangeError(
        `Cannot set the weight of ${id}: expected a whole number from 0 to ${MAX_WEIGHT}, found ${weight}`,
      );
    }
    const entry = this.book.peek(id);
    if (entry === undefined) return false;
    entry.weight = weight;
    return this.#changed(id);
  }

  /**
   * Takes a member out (`false`), so that it finishes what it has and gets nothing new, or puts it back. It outlives
   * updates and reloads.
   *
   * @returns `false` if nothing is known of that id.
   */
  setEnabled(id: string, enabled: boolean): boolean {
    const entry = this.book.peek(id);
    if (entry === undefined) return false;
    entry.enabled = enabled;
    return this.#changed(id);
  }

  /** What a backend is called in the sticky cookie; `null` without such a cookie, or if it is no member. */
  stickyValue(backend: Backend): string | null {
    return this.#sticky?.valueOf(backend) ?? null;
  }

  /** The member that a value of the sticky cookie names, usable or not; `null` if it names none. */
  fromSticky(value: string): Backend | null {
    return this.#sticky?.find(value) ?? null;
  }

  /**
   * What to send as Set-Cookie with an answer of a backend.
   *
   * @param head The request as it came from downstream.
   * @returns `null` without sticky sessions, or if the client has that cookie already.
   */
  stickyCookie(head: RequestHead, backend: Backend): string | null {
    const sticky = this.#sticky;
    const value = sticky?.valueOf(backend) ?? null;
    if (sticky === null || value === null) return null;
    return cookieValue(head.fields, sticky.cookie) === value ? null : sticky.setCookie(value);
  }

  /** Why `select` returned `null`, for an error message. */
  emptyReason(): string {
    if (this.#members.size === 0) return `upstream "${this.name}" has no endpoints`;
    return [...this.#members.values()].some(({ wanted }) => wanted)
      ? `no endpoint of upstream "${this.name}" is usable`
      : `every endpoint of upstream "${this.name}" has weight 0 or is taken out`;
  }

  /**
   * Lets go of health and book, when another group has taken over. Requests that have begun may still be tried again
   * with the members as they were; `update` does nothing any more.
   */
  close(): void {
    if (this.#closed) return;
    if (this.#outdated) this.#refresh();
    this.#closed = true;
    if (this.#health.onChange === this.#onHealth) this.#health.onChange = null;
    this.onEvent = null;
    for (const id of this.#members.keys()) this.book.release(id);
  }

  #choose(
    input: SelectionInput,
    key: string | null,
    skip: ReadonlySet<Backend> | null,
  ): Backend | null {
    if (this.#sticky !== null) {
      const bound = this.#bound(input, skip);
      if (bound !== null) return bound;
    }
    const labels = preferred(input.subset) ?? this.#labels;
    if (labels !== null) {
      const backend = this.#subsets.find(labels, this.#epoch)?.pick(key, skip) ?? null;
      if (backend !== null) return backend;
    }
    return this.#tiers.pick(key, skip);
  }

  /** The backend that the cookie names, if it can be asked. */
  #bound({ head }: SelectionInput, skip: ReadonlySet<Backend> | null): Backend | null {
    if (head === null) return null;
    const value = cookieValue(head.fields, this.#sticky!.cookie);
    const member = value === null ? null : this.#sticky!.find(value);
    if (member === null || !member.wanted || (!member.usable && !this.#panic)) return null;
    return skip !== null && skip.has(member) ? null : member;
  }

  #keyOf(input: SelectionInput): string | null {
    if (input.hashValue !== null) return input.hashValue;
    return input.head === null ? null : hashKey(this.#keySource, input.head, input.clientAddress);
  }

  #changed(id: string): true {
    this.#outdated = true;
    this.book.forget(id);
    return true;
  }

  /** Asks the health view anew and makes the tables fit. */
  #refresh(): void {
    this.#outdated = false;
    this.#epoch++;
    for (const member of this.#members.values()) {
      member.usable = this.#health.usable(member);
      const factor = this.#health.weightFactor(member);
      member.factor = factor > 0 && factor < 1 ? factor : 1;
    }
    this.#tiers.refresh(this.#threshold);
    const { panic, serving } = this.#tiers;
    const [panicked, before] = [this.#panic, this.#serving];
    this.#panic = panic;
    this.#serving = serving;
    if (panic && !panicked) {
      this.#panics++;
      this.#tellPanic();
    } else if (!panic && panicked) this.onEvent?.({ kind: "panic_over" });
    if (serving !== before) this.onEvent?.({ kind: "tier", priority: serving, before });
  }

  #tellPanic(): void {
    this.onEvent?.({ kind: "panic", ...this.#tiers.weights });
  }
}

/** Labels that ask for something, or `null`. */
function preferred(labels: Labels | null | undefined): Labels | null {
  if (labels === null || labels === undefined) return null;
  for (const _ in labels) return labels;
  return null;
}

/** One endpoint per address, by id, with clean weights. */
function merge(endpoints: readonly Endpoint[]): Map<string, Endpoint> {
  const merged = new Map<string, Endpoint>();
  for (const endpoint of endpoints) {
    const id = formatAddress(endpoint.address);
    const before = merged.get(id);
    const weight = cleanWeight(endpoint.weight);
    merged.set(
      id,
      before === undefined
        ? { ...endpoint, weight }
        : { ...before, weight: Math.min(MAX_WEIGHT, before.weight + weight) },
    );
  }
  return merged;
}

function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  const names = Object.keys(a.labels);
  return a.weight === b.weight && a.priority === b.priority &&
    names.length === Object.keys(b.labels).length &&
    names.every((name) => a.labels[name] === b.labels[name]);
}
