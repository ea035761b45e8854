/**
 * Runs the hooks of a phase in the way its combine kind says.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import type { CertificateAnswer, CertificateRequest } from "../plugin/certificate.ts";
import type { PhaseHandler } from "../plugin/handler.ts";
import { type PhaseName, phaseRow } from "../plugin/phases.ts";
import type { ConnectionView, Reply } from "../plugin/session.ts";
import type { HookSession } from "./hook_session.ts";
import { applies, type Link } from "./plan.ts";

// How hooks are run: the first that answers ends it, and is named; the first that says anything decides; all are called.
const GATE = 0;
const FIRST = 1;
const CHAIN = 2;
type Kind = typeof GATE | typeof FIRST | typeof CHAIN;

/** What is there at once, or has to be waited for. */
type MaybeLater<T> = T | Promise<T>;

/** Takes note of a hook that failed, whether or not the request fails with it. */
export type HookFailureListener = (
  handler: PhaseHandler,
  phase: PhaseName,
  error: ProxyError,
) => void;

/** Calls hooks; one per service worker. */
export class PhaseEngine {
  readonly #onFailure: HookFailureListener;

  constructor(onFailure: HookFailureListener) {
    this.#onFailure = onFailure;
  }

  /**
   * Runs a `gate`: the first hook that answers ends it.
   *
   * @returns What it said, or a promise of that if a hook has to be waited for.
   * @throws {ProxyError} What a hook of a plugin that fails closed threw.
   */
  gate(
    links: readonly Link[],
    phase: PhaseName,
    session: HookSession,
  ): MaybeLater<Reply | false | undefined> {
    return this.#run(links, phase, session, undefined, GATE) as MaybeLater<
      Reply | false | undefined
    >;
  }

  /**
   * Runs a `first`: the first hook that returns a value decides.
   *
   * @returns The value, or a promise of it if a hook has to be waited for.
   * @throws {ProxyError} What a hook of a plugin that fails closed threw.
   */
  first(
    links: readonly Link[],
    phase: PhaseName,
    session: HookSession,
    argument?: unknown,
  ): MaybeLater<unknown> {
    return this.#run(links, phase, session, argument, FIRST);
  }

  /**
   * Runs a `chain` whose hooks change the session in place.
   *
   * @returns When all are done, unless that is at once.
   * @throws {ProxyError} What a hook of a plugin that fails closed threw.
   */
  chain(
    links: readonly Link[],
    phase: PhaseName,
    session: HookSession,
    argument?: unknown,
  ): Promise<void> | undefined {
    return this.#run(links, phase, session, argument, CHAIN) as Promise<void> | undefined;
  }

