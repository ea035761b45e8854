/**
 * What a plugin is: a name, what it asks for, and any subset of the hooks.
 *
 * @module
 */
import type { CertificateAnswer, CertificateRequest } from "./certificate.ts";
import type { PhaseName } from "./phases.ts";
import type {
  Cloneable,
  ConnectionView,
  Failure,
  FailureView,
  FinishedSession,
  PeerChoice,
  PeerSpec,
  Reply,
  RequestSession,
  ResponseSession,
  Session,
  TrailerSession,
  UpstreamRequestSession,
  UpstreamResponseSession,
} from "./session.ts";
import type { EndpointList, HealthChange } from "./upstream.ts";

/** What a hook may return: a value, nothing, or a promise of one of them. */
export type Maybe<T> = T | void | Promise<T | void>;

/** The part of Standard Schema v1 that Sluice uses; zod, valibot, arktype and others implement it. */
export interface StandardSchema<Input = unknown, Output = Input> {
  /** What makes it a Standard Schema. */
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

/** What a schema says of a value. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** One thing wrong with a value. */
export interface SchemaIssue {
  /** What is wrong. */
  readonly message: string;
  /** Where, from the outside in. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What a plugin asks for. Whatever is not named is denied, and so is what the operator does not grant. */
export interface Permissions {
  /** `host:port`, `host`, `*.domain` or CIDR; `true` for any. */
  readonly net?: readonly string[] | boolean;
  /** Files and folders; a relative path begins at the plugin. Its own files may always be read. */
  readonly read?: readonly string[] | boolean;
  /** Files and folders; a relative path begins at the plugin. */
  readonly write?: readonly string[] | boolean;
  /** Names of environment variables. */
  readonly env?: readonly string[] | boolean;
  /** Kinds of system information, as in `Deno.permissions`. */
  readonly sys?: readonly string[] | boolean;
}

/** Which requests a plugin or a hook is for. Tested by the core, before anything crosses to the plugin. */
export interface Match {
  /**
   * `/exact`, `/prefix/*` (which is `/prefix` too, and all below); several are alternatives. Compared after `//`,
   * `/./`, `/../` and needlessly encoded characters are resolved. An upstream may read a path in further ways: a
   * plugin that guards something must look at the path itself.
   */
  readonly path?: string | readonly string[];
  /** Methods; several are alternatives. */
  readonly method?: string | readonly string[];
  /** `example.com` or `*.example.com`, without port; several are alternatives. */
  readonly host?: string | readonly string[];
  /** Field name to value; `true`: it must be there, `false`: it must not. All must hold. */
  readonly header?: Readonly<Record<string, string | boolean>>;
}

/** Bounds of one plugin. */
export interface Limits {
  /** Deadline of one hook call: `50ms`, `2s`. Default: that of the phase, one second for most. */
  readonly timeout?: string;
  /** Heap of the sandbox: `64MiB`. Default `64MiB`. */
  readonly heap?: string;
  /** Calls of this plugin that may wait at once, per service worker. Default 1000. */
  readonly concurrency?: number;
}

/** What happens when a hook fails or is late: the request fails, or goes on without it. */
export type OnError = "fail_closed" | "fail_open";

/** Writes lines to the operational log, under the plugin's name. */
export interface Log {
  /** For whoever looks for a fault; off by default. */
  debug(message: string, fields?: Readonly<Record<string, Cloneable>>): void;
  /** What an operator may want to know. */
  info(message: string, fields?: Readonly<Record<string, Cloneable>>): void;
  /** What may need attention. */
  warn(message: string, fields?: Readonly<Record<string, Cloneable>>): void;
  /** What went wrong. */
  error(message: string, fields?: Readonly<Record<string, Cloneable>>): void;
}

/** What `setup` gets. */
export interface Env<Config> {
  /** Name under which this use of the plugin runs. */
  readonly name: string;
  /** What stands under `with:`, checked by the schema and with its defaults. */
  readonly config: Config;
  /** The folder of the plugin, as an absolute path. */
  readonly directory: string;
  /** Writes to the operational log. */
  readonly log: Log;
  /**
   * Names the endpoints of every upstream whose config says `discovery: { type: plugin, plugin: NAME }`: all of them,
   * in place of those named before. The last list counts, whichever use of the plugin names it, and several in
   * quick succession are passed on as one, five a second at most. A list with a mistake is refused as a whole,
   * which the operational log tells, and the endpoints stay as they were. Inline, only the service worker that
   * runs the ticks is listened to.
   *
   * @throws {TypeError} If it is no list, holds anything but plain data, or is larger than 2 MiB.
   * @throws {RangeError} If it has more than 10 000 entries.
   */
  setEndpoints(list: EndpointList): void;
}

/** What every hook gets beside the session. */
export interface Context<Config, State> {
  /** What stands under `with:`, checked by the schema and with its defaults. */
  readonly config: Config;
  /** What `setup` returned. Seen by all requests of this use, and made anew when the sandbox is replaced. */
  readonly state: State;
  /** Writes to the operational log. */
  readonly log: Log;
  /** Aborted when the call's deadline passes or the request goes away. */
  readonly signal: AbortSignal;
  /** Work that goes on after the hook returned; its failure is logged. */
  waitUntil(work: Promise<unknown>): void;
  /**
   * Names the endpoints of the upstreams that this plugin is the discovery of; see {@linkcode Env.setEndpoints}.
   *
   * @throws {TypeError} If it is no list, holds anything but plain data, or is larger than 2 MiB.
   * @throws {RangeError} If it has more than 10 000 entries.
   */
  setEndpoints(list: EndpointList): void;
}

/** The hooks. Each is optional, may be async, and is called in the phase of its name. */
export interface Hooks<Config, State> {
  /** After a connection is accepted: return `false` to close it. */
  connectionFilter(connection: ConnectionView, ctx: Context<Config, State>): Maybe<boolean>;
  /** A client asks for a name that the listener has no certificate for: return one, or nothing. */
  certificate(
    request: CertificateRequest,
    ctx: Context<Config, State>,
  ): Maybe<CertificateAnswer>;
  /** A further request begins on a connection that a value was kept for. */
  onConnectionReuse(session: Session, ctx: Context<Config, State>, kept: Cloneable): Maybe<never>;
  /** First of all; may answer. */
  earlyRequestFilter(session: RequestSession, ctx: Context<Config, State>): Maybe<Reply | Response>;
  /** Whether this request may spawn subrequests. */
  allowSpawningSubrequest(session: Session, ctx: Context<Config, State>): Maybe<boolean>;
  /** The usual place to look at a request; may answer. */
  requestFilter(session: RequestSession, ctx: Context<Config, State>): Maybe<Reply | Response>;
  /** Turns the cache on or off. Called by the cache, which this version does not have. */
  requestCacheFilter(session: RequestSession, ctx: Context<Config, State>): Maybe<never>;
  /** Names the cached object. Called by the cache, which this version does not have. */
  cacheKey(session: Session, ctx: Context<Config, State>): Maybe<readonly string[]>;
  /** Whether this request purges. Called by the cache, which this version does not have. */
  isPurge(session: Session, ctx: Context<Config, State>): Maybe<boolean>;
  /** Changes the answer to a purge. Called by the cache, which this version does not have. */
  purgeResponseFilter(session: ResponseSession, ctx: Context<Config, State>): Maybe<never>;
  /** Tells variants apart. Called by the cache, which this version does not have. */
  cacheVaryFilter(session: Session, ctx: Context<Config, State>): Maybe<string>;
  /** Overrules a hit. Called by the cache, which this version does not have. */
  cacheHitFilter(
    session: Session,
    ctx: Context<Config, State>,
  ): Maybe<"force_expired" | "force_miss" | "force_fresh">;
  /** Whether to answer 304. Called by the cache, which this version does not have. */
  cacheNotModifiedFilter(session: ResponseSession, ctx: Context<Config, State>): Maybe<boolean>;
  /** Which ranges to send. Called by the cache, which this version does not have. */
  rangeHeaderFilter(
    session: ResponseSession,
    ctx: Context<Config, State>,
  ): Maybe<readonly (readonly [number, number])[]>;
  /** Whether to send a stale object. Called by the cache, which this version does not have. */
  shouldServeStale(
    session: Session,
    ctx: Context<Config, State>,
    failure: FailureView | null,
  ): Maybe<boolean>;
  /** The last stop before an upstream is chosen: may answer, or refuse with `false`. */
  proxyUpstreamFilter(
    session: RequestSession,
    ctx: Context<Config, State>,
  ): Maybe<Reply | Response | false>;
  /** Chooses who is asked: a group's name, an address, or a peer. */
  upstreamPeer(
    session: Session,
    ctx: Context<Config, State>,
  ): Maybe<string | PeerSpec | PeerChoice>;
  /** The peer could not be connected to; `failure.retry` may be set. */
  failToConnect(session: Session, ctx: Context<Config, State>, failure: Failure): Maybe<never>;
  /** A connection is there. */
  connectedToUpstream(session: Session, ctx: Context<Config, State>): Maybe<never>;
  /** Changes the request of this attempt. */
  upstreamRequestFilter(
    session: UpstreamRequestSession,
    ctx: Context<Config, State>,
  ): Maybe<never>;
  /** Sees, replaces or drops a piece of request content. `end` comes once, with or without bytes. */
  requestBodyFilter(
    session: Session,
    ctx: Context<Config, State>,
    chunk: Uint8Array,
    end: boolean,
  ): Maybe<Uint8Array | string | null>;
  /** Changes the upstream's response head before a cache would see it. */
  upstreamResponseFilter(
    session: UpstreamResponseSession,
    ctx: Context<Config, State>,
  ): Maybe<never>;
  /** Sees, replaces or drops a piece of what the upstream sent. */
  upstreamResponseBodyFilter(
    session: UpstreamResponseSession,
    ctx: Context<Config, State>,
    chunk: Uint8Array,
    end: boolean,
  ): Maybe<Uint8Array | string | null>;
  /** Changes the upstream's trailers. */
  upstreamResponseTrailerFilter(
    session: TrailerSession,
    ctx: Context<Config, State>,
  ): Maybe<never>;
  /** Whether the response may be stored. Called by the cache, which this version does not have. */
  responseCacheFilter(
    session: UpstreamResponseSession,
    ctx: Context<Config, State>,
  ): Maybe<boolean | { readonly ttl: number }>;
  /** A response is about to be stored. Called by the cache, which this version does not have. */
  cacheMiss(session: Session, ctx: Context<Config, State>): Maybe<never>;
  /** Changes the head that goes to the client. Not called for an answer that a hook or Sluice itself made. */
  responseFilter(session: ResponseSession, ctx: Context<Config, State>): Maybe<never>;
  /** Sees, replaces or drops a piece of what goes to the client. */
  responseBodyFilter(
    session: ResponseSession,
    ctx: Context<Config, State>,
    chunk: Uint8Array,
    end: boolean,
  ): Maybe<Uint8Array | string | null>;
  /** Changes the trailers that go to the client. */
  responseTrailerFilter(session: TrailerSession, ctx: Context<Config, State>): Maybe<never>;
  /** An attempt failed; `failure.retry` may be set. */
  errorWhileProxy(session: Session, ctx: Context<Config, State>, failure: Failure): Maybe<never>;
  /** The request failed: may answer with a page of its own. */
  failToProxy(
    session: Session,
    ctx: Context<Config, State>,
    failure: FailureView,
  ): Maybe<Reply | Response>;
  /** Whether to keep a failed request out of the operational log. */
  suppressErrorLog(
    session: Session,
    ctx: Context<Config, State>,
    failure: FailureView,
  ): Maybe<boolean>;
  /** Names the request in log lines. */
  requestSummary(session: Session, ctx: Context<Config, State>): Maybe<string>;
  /** The request is over. */
  logging(session: FinishedSession, ctx: Context<Config, State>): Maybe<never>;
  /** Keeps a value for the next request of the connection. */
  persistConnectionContext(
    session: FinishedSession,
    ctx: Context<Config, State>,
  ): Maybe<Cloneable>;
  /**
   * A member of an upstream has become usable or unusable. Called for each use of the plugin, with what has changed
   * since it runs: what was before is not told again.
   */
  upstreamHealth(change: HealthChange, ctx: Context<Config, State>): Maybe<never>;
  /** Called every `tickInterval`. */
  tick(ctx: Context<Config, State>): Maybe<never>;
}

/** What is not a hook. */
export interface PluginHead<Config, State> {
  /** Lower-case letters, digits and dashes. Default: the name of its file or folder. */
  readonly name?: string;
  /** For people; `1.2.0`. */
  readonly version?: string;
  /** What it asks for. Default: nothing but its own files. */
  readonly permissions?: Permissions;
  /** Checks and types `ctx.config`. Without it, a plugin takes no config. */
  readonly config?: StandardSchema<unknown, Config>;
  /** Which requests concern it. Default: all. */
  readonly match?: Match;
  /** Which requests concern single hooks, over `match`. */
  readonly matchHooks?: { readonly [Phase in PhaseName]?: Match };
  /** Bounds on its time, memory and calls. */
  readonly limits?: Limits;
  /** Default `fail_closed`. */
  readonly onError?: OnError;
  /** How often `tick` is called: `10s`. Default `60s`. */
  readonly tickInterval?: string;
  /** Called once per use before the first hook. What it returns is `ctx.state`. */
  readonly setup?: (env: Env<Config>) => State | Promise<State>;
  /** Called once when the use is over. */
  readonly dispose?: (state: State) => void | Promise<void>;
}

/** A plugin. */
export type Plugin<Config = unknown, State = unknown> =
  & PluginHead<Config, State>
  & Partial<Hooks<Config, State>>;

// The table and the hooks must name the same phases.
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
const _same: Same<PhaseName, keyof Hooks<unknown, unknown>> = true;

/**
 * Types a plugin. Export what it returns as the default export of the plugin's file.
 *
 * @example
 * ```ts
 * import { definePlugin } from "@sluice/plugin";
 *
 * export default definePlugin({
 *   name: "hello",
 *   requestFilter(session) {
 *     if (session.request.path === "/hello") return session.respond(200, "Hello.\n");
 *   },
 * });
 * ```
 */
export function definePlugin<Config = undefined, State = undefined>(
  plugin: Plugin<Config, State>,
): Plugin<Config, State> {
  return plugin;
}
