/**
 * Services of the program, started in the order of their dependencies and stopped in the opposite one.
 *
 * @module
 */

/** Something that runs as long as the program does. */
export interface Service {
  readonly name: string;
  /** Names of services that must be ready before this one starts. */
  readonly dependsOn: readonly string[];
  /** Starts; resolves when ready to serve. */
  start(): Promise<void>;
  /** Stops; resolves when nothing of it is left. Must not throw. */
  stop(): Promise<void>;
}

/** Thrown for services that wait for each other or for one that does not exist. */
export class ServiceGraphError extends Error {
  override readonly name: string = "ServiceGraphError";
}

/** Starts and stops services in order. */
export class ServiceGraph {
  readonly #services = new Map<string, Service>();
  /** Started, in order. */
  readonly #running: Service[] = [];

  /**
   * Adds a service; before `start` only.
   *
   * @throws {ServiceGraphError} If the name is taken.
   */
  add(service: Service): void {
    if (this.#services.has(service.name)) {
      throw new ServiceGraphError(`Cannot add service "${service.name}": the name is taken`);
    }
    this.#services.set(service.name, service);
  }

  /**
   * Starts all, each as soon as what it depends on is ready. If one fails, what runs is stopped again.
   *
   * @throws What the failing service threw, or {@linkcode ServiceGraphError}.
   */
  async start(): Promise<void> {
    for (const level of this.#levels()) {
      const results = await Promise.allSettled(level.map(async (service) => {
        await service.start();
        this.#running.push(service);
      }));
      const failed = results.find((result) => result.status === "rejected");
      if (failed !== undefined) {
        await this.stop();
        throw failed.reason;
      }
    }
  }

  /** Stops all that run, dependants first. */
  async stop(): Promise<void> {
    const running = new Set(this.#running.splice(0));
    for (const level of this.#levels().reverse()) {
      await Promise.all(level.filter((service) => running.has(service)).map((s) => s.stop()));
    }
  }

  /** Names of the services that are ready. */
  get ready(): readonly string[] {
    return this.#running.map((service) => service.name);
  }

  /** Services in rows: those of a row depend only on rows before it. */
  #levels(): Service[][] {
    const levels: Service[][] = [];
    const placed = new Set<string>();
    const left = new Set(this.#services.values());
    for (const service of left) {
      for (const name of service.dependsOn) {
        if (!this.#services.has(name)) {
          throw new ServiceGraphError(
            `Cannot start service "${service.name}": it depends on "${name}", which does not exist`,
          );
        }
      }
    }
    while (left.size > 0) {
      const level = [...left].filter((service) =>
        service.dependsOn.every((name) => placed.has(name))
      );
      if (level.length === 0) {
        const names = [...left].map((service) => service.name).join(", ");
        throw new ServiceGraphError(`Cannot start services: ${names} wait for each other`);
      }
      for (const service of level) {
        left.delete(service);
        placed.add(service.name);
      }
      levels.push(level);
    }
    return levels;
  }
}
