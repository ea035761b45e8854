/**
 * Servers by the service they offer (RFC 2782).
 *
 * @module
 */
import { attempt } from "./attempt.ts";
import { errorCode, reason } from "./io_error.ts";
import { dnsResolver, type NameSourceOptions } from "./name_source.ts";
import { dnsError, type ResolveOptions } from "./resolver.ts";

/** A server of a service. */
export interface SrvTarget {
  readonly host: string;
  readonly port: number;
  /** Lower is tried first. */
  readonly priority: number;
  /** Share among those of the same priority; `0`: hardly ever. */
  readonly weight: number;
}

/** Most servers of one service. */
export const MOST_TARGETS = 256;

/**
 * Finds the servers of a service, in the order in which they are to be tried.
 *
 * @param name Such as `_http._tcp.example.org`.
 * @param random A number in [0, 1). Default: `Math.random`.
 * @throws {ProxyError} `dns_error` if there are none, or the service is said not to be there; `dns_timeout`; or what
 * the signal gives as its reason.
 */
export function resolveSrv(
  name: string,
  options: ResolveOptions & Pick<NameSourceOptions, "servers" | "tryTimeout" | "tries">,
  random: () => number = Math.random,
): Promise<SrvTarget[]> {
  const context = `Looking up the servers of "${name}"`;
  return attempt<SrvTarget[]>({
    timeout: options.timeout,
    timeoutType: "dns_timeout",
    context,
    signal: options.signal,
  }, (end) => {
    const resolver = dnsResolver(options);
    resolver.resolveSrv(name, (error, records) => {
      if (error !== null && error !== undefined) {
        const isLate = errorCode(error) === "ETIMEOUT";
        return end.reject(
          dnsError(
            isLate ? "dns_timeout" : "dns_error",
            `${context}: ${
              isLate
                ? "no name server answers"
                : errorCode(error) === "ENOTFOUND"
                ? "no such service"
                : reason(error)
            }`,
            error,
          ),
        );
      }
      // RFC 2782: a single target of "." says that the service is decidedly not there.
      const targets = records
        .map(({ name: host, ...rest }) => ({ host: host.replace(/\.$/, ""), ...rest }))
        .filter(({ host }) => host !== "");
      if (targets.length === 0) {
        return end.reject(dnsError("dns_error", `${context}: the service is not available`));
      }
      end.resolve(
        orderSrv(targets, random).slice(0, MOST_TARGETS)
          .map(({ host, port, priority, weight }) => ({ host, port, priority, weight })),
      );
    });
    return () => resolver.cancel();
  });
}

/**
 * Puts servers into the order in which they are to be tried: by priority, and within one by lot according to weight.
 *
 * @param random A number in [0, 1).
 */
export function orderSrv(targets: readonly SrvTarget[], random: () => number): SrvTarget[] {
  const order: SrvTarget[] = [];
  const left = targets.toSorted((a, b) =>
    a.priority - b.priority || (a.weight === 0 ? 0 : 1) - (b.weight === 0 ? 0 : 1)
  );
  while (left.length > 0) {
    const { priority } = left[0]!;
    let count = left.findIndex((one) => one.priority !== priority);
    if (count < 0) count = left.length;
    let sum = 0;
    for (let i = 0; i < count; i++) sum += left[i]!.weight;
    // RFC 2782: a number from 0 to the sum, both included; those of weight 0 stand first and so get the 0 alone.
    const lot = Math.floor(random() * (sum + 1));
    let running = 0;
    let chosen = 0;
    while (chosen < count - 1 && (running += left[chosen]!.weight) < lot) chosen++;
    order.push(...left.splice(chosen, 1));
  }
  return order;
}
