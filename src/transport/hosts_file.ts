/**
 * The hosts file of the system: names that the operator of the host has given addresses to.
 *
 * @module
 */
import { isIP } from "node:net";

/** Where it usually is. */
export const HOSTS_PATH = "/etc/hosts";
/** Larger files are lists to block advertisers with, and nothing that an upstream would be in. */
const MOST_BYTES = 1024 * 1024;

/** Reads the text of a hosts file into addresses by lower-case name. Lines that make no sense are skipped. */
export function parseHosts(text: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const line of text.split(/\r?\n/)) {
    const [address, ...names] = line.replace(/#.*/, "").trim().split(/[ \t]+/);
    if (address === undefined || isIP(address) === 0) continue;
    for (const name of names) {
      const key = name.toLowerCase();
      const known = found.get(key);
      if (known === undefined) found.set(key, [address]);
      else if (!known.includes(address)) known.push(address);
    }
  }
  return found;
}

/** A hosts file that is read again when it may have changed. */
export class HostsFile {
  readonly #path: string;
  readonly #every: number;
  #names: Map<string, string[]> = new Map();
  #readAt = -Infinity;

  /**
   * @param every Milliseconds before it is read again. Default 5000.
   */
  constructor(path: string = HOSTS_PATH, every: number = 5_000) {
    this.#path = path;
    this.#every = every;
  }

  /** The addresses of a name, or `null`. A file that cannot be read, or that we may not read, has no names. */
  async find(host: string): Promise<readonly string[] | null> {
    const now = performance.now();
    if (now - this.#readAt >= this.#every) {
      this.#readAt = now;
      try {
        const { size } = await Deno.stat(this.#path);
        this.#names = size > MOST_BYTES
          ? new Map()
          : parseHosts(await Deno.readTextFile(this.#path));
      } catch {
        this.#names = new Map();
      }
    }
    return this.#names.get(host.toLowerCase().replace(/\.$/, "")) ?? null;
  }
}
