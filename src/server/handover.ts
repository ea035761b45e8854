/**
 * The talk between a process that leaves and the one that takes its place, over a unix socket that only they can open:
 * lines of JSON, one for each step.
 *
 * ```text
 *   old: starts the new process ──▶ new: connects
 *   old: { sockets, … }         ──▶ new: makes everything ready
 *   old: { trafficHealth }      ◀── new: "prepared"
 *   old                         ──▶ new: listens on everything
 *   old: drains and leaves      ◀── new: "ready"
 * ```
 *
 * @module
 */
import type { MemberSetting } from "../service/upstream_runtime.ts";
import type { TrafficHealth } from "../service/traffic_health.ts";
import type { InheritedDescriptor } from "./inherited.ts";

/** The environment variable that has the path of the socket. */
export const HANDOVER_VARIABLE: string = "SLUICE_HANDOVER";

/** What the new process gets. */
export interface HandoverState {
  /** Process id of the one that leaves. */
  readonly pid: number;
  /** Its listening sockets, which the new process has inherited. */
  readonly sockets: readonly InheritedDescriptor[];
  /** Its unix sockets that listen, which the new process may take over. */
  readonly paths: readonly string[];
  /** Key of the sticky cookies that have none of their own. */
  readonly stickySecret: string;
  /** What operators have set. */
  readonly settings: readonly MemberSetting[];
}

/** What the traffic of the workers of each service has shown, by position. */
export type ServicesHealth = Readonly<Record<string, readonly (TrafficHealth | null)[]>>;

/** How the process that leaves says that the new one may serve; one of another version may say something else. */
export interface GoAhead {
  /** As late as can be, because it changes by the moment. */
  readonly trafficHealth?: ServicesHealth;
}

/** Lines both ways. */
export class HandoverLine {
  readonly #connection: Deno.Conn<Deno.Addr>;
  readonly #lines: AsyncGenerator<string>;

  constructor(connection: Deno.Conn<Deno.Addr>) {
    this.#connection = connection;
    this.#lines = linesOf(connection);
  }

  /** Sends a value. */
  async send(value: unknown): Promise<void> {
    const bytes = new TextEncoder().encode(`${JSON.stringify(value)}\n`);
    for (let at = 0; at < bytes.length;) at += await this.#connection.write(bytes.subarray(at));
  }

  /**
   * Receives a value.
   *
   * @throws {Error} If the other side has ended it.
   */
  async receive(): Promise<unknown> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("the other process has gone");
    return JSON.parse(value);
  }

  close(): void {
    try {
      this.#connection.close();
    } catch {
      // Closed already.
    }
  }
}

/** Longest line, in characters: the settings of operators are the most of it. */
const MOST_LINE = 4 * 1024 * 1024;

async function* linesOf(connection: Deno.Conn<Deno.Addr>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(64 * 1024);
  let text = "";
  for (;;) {
    const length = await connection.read(buffer);
    if (length === null) return;
    text += decoder.decode(buffer.subarray(0, length), { stream: true });
    if (text.length > MOST_LINE) throw new Error("the other process talks too much");
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
    }
  }
}

/** Says that the new process may serve. What traffic has shown goes with it, unless it would be too much for a line. */
export function goAhead(trafficHealth: ServicesHealth): GoAhead {
  return JSON.stringify(trafficHealth).length > MOST_LINE / 2 ? {} : { trafficHealth };
}

/** Whether this process was started to take the place of another. */
export function isSuccessor(): boolean {
  return Deno.env.has(HANDOVER_VARIABLE);
}

/** How the process that takes over sees it. */
export interface Takeover {
  readonly state: HandoverState;
  /**
   * Everything is ready to serve; resolves when it may begin to, with what the traffic of the other has shown.
   *
   * @throws {Error} If the other process does not want it any more.
   */
  prepared(): Promise<ServicesHealth>;
  /** Everything serves: the other process may leave. */
  ready(): Promise<void>;
}

/**
 * What the process before this one hands over; `null` if there is none.
 *
 * @throws {Error} If there is one, but it does not answer.
 */
export async function takeOver(): Promise<Takeover | null> {
  const path = Deno.env.get(HANDOVER_VARIABLE);
  if (path === undefined) return null;
  // It is for this process alone, not for its children.
  Deno.env.delete(HANDOVER_VARIABLE);
  const line = new HandoverLine(await Deno.connect({ transport: "unix", path }));
  const state = await line.receive() as HandoverState;
  return {
    state,
    async prepared() {
      await line.send("prepared");
      return (await line.receive() as GoAhead).trafficHealth ?? {};
    },
    async ready() {
      await line.send("ready");
      line.close();
    },
  };
}
