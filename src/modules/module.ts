/**
 * Modules: filters that come with Sluice and run in the service worker, on the routes that ask for them. They act between
 * the client and the plugins: first on a request, last on a response. A route without one pays nothing.
 *
 * A module sees heads and content, and changes both. It does not wait for anything and opens nothing: what has to is a
 * plugin, or part of the proxy.
 *
 * @module
 */
import type { Fields } from "../http/fields.ts";
import type { RequestHead, ResponseHead } from "../http/message.ts";

/** A module at work on a route. */
export interface HttpModule {
  /** Its key in the config. */
  readonly name: string;
  /**
   * Looks at a request.
   *
   * @param request As the client sent it; not to be changed.
   * @returns What it does for this request, or `null` if it does nothing.
   */
  begin(request: RequestHead): ModuleRun | null;
}

/** What a module does for one request. What it leaves out, it does not look at. */
export interface ModuleRun {
  /** Changes the request that goes to the upstream, before any `requestFilter` sees it. Once. */
  requestHead?(request: RequestHead): void;
  /**
   * Begins with the content of the request, once for each attempt: what was sent before is sent again from its start.
   *
   * @returns Gives what is to be sent in place of a piece of content. The piece is the caller's; what is returned is
   * good until the next call.
   * @throws {ProxyError} If the content cannot be read.
   */
  requestBody?(): BodyFilter;
  /**
   * Changes the final head after all hooks.
   *
   * @returns What the content goes through, or `null` to leave it as it is.
   */
  responseHead?(response: ResponseHead): ResponseFilter | null;
}

/**
 * Changes a piece of content.
 *
 * @param end Whether it is the last, which may be empty.
 */
export type BodyFilter = (piece: Uint8Array, end: boolean) => Uint8Array;

/** What the content of a response goes through. */
export interface ResponseFilter {
  readonly body: BodyFilter;
  /**
   * Turns trailers into content, for clients that cannot have trailers. Called after the last piece, which `body` is
   * then not told to be the last.
   *
   * @returns The content, or `null` to send the trailers as they are.
   */
  trailers?(trailers: Fields): Uint8Array | null;
}

/** The modules of a route, in the order of their table. */
export class ModuleChain {
  readonly #modules: readonly HttpModule[];

  constructor(modules: readonly HttpModule[]) {
    this.#modules = modules;
  }

  /** Begins with a request; `null` if no module is concerned. */
  begin(request: RequestHead): ModuleRuns | null {
    let runs: ModuleRun[] | null = null;
    for (const module of this.#modules) {
      const run = module.begin(request);
      if (run !== null) (runs ??= []).push(run);
    }
    return runs === null ? null : new ModuleRuns(runs);
  }
}

/** The modules that are concerned with one request. */
export class ModuleRuns {
  readonly #runs: readonly ModuleRun[];

  constructor(runs: readonly ModuleRun[]) {
    this.#runs = runs;
  }

  /** Changes the request. */
  requestHead(request: RequestHead): void {
    for (const run of this.#runs) run.requestHead?.(request);
  }

  /** Begins with the content of the request; `null` if no module wants to see it. */
  requestBody(): BodyFilter | null {
    const filters: BodyFilter[] = [];
    for (const run of this.#runs) {
      if (run.requestBody !== undefined) filters.push(run.requestBody());
    }
    if (filters.length <= 1) return filters[0] ?? null;
    return (piece, end) => {
      for (const filter of filters) piece = filter(piece, end);
      return piece;
    };
  }

  /** Changes the head of the response; `null` if no module wants to see its content. */
  responseHead(response: ResponseHead): ResponseFilter | null {
    const filters: ResponseFilter[] = [];
    for (const run of this.#runs) {
      const filter = run.responseHead?.(response) ?? null;
      if (filter !== null) filters.push(filter);
    }
    return filters.length <= 1 ? filters[0] ?? null : joined(filters);
  }
}

/** Several filters as one: content that one makes of trailers goes through those behind it. */
function joined(filters: readonly ResponseFilter[]): ResponseFilter {
  return {
    body(piece, end) {
      for (const filter of filters) piece = filter.body(piece, end);
      return piece;
    },
    trailers(trailers) {
      let made: Uint8Array | null = null;
      for (const filter of filters) {
        if (made === null) made = filter.trailers?.(trailers) ?? null;
        else made = filter.body(made, true);
      }
      return made;
    },
  };
}
