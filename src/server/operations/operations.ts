/**
 * Where operators and their tools ask: the admin interface and the address of the metrics. Open from before the first
 * service starts until after the last has stopped, so that probes always have an answer.
 *
 * @module
 */
import { dirname } from "node:path";
import { same } from "../../base/same.ts";
import type { AdminConfig, MetricsConfig } from "../../config/types.ts";
import { literal, type Logger } from "../../observe/log.ts";
import { type Address, formatAddress } from "../../transport/address.ts";
import { type AdminSubject, answerAdmin } from "./admin_api.ts";
import {
  type EndpointAnswer,
  type EndpointRequest,
  HttpEndpoint,
  type HttpEndpointOptions,
  problem,
} from "./http_endpoint.ts";
import type { InheritedSockets } from "../inherited.ts";
import { ownFolder } from "../own_folder.ts";
import type { OwnSocket } from "../upgrade.ts";
import { answerMetrics, answerProbe } from "./probes.ts";

/** What {@linkcode Operations} are made from. */
export interface OperationsOptions {
  readonly subject: Omit<AdminSubject, "admin">;
  readonly log: Logger;
  /** Sockets to listen on instead of binding. */
  readonly inherited: InheritedSockets;
  /** Whether this process takes the place of another, and its unix socket. */
  readonly takeOver: boolean;
}

/** Where they listen, with the ports that the system chose; `null` for what there is not. */
export interface OperationsAddresses {
  readonly admin: string | null;
  readonly metrics: string | null;
}

/** The endpoints of another edition of the config. Exactly one of the two must follow. */
export interface OperationsChange {
  /** These are the endpoints from now on. */
  commit(): void;
  /** Closes those that were opened for it. */
  abort(): void;
}

interface Opened {
  /** As the config has it. */
  readonly written: Address;
  /** With the port that the system chose. */
  readonly address: Address;
  readonly endpoint: HttpEndpoint;
}

/** What is open, and by which settings it answers. */
interface State {
  readonly admin: AdminConfig | null;
  readonly metrics: MetricsConfig | null;
  readonly opened: { readonly admin: Opened | null; readonly metrics: Opened | null };
}

/** Both endpoints. */
export class Operations {
  readonly #options: OperationsOptions;
  #state: State;

  constructor(options: OperationsOptions) {
    this.#options = options;
    this.#state = { admin: null, metrics: null, opened: { admin: null, metrics: null } };
  }

  get addresses(): OperationsAddresses {
    const { admin, metrics } = this.#state.opened;
    return {
      admin: admin && formatAddress(admin.address),
      metrics: metrics && formatAddress(metrics.address),
    };
  }

  /** The TCP sockets, for a process that takes over. */
  get sockets(): OwnSocket[] {
    return KINDS.flatMap((name) => {
      const address = this.#state.opened[name]?.address;
      return address?.kind === "tcp" ? [{ name, address }] : [];
    });
  }

  /** Takes no new connections; what is asked already is answered. */
  leave(): void {
    const { opened } = this.#state;
    for (const kind of KINDS) opened[kind]?.endpoint.leave();
  }

  /**
   * Opens what another edition of the config asks for. What has its address already stays open.
   *
   * @throws {ProxyError} `bind_error` if an address that the config names cannot be listened on.
   */
  async prepare(
    admin: AdminConfig | null,
    metrics: MetricsConfig | null,
  ): Promise<OperationsChange> {
    const before = this.#state.opened;
    const abort = () => {
      for (const kind of KINDS) if (opened[kind] !== before[kind]) opened[kind]?.endpoint.close();
    };
    const opened: { -readonly [Kind in keyof State["opened"]]: State["opened"][Kind] } = {
      admin: null,
      metrics: null,
    };
    try {
      opened.metrics = await this.#openMetrics(metrics);
      opened.admin = await this.#openAdmin(admin);
    } catch (error) {
      abort();
      throw error;
    }
    return {
      commit: () => {
        for (const kind of KINDS) if (opened[kind] !== before[kind]) before[kind]?.endpoint.close();
        this.#state = { admin, metrics, opened };
      },
      abort,
    };
  }

  /** Closes them, and every connection to them. */
  close(): void {
    const { opened } = this.#state;
    this.#state = { admin: null, metrics: null, opened: { admin: null, metrics: null } };
    for (const kind of KINDS) opened[kind]?.endpoint.close();
  }

  async #openMetrics(metrics: MetricsConfig | null): Promise<Opened | null> {
    if (metrics === null || metrics.listen === null) return null;
    return await this.#start("metrics", metrics.listen, (request) => {
      const { metrics: now } = this.#state;
      return now === null ? GONE : answerScrape(request, now, this.#options.subject);
    });
  }

  async #openAdmin(admin: AdminConfig | null): Promise<Opened | null> {
    if (admin === null) return null;
    const { address, named } = admin;
    const open = () =>
      this.#start("admin", address, (request) => {
        const { admin: now } = this.#state;
        return now === null ? GONE : answerAdmin(request, { ...this.#options.subject, admin: now });
      });
    if (named) return await open();
    // Nobody asked for it by name: a proxy that cannot be administered still proxies.
    try {
      if (address.kind === "unix") ownFolder(dirname(address.path));
      return await open();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#options.log.warn(
        `No admin interface: ${
          literal(why)
        }. Name another place with admin.listen, or write "admin: off"`,
      );
      return null;
    }
  }

  async #start(
    kind: keyof State["opened"],
    written: Address,
    answer: HttpEndpointOptions["answer"],
  ): Promise<Opened> {
    const known = this.#state.opened[kind];
    if (known !== null && same(known.written, written)) return known;
    const { log, inherited, takeOver } = this.#options;
    const held = written.kind === "tcp" ? inherited.take(kind, written) : null;
    const endpoint = await HttpEndpoint.start({
      name: kind,
      address: held?.bound ?? written,
      takeOver,
      log,
      answer,
    });
    // The endpoint has the socket, too.
    held?.close();
    return { written, address: held?.address ?? endpoint.address, endpoint };
  }
}

const KINDS = ["admin", "metrics"] as const;

/** For a request that arrives while its endpoint goes. */
const GONE: EndpointAnswer = problem(503, "closing", "Nothing is answered here any more.");

function answerScrape(
  request: EndpointRequest,
  { path }: MetricsConfig,
  subject: Omit<AdminSubject, "admin">,
): EndpointAnswer {
  if (request.path === path) return answerMetrics(request, subject.metrics);
  return answerProbe(request, subject.state()) ??
    problem(404, "not_found", `There are ${path}, /livez and /readyz.`);
}
