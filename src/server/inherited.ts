/**
 * Listening sockets that this process was started with: from the process before it, or from a service manager (systemd's
 * socket activation).
 *
 * @module
 */
import { literal, type Logger } from "../observe/log.ts";
import type { TcpAddress } from "../transport/address.ts";
import { HandedSockets } from "../transport/handed_sockets.ts";
import type { HeldPort } from "../transport/hold.ts";
import { endAddress, endText } from "../transport/socket_table.ts";

/** A descriptor that somebody has left open for us. */
export interface InheritedDescriptor {
  /** Of the listener that it is for; may be empty. */
  readonly name: string;
  readonly descriptor: number;
}

/** The first descriptor that a service manager hands over. */
const FIRST_DESCRIPTOR = 3;

/** Sockets that may be listened on instead of binding one. Each is taken once. */
export class InheritedSockets {
  readonly #log: Logger;
  readonly #sockets: HandedSockets | null;
  readonly #left: (InheritedDescriptor & { readonly end: string })[] = [];

  constructor(descriptors: readonly InheritedDescriptor[], log: Logger) {
    this.#log = log;
    this.#sockets = descriptors.length === 0 ? null : HandedSockets.load();
    if (descriptors.length > 0 && this.#sockets === null) {
      log.warn("Inherited sockets cannot be used: that needs Linux and --allow-ffi");
      return;
    }
    for (const { name, descriptor } of descriptors) {
      const end = this.#sockets!.listensOn(descriptor);
      if (end !== null) this.#left.push({ name, descriptor, end });
      else log.warn(`The inherited descriptor ${descriptor} is no TCP socket that listens`);
    }
  }

  /**
   * The socket for a listener: one that listens on its address, or one that has its name.
   *
   * @returns `null` if there is none.
   */
  take(name: string, address: TcpAddress): HeldPort | null {
    const found = this.#left.find(({ end }) => isAt(address, end)) ??
      this.#left.find((one) => one.name === name);
    if (found === undefined) return null;
    this.#left.splice(this.#left.indexOf(found), 1);
    const adopted = this.#sockets!.adopt(found.descriptor);
    const { host: ip, port } = endAddress(found.end);
    return { ...adopted, ip, address: { ...address, port } };
  }

  /** Closes those that nobody has taken. */
  close(): void {
    for (const { name, descriptor } of this.#left.splice(0)) {
      this.#log.info(
        `The inherited socket ${
          literal(name === "" ? String(descriptor) : name)
        } belongs to no listener of the config; it is closed`,
      );
      this.#sockets!.close(descriptor);
    }
    this.#sockets?.unload();
  }
}

function isAt(address: TcpAddress, end: string): boolean {
  try {
    return endText(address) === end;
  } catch {
    // A name is no address; such a listener is found by its own name.
    return false;
  }
}

/**
 * The sockets of a service manager: `LISTEN_FDS` of them from descriptor 3 on, named by `LISTEN_FDNAMES`, if they are
 * for the process `LISTEN_PID`. The variables are removed, so that children do not take them for theirs.
 */
export function activatedDescriptors(): InheritedDescriptor[] {
  const pid = Deno.env.get("LISTEN_PID");
  const count = Number(Deno.env.get("LISTEN_FDS") ?? "0");
  const names = (Deno.env.get("LISTEN_FDNAMES") ?? "").split(":");
  for (const name of ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]) Deno.env.delete(name);
  if (pid !== String(Deno.pid) || !Number.isInteger(count) || count < 1) return [];
  return Array.from({ length: count }, (_, i) => ({
    name: names[i] ?? "",
    descriptor: FIRST_DESCRIPTOR + i,
  }));
}
