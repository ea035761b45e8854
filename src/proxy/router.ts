/**
 * Which route a request takes: the first in the order of the file whose match holds.
 *
 * Routes are indexed by host and by the first segment of the path, so that many routes cost no more than the
 * few that could match. The index never changes which one is taken.
 *
 * @module
 */
import {
  alternatives,
  compileMatch,
  type HeadMatch,
  type HeadTest,
  normalHost,
  pathOf,
} from "../http/matcher.ts";
import type { RequestHead } from "../http/message.ts";

/** What the router needs of a route. */
export interface Routable {
  readonly match: HeadMatch;
}

/** Finds the position of the route of a request, or `-1`. */
export type Router = (head: RequestHead) => number;

interface Candidate {
  readonly index: number;
  readonly match: HeadMatch;
  readonly test: HeadTest | null;
}

/** Up to this many are tried one after the other. */
const FEW = 8;

/**
 * Compiles routes whose matches have been checked.
 *
 * @param routes In the order in which they are tried.
 */
export function compileRoutes(routes: readonly Routable[]): Router {
  const candidates: Candidate[] = [];
  for (let index = 0; index < routes.length; index++) {
    const { match } = routes[index]!;
    const test = compileMatch(match);
    candidates.push({ index, match, test });
    // What stands behind a route for everything is never reached.
    if (test === null) break;
  }
  if (candidates.length > 0 && candidates[0]!.test === null) return () => 0;
  return byHost(candidates);
}

function byHost(candidates: readonly Candidate[]): Router {
  const keys = (candidate: Candidate): readonly string[] | null => {
    const hosts = alternatives(candidate.match.host).map((host) => host.toLowerCase());
    return hosts.length === 0 || hosts.some((host) => host.startsWith("*")) ? null : hosts;
  };
  return indexed(candidates, keys, (head) => normalHost(head.authority), byFirstSegment);
}

function byFirstSegment(candidates: readonly Candidate[]): Router {
  const keys = (candidate: Candidate): readonly string[] | null => {
    const paths = alternatives(candidate.match.path);
    if (paths.length === 0 || paths.some((path) => path === "*" || path === "/*")) return null;
    return paths.map(firstSegment);
  };
  return indexed(candidates, keys, (head) => firstSegment(pathOf(head)), oneByOne);
}

/** `a` of `/a/b`, `/a` and `/a/*`. */
function firstSegment(path: string): string {
  const end = path.indexOf("/", 1);
  return end < 0 ? path.slice(1) : path.slice(1, end);
}

/**
 * Splits candidates by a key of the request. A candidate without keys is in every part, so that order is kept.
 */
function indexed(
  candidates: readonly Candidate[],
  keysOf: (candidate: Candidate) => readonly string[] | null,
  keyOf: (head: RequestHead) => string,
  inner: (candidates: readonly Candidate[]) => Router,
): Router {
  const keys = candidates.map(keysOf);
  const distinct = new Set(keys.flatMap((list) => list ?? []));
  if (candidates.length <= FEW || distinct.size === 0) return inner(candidates);
  const parts = new Map<string, Router>();
  for (const key of distinct) {
    parts.set(key, inner(candidates.filter((_, i) => keys[i]?.includes(key) ?? true)));
  }
  const others = inner(candidates.filter((_, i) => keys[i] === null));
  return (head) => (parts.get(keyOf(head)) ?? others)(head);
}

function oneByOne(candidates: readonly Candidate[]): Router {
  return (head) => {
    for (let i = 0; i < candidates.length; i++) {
      const candidate = candidates[i]!;
      if (candidate.test === null || candidate.test(head)) return candidate.index;
    }
    return -1;
  };
}
