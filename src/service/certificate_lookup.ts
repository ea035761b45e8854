/**
 * Certificates that plugins supply, by name: asked for once, kept for a while, and never asked for faster than agreed.
 *
 * A client may ask for any name, so everything here is bounded: the names that are remembered, good and bad ones apart,
 * so that made-up names drive no real one out; and the names that are asked for in a second, by one client and by all.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { coversHost } from "../base/host_pattern.ts";
import type { CertificateHookConfig } from "../config/types_listeners.ts";
import { clientNetwork } from "../http/client_network.ts";
import type { CertificateAnswer, CertificateRequest } from "../plugin/certificate.ts";
import {
  CertificateError,
  inspectPair,
  prepare,
  type ServerCertificate,
} from "../transport/certificate.ts";
import { LookupBudget } from "./lookup_budget.ts";

/** What a {@linkcode CertificateLookup} is made from. */
export interface CertificateLookupOptions {
  readonly listener: string;
  readonly settings: CertificateHookConfig;
  /** Whether any plugin is to be asked; may change. */
  readonly needed: () => boolean;
  /** Asks the plugins. Rejects if one that fails closed has failed. */
  readonly ask: (request: CertificateRequest) => Promise<CertificateAnswer | undefined>;
  /** Called for answers that cannot be used, and for names that were not asked for because there were too many. */
  readonly onError: (error: ProxyError) => void;
  /** Milliseconds; default `Date.now`. */
  readonly now?: () => number;
}

interface Kept {
  readonly certificate: ServerCertificate;
  /** When it is asked for again. */
  readonly until: number;
  /** When it may not be shown any more, whatever plugins say. */
  readonly notAfter: number;
}

interface Missed {
  readonly until: number;
  /** Why the handshake is to fail; `null`: there is no certificate, and that is all. */
  readonly error: ProxyError | null;
}

/** Asks plugins for certificates. */
export class CertificateLookup {
  readonly #options: CertificateLookupOptions;
  readonly #now: () => number;
  readonly #kept = new Map<string, Kept>();
  readonly #missed = new Map<string, Missed>();
  readonly #asking = new Map<string, Promise<ServerCertificate | null>>();
  readonly #budget: LookupBudget;

  constructor(options: CertificateLookupOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#budget = new LookupBudget(options.settings, this.#now);
  }

  /**
   * The certificate for a name. One that was found needs no lookup; it is shown until a newer one has come.
   *
   * @param client Address of who wants it; `null` if it has none.
   * @returns `null` if no plugin has one, or if there is no time to ask.
   * @throws {ProxyError} What a plugin failed with that fails closed.
   */
  async find(host: string, client: string | null): Promise<ServerCertificate | null> {
    if (!this.#options.needed()) return null;
    const now = this.#now();
    const kept = this.#kept.get(host);
    if (kept !== undefined && now < kept.notAfter) {
      // The one that was not asked for longest is the first in the map.
      this.#kept.delete(host);
      this.#kept.set(host, kept);
      // What is old is still better than nothing, and nobody waits for the new one.
      // That it is asked for is not the doing of this client.
      if (now >= kept.until) void this.#ask(host, kept, null)?.catch(() => {});
      return kept.certificate;
    }
    const missed = this.#missed.get(host);
    if (missed !== undefined && now < missed.until) {
      if (missed.error !== null) throw missed.error;
      return null;
    }
    return await (this.#ask(host, null, client) ?? null);
  }

  /** Asks for a name, once for all that want it; `null` if too many names were asked for already. */
  #ask(
    host: string,
    old: Kept | null,
    client: string | null,
  ): Promise<ServerCertificate | null> | null {
    const running = this.#asking.get(host);
    if (running !== undefined) return running;
    const network = client === null ? null : clientNetwork(client);
    const refusal = old === null ? this.#budget.take(network) : this.#budget.renew();
    if (refusal !== null) {
      const why = refusal === "all"
        ? "too many names are being asked for (lookups_per_second)"
        : `${network} asks for too many names (lookups_per_client)`;
      this.#options.onError(this.#error(host, why));
      return null;
    }
    const asking = this.#lookUp(host, old).finally(() => this.#asking.delete(host));
    this.#asking.set(host, asking);
    return asking;
  }

  async #lookUp(host: string, old: Kept | null): Promise<ServerCertificate | null> {
    const { settings, listener, onError } = this.#options;
    let error: ProxyError | null = null;
    try {
      const answer = await withDeadline(
        this.#options.ask({ serverName: host, listener }),
        settings.timeout,
        () => this.#error(host, `no answer within ${settings.timeout} ms`),
      );
      if (answer !== undefined) return this.#keep(host, answer);
    } catch (caught) {
      error = caught instanceof ProxyError
        ? caught
        : this.#error(host, caught instanceof Error ? caught.message : String(caught));
      onError(error);
    }
    const until = this.#now() + settings.negativeTtl;
    if (old !== null) {
      // Gone for good, or not to be had for the moment: it is not asked for at each handshake.
      if (error === null) this.#kept.delete(host);
      else this.#kept.set(host, { ...old, until });
    }
    put(this.#missed, host, { until, error }, settings.maxNames);
    if (error !== null) throw error;
    return null;
  }

  #keep(host: string, { cert, key }: CertificateAnswer): ServerCertificate {
    const { settings } = this.#options;
    const now = this.#now();
    let certificate: ServerCertificate;
    let notAfter: number;
    try {
      ({ notAfter } = inspectPair(cert, key));
      certificate = prepare({ cert, key, names: [host] });
    } catch (error) {
      if (!(error instanceof CertificateError)) throw error;
      throw this.#error(host, `its ${error.half} cannot be used: ${error.message}`);
    }
    if (!coversHost(certificate.names, host)) {
      throw this.#error(host, `it is for ${certificate.names.slice(0, 3).join(", ") || "no name"}`);
    }
    if (now >= notAfter) throw this.#error(host, "it has expired");
    this.#missed.delete(host);
    put(this.#kept, host, { certificate, until: now + settings.ttl, notAfter }, settings.maxNames);
    return certificate;
  }

  #error(host: string, why: string): ProxyError {
    return new ProxyError(
      "plugin_error",
      `Certificate of a plugin for ${JSON.stringify(host)}: ${why}`,
      { source: "internal" },
    );
  }
}

/** Puts an entry at the end, and drops those at the beginning that are too many. */
function put<T>(map: Map<string, T>, key: string, value: T, most: number): void {
  map.delete(key);
  map.set(key, value);
  for (const first of map.keys()) {
    if (map.size <= most) return;
    map.delete(first);
  }
}

function withDeadline<T>(work: Promise<T>, ms: number, late: () => ProxyError): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(late()), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
