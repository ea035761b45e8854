/**
 * Listens to a discovery and lets a test wait for what it tells.
 *
 * @module
 */
import type { ProxyError } from "../../../src/base/error.ts";
import { TimerWheel } from "../../../src/base/timer_wheel.ts";
import type { Endpoint } from "../../../src/balancer/backend.ts";
import type {
  Discovery,
  DiscoveryEvents,
  DiscoveryTools,
} from "../../../src/balancer/discovery/discovery.ts";
import { UPSTREAM_LIMITS } from "../../../src/http/limits.ts";
import { CHUNK_LIMITS } from "../../../src/http1/limits.ts";
import { formatAddress } from "../../../src/transport/address.ts";
import { eventually } from "../../support/deadline.ts";

/** Endpoints in short: `10.0.0.1:80`, with `*weight`, `^priority` and labels where they are not the usual ones. */
export function show(endpoints: readonly Endpoint[]): string {
  return endpoints.map(({ address, weight, priority, labels }) => {
    const more = Object.entries(labels).map(([name, value]) => `{${name}=${value}}`).join("");
    return formatAddress(address) + (weight === 1 ? "" : `*${weight}`) +
      (priority === 0 ? "" : `^${priority}`) + more;
  }).join(" ");
}

/** Keeps what is told, in order. */
export class Listener implements DiscoveryEvents {
  readonly told: string[] = [];
  endpoints: readonly Endpoint[] = [];
  error: ProxyError | null = null;

  onUpdate(endpoints: readonly Endpoint[]): void {
    this.endpoints = endpoints;
    this.told.push(`update ${show(endpoints)}`);
  }

  onError(error: ProxyError): void {
    this.error = error;
    this.told.push(`error ${error.type}`);
  }

  onRecovered(): void {
    this.told.push("recovered");
  }

  /** Waits until as many things as this were told, and gives the last. */
  async nth(count: number): Promise<string> {
    await eventually(
      () => this.told.length >= count,
      `event ${count}; told so far: ${this.told.join("; ")}`,
    );
    return this.told[count - 1]!;
  }
}

/** Waits until a source has given so many good answers or failures in all. */
export class Answers {
  readonly #discovery: Discovery;
  #successes = 0;

  constructor(discovery: Discovery, tools: TestTools) {
    this.#discovery = discovery;
    tools.onDate = () => this.#successes++;
  }

  async successes(count: number): Promise<void> {
    await eventually(() => this.#successes >= count, `${count} good answers`);
  }

  async failures(count: number): Promise<void> {
    await eventually(() => this.#discovery.state().failures >= count, `${count} failures`);
  }
}

/** What a discovery works with in a test; with a wheel of its own, which must be empty in the end. */
export class TestTools implements DiscoveryTools, Disposable {
  readonly wheel: TimerWheel = new TimerWheel({ tick: 5 });
  readonly clearTextEngine = "deno";
  readonly limits = UPSTREAM_LIMITS;
  readonly chunkLimits = CHUNK_LIMITS;
  readonly random: () => number = () => 0;
  onDate: () => void = () => {};
  readonly date: () => number = () => {
    this.onDate();
    return Date.now();
  };

  [Symbol.dispose](): void {
    const { size } = this.wheel;
    this.wheel.close();
    if (size > 0) throw new Error(`${size} deadlines were left in the wheel`);
  }
}
