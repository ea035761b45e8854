/**
 * How the phase engine calls a plugin, wherever the plugin runs.
 *
 * @module
 */
import type { Fields } from "../http/fields.ts";
import type { PhaseName } from "./phases.ts";
import type { Match } from "./plugin.ts";
import type {
  ConnectionView,
  FinishedSession,
  RequestSession,
  ResponseSession,
  TrailerSession,
  UpstreamResponseSession,
} from "./session.ts";

/** A field section of a session. */
export type Section =
  | "request"
  | "upstream_request"
  | "upstream_response"
  | "response"
  | "trailers";

/** What is kept of a request elsewhere while it lasts. */
export interface Kept {
  /** The next that is kept of the same request. */
  next: Kept | null;
  /** The request is over. */
  release(): void;
}

/**
 * The live session behind all the types that hooks see. A part that does not exist in the phase
 * (`response` before there is one) throws when it is touched.
 */
export interface HostSession
  extends
    RequestSession,
    UpstreamResponseSession,
    ResponseSession,
    TrailerSession,
    FinishedSession {
  /** Names the session within its service worker; smaller than 2^31, and not used again for a long time. */
  readonly key: number;
  /** A field section, or `null` if there is none yet. Who changes it has asked whether and how the hook may. */
  fields(section: Section): Fields | null;
  /** What others keep of the request. */
  readonly kept: Kept | null;
  /** Adds to `kept`. It is released when the request is over: at once if that is so already. */
  keep(one: Kept): void;
  /** The names of all vars that are set. */
  varNames(): Iterable<string>;
  /** Aborted when the request is over or its client has gone away. Made when first read. */
  readonly signal: AbortSignal;
}

/** One use of one plugin in one service worker. */
export interface PhaseHandler {
  /** Name of the plugin, or of its use. */
  readonly name: string;
  /** The phases that it has hooks for. */
  readonly phases: ReadonlySet<PhaseName>;
  /** Whether a failed call is passed over instead of failing the request. */
  readonly failOpen: boolean;
  /** Whether hooks get the live session, and may look at it until what they return is settled. */
  readonly inline: boolean;
  /** Which requests a hook is for; `null`: all. */
  match(phase: PhaseName): Match | null;
  /**
   * Calls a hook. Its changes have been applied to the session when the result is there.
   *
   * @param session The session; the connection for `connectionFilter`; `null` for `tick`,
   * `certificate` and `upstreamHealth`.
   * @param first The third argument of the hook: chunk, failure, or kept value. The change of `upstreamHealth`, the
   * request of `certificate`.
   * @param second The fourth argument of the hook: `end`.
   * @returns What the hook returned, checked: a `Reply` (never a web `Response`), `false`, a chunk as bytes or
   * `null`, a value; `undefined` if nothing.
   * @throws {ProxyError} `plugin_error`, `plugin_timeout` or `plugin_unavailable`, source `internal`.
   */
  call(
    phase: PhaseName,
    session: HostSession | ConnectionView | null,
    first?: unknown,
    second?: unknown,
  ): unknown | Promise<unknown>;
}
