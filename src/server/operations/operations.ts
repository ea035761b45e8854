/**
 * Where operators and their tools ask: the admin interface and the address of the metrics. Open from before the first
 * service starts until after the last has stopped, so that probes always have an answer.
 *
 * @module
 */
import { dirname } from "node:path";
import process from "node:process";
import type { AdminConfig, MetricsConfig } from "../../config/types.ts";
import { literal, type Logger } from "../../observe/log.ts";
import { formatAddress } from "../../transport/address.ts";
import { type AdminSubject, answerAdmin } from "./admin_api.ts";
import {
  type EndpointAnswer,
  type EndpointRequest,
  HttpEndpoint,
  problem,
} from "./http_endpoint.ts";
import { answerMetrics, answerProbe } from "./probes.ts";

/** What {@linkcode Operations} are made from. */
export interface OperationsOptions {
  readonly admin: AdminConfig | null;
  readonly metrics: MetricsConfig | null;
  readonly subject: Omit<AdminSubject, "admin">;
  readonly log: Logger;
}

/** Where they listen, with the ports that the system chose; `null` for what there is not. */
export interface OperationsAddresses {
  readonly admin: string | null;
  readonly metrics: string | null;
}

/** Both endpoints. */
export class Operations {
  readonly #endpoints: HttpEndpoint[] = [];
  #addresses: OperationsAddresses = { admin: null, metrics: null };

  /**
   * Opens what the config asks for.
   *
   * @throws {ProxyError} `bind_error` if an address that the config names cannot be listened on.
   */
  static async open(options: OperationsOptions): Promise<Operations> {
    const operations = new Operations();
    try {
      const metrics = await operations.#openMetrics(options);
      const admin = await operations.#openAdmin(options);
      operations.#addresses = { admin, metrics };
      return operations;
    } catch (error) {
      operations.close();
      throw error;
    }
  }

  get addresses(): OperationsAddresses {
    return this.#addresses;
  }

  /** Closes them, and every connection to them. */
  close(): void {
    for (const endpoint of this.#endpoints.splice(0)) endpoint.close();
  }

  async #openMetrics({ metrics, subject, log }: OperationsOptions): Promise<string | null> {
    if (metrics === null || metrics.listen === null) return null;
    return await this.#start({
      name: "metrics",
      address: metrics.listen,
      log,
      answer: (request) => answerScrape(request, metrics, subject),
    });
  }

  async #openAdmin({ admin, subject, log }: OperationsOptions): Promise<string | null> {
    if (admin === null) return null;
    const whole: AdminSubject = { ...subject, admin };
    const open = () =>
      this.#start({
        name: "admin",
        address: admin.address,
        log,
        answer: (request) => answerAdmin(request, whole),
      });
    if (admin.named) return await open();
    // Nobody asked for it by name: a proxy that cannot be administered still proxies.
    try {
      if (admin.address.kind === "unix") ownFolder(dirname(admin.address.path));
      return await open();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      log.warn(
        `No admin interface: ${
          literal(why)
        }. Name another place with admin.listen, or write "admin: off"`,
      );
      return null;
    }
  }

  async #start(options: Parameters<typeof HttpEndpoint.start>[0]): Promise<string> {
    const endpoint = await HttpEndpoint.start(options);
    this.#endpoints.push(endpoint);
    return formatAddress(endpoint.address);
  }
}

function answerScrape(
  request: EndpointRequest,
  { path }: MetricsConfig,
  subject: Omit<AdminSubject, "admin">,
): EndpointAnswer {
  if (request.path === path) return answerMetrics(request, subject.metrics);
  return answerProbe(request, subject.state()) ??
    problem(404, "not_found", `There are ${path}, /livez and /readyz.`);
}

/**
 * Makes a folder that nobody else can put anything into.
 *
 * @throws {Error} If there is one already which others may write to.
 */
function ownFolder(path: string): void {
  Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
  const { isDirectory, uid, mode } = Deno.lstatSync(path);
  const own = process.getuid?.();
  if (isDirectory && (own === undefined || uid === own) && ((mode ?? 0) & 0o022) === 0) return;
  throw new Error(`others may write to the folder ${JSON.stringify(path)}`);
}