  /** Calls hooks in order, up to the first that decides if one can. */
  #run(
    links: readonly Link[],
    phase: PhaseName,
    session: HookSession,
    argument: unknown,
    kind: Kind,
  ): MaybeLater<unknown> {
    for (let i = 0; i < links.length; i++) {
      const link = links[i]!;
      if (!applies(link, session.source.downstream.head)) continue;
      const result = this.#call(link, phase, session, argument);
      if (result instanceof Promise) {
        return this.#runLater(links, i, result, phase, session, argument, kind);
      }
      if (result !== undefined && kind !== CHAIN) return decide(result, link, phase, session, kind);
    }
    return undefined;
  }

  /** Goes on once a hook that has to be waited for is done. One promise for it and all that follow. */
  async #runLater(
    links: readonly Link[],
    i: number,
    pending: Promise<unknown>,
    phase: PhaseName,
    session: HookSession,
    argument: unknown,
    kind: Kind,
  ): Promise<unknown> {
    let result: unknown = pending;
    for (;;) {
      const link = links[i]!;
      if (result instanceof Promise) {
        try {
          result = await result;
        } catch (error) {
          result = this.#failed(link, phase, error);
        }
      }
      if (result !== undefined && kind !== CHAIN) return decide(result, link, phase, session, kind);
      do if (++i === links.length) return undefined; while (
        !applies(links[i]!, session.source.downstream.head)
      );
      result = this.#call(links[i]!, phase, session, argument);
    }
  }

  /**
   * Runs a `chain` over a piece of content. A hook that drops a piece ends the chain for it, except for the
   * last one: every hook is told of the end.
   *
   * @throws {ProxyError} What a hook of a plugin that fails closed threw.
   */
  content(
    links: readonly Link[],
    phase: PhaseName,
    session: HookSession,
    chunk: Uint8Array,
    end: boolean,
  ): MaybeLater<Uint8Array> {
    for (let i = 0; i < links.length; i++) {
      const link = links[i]!;
      if (!wantsContent(link, phase, session)) continue;
      if (chunk.length === 0 && !end) return chunk;
      const result = this.#call(link, phase, session, chunk, end);
      if (result instanceof Promise) {
        return this.#contentLater(links, i, result, phase, session, chunk, end);
      }
      chunk = madeOf(result, chunk);
    }
    return chunk;
  }

  async #contentLater(
    links: readonly Link[],
    i: number,
    pending: Promise<unknown>,
    phase: PhaseName,
    session: HookSession,
    chunk: Uint8Array,
    end: boolean,
  ): Promise<Uint8Array> {
    let result: unknown = pending;
    for (;;) {
      if (result instanceof Promise) {
        try {
          result = await result;
        } catch (error) {
          result = this.#failed(links[i]!, phase, error);
        }
      }
      chunk = madeOf(result, chunk);
      do if (++i === links.length) return chunk; while (!wantsContent(links[i]!, phase, session));
      if (chunk.length === 0 && !end) return chunk;
      result = this.#call(links[i]!, phase, session, chunk, end);
    }
  }

  /**
   * Tells all hooks of an `observe`. Failures are only noted.
   *
   * @returns When no hook looks at the session any more, unless that is at once.
   */
  observe(
    links: readonly Link[],
    phase: PhaseName,
    session: HookSession,
    argument?: unknown,
  ): Promise<void> | undefined {
    let pending: Promise<unknown>[] | undefined;
    for (let i = 0; i < links.length; i++) {
      const link = links[i]!;
      if (!applies(link, session.source.downstream.head)) continue;
      try {
        session.enter(phase, link.handler);
        const result = link.handler.call(phase, session, argument);
        if (result instanceof Promise) {
          const settled = result.catch((error) =>
            this.#onFailure(link.handler, phase, wrap(error, link, phase))
          );
          if (link.handler.inline) (pending ??= []).push(settled);
        }
      } catch (error) {
        this.#onFailure(link.handler, phase, wrap(error, link, phase));
      }
    }
    return pending === undefined ? undefined : Promise.all(pending).then(() => {});
  }

  /**
   * Tells a hook of something outside of any request. A failure is only noted.
   *
   * @param value What it is told.
   * @returns When the hook is done. Nobody has to wait for that.
   */
  async notify(handler: PhaseHandler, phase: PhaseName, value: unknown): Promise<void> {
    try {
      // What tells it may be in the middle of its work, and a hook is no part of that.
      await undefined;
      await handler.call(phase, null, value);
    } catch (error) {
      const context = `Plugin ${handler.name} failed in ${phase}`;
      this.#onFailure(handler, phase, ProxyError.wrap(error, "plugin_error", context, "internal"));
    }
  }

  /** Asks `connectionFilter`; a plugin that fails closed and fails denies. */
  async admit(links: readonly Link[], connection: ConnectionView): Promise<boolean> {
    for (const { handler } of links) {
      try {
        if (await handler.call("connectionFilter", connection) === false) return false;
      } catch (error) {
        this.#onFailure(
          handler,
          "connectionFilter",
          ProxyError.wrap(error, "plugin_error", `Plugin ${handler.name} failed`, "internal"),
        );
        if (!handler.failOpen) return false;
      }
    }
    return true;
  }

  /**
   * Asks `certificate`: the first hook that has one decides.
   *
   * @throws {ProxyError} What a hook of a plugin that fails closed threw.
   */
  async certificate(
    links: readonly Link[],
    request: CertificateRequest,
  ): Promise<CertificateAnswer | undefined> {
    for (const { handler } of links) {
      try {
        const answer = await handler.call("certificate", null, { ...request });
        if (answer !== undefined) return answer as CertificateAnswer;
      } catch (error) {
        const failure = ProxyError.wrap(
          error,
          "plugin_error",
          `Plugin ${handler.name} failed in certificate`,
          "internal",
        );
        this.#onFailure(handler, "certificate", failure);
        if (!handler.failOpen) throw failure;
      }
    }
    return undefined;
  }

  #call(
    link: Link,
    phase: PhaseName,
    session: HookSession,
    first?: unknown,
    second?: unknown,
  ): unknown {
    try {
      session.enter(phase, link.handler);
      return link.handler.call(phase, session, first, second);
    } catch (error) {
      return this.#failed(link, phase, error);
    }
  }

  /**
   * Takes note of a hook that failed; what it would have returned is `undefined` if the request may go on.
   *
   * @throws {ProxyError} If it may not.
   */
  #failed(link: Link, phase: PhaseName, error: unknown): undefined {
    const wrapped = wrap(error, link, phase);
    this.#onFailure(link.handler, phase, wrapped);
    // A client that has gone away is not the plugin's failure, and there is nobody to go on for.
    if (wrapped.source === "downstream") throw wrapped;
    if (link.handler.failOpen || phaseRow(phase).onError === "logged") return undefined;
    throw wrapped;
  }
}

/** The result of `#run` if a hook has decided. */
function decide(
  result: unknown,
  link: Link,
  phase: PhaseName,
  session: HookSession,
  kind: Kind,
): unknown {
  if (kind === GATE) session.source.answeredBy = `${link.handler.name}.${phase}`;
  return result;
}

function wantsContent(link: Link, phase: PhaseName, { source }: HookSession): boolean {
  return applies(link, source.downstream.head) &&
    (phase === "requestBodyFilter" || source.skippers?.has(link.handler) !== true);
}

/** The piece that a content hook has made of another. */
function madeOf(result: unknown, chunk: Uint8Array): Uint8Array {
  return result === undefined ? chunk : result === null ? NOTHING : result as Uint8Array;
}

const NOTHING = new Uint8Array(0);

function wrap(error: unknown, link: Link, phase: PhaseName): ProxyError {
  return ProxyError.wrap(
    error,
    "plugin_error",
    `Plugin ${link.handler.name} failed in ${phase}`,
    "internal",
  );
}
