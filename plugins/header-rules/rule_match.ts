/**
 * Which requests and responses a rule is for. Pure.
 *
 * @module
 */

/** What a rule asks of a request and its response. All parts that are there must hold. */
export interface RuleMatch {
  /** `/exact` or `/prefix/*` (which is `/prefix` too, and all below); several are alternatives. */
  readonly path?: readonly string[] | undefined;
  /** Methods, in capitals; several are alternatives. */
  readonly method?: readonly string[] | undefined;
  /** Statuses, `404` or `5xx`; several are alternatives. */
  readonly status?: readonly (number | string)[] | undefined;
}

/** Compiles the part that is about the request: takes method and path. */
export function matchRequest(match: RuleMatch): (method: string, path: string) => boolean {
  const { path, method } = match;
  const methods = method === undefined ? null : new Set(method);
  const paths = path === undefined ? null : path.map((pattern) => {
    if (!pattern.endsWith("/*")) return { exact: pattern, prefix: null };
    const prefix = pattern.slice(0, -1);
    return { exact: prefix.slice(0, -1) || "/", prefix };
  });
  return (asked, target) => {
    if (methods !== null && !methods.has(asked)) return false;
    if (paths === null) return true;
    const plain = plainPath(target);
    return paths.some(({ exact, prefix }) =>
      plain === exact || (prefix !== null && plain.startsWith(prefix))
    );
  };
}

/** Compiles the part that is about the response. */
export function matchStatus(match: RuleMatch): (status: number) => boolean {
  const { status } = match;
  if (status === undefined) return () => true;
  const exact = new Set<number>();
  const classes = new Set<number>();
  for (const one of status) {
    if (typeof one === "number") exact.add(one);
    else classes.add(Number(one[0]));
  }
  return (found) => exact.has(found) || classes.has(Math.floor(found / 100));
}

/** A path as `when:` and `match:` of the config compare it: RFC 3986 §6.2.2.2 and §5.2.4. */
export function plainPath(path: string): string {
  if (!path.includes("%") && !path.includes("//") && !path.includes("/.")) return path;
  const decoded = path.replace(/%([0-9A-Fa-f]{2})/g, (whole, hex: string) => {
    const character = String.fromCharCode(parseInt(hex, 16));
    return /[A-Za-z0-9\-._~]/.test(character) ? character : whole.toUpperCase();
  });
  const kept: string[] = [];
  const segments = decoded.split("/");
  for (const segment of segments) {
    if (segment === "..") kept.pop();
    else if (segment !== "." && segment !== "") kept.push(segment);
  }
  const last = segments.at(-1);
  const folder = last === "" || last === "." || last === "..";
  return kept.length === 0 ? "/" : `/${kept.join("/")}${folder ? "/" : ""}`;
}
