/**
 * A running sandbox as the main thread holds it, whatever it is made of.
 *
 * @module
 */
import type { HostMessage, SandboxMessage } from "./control.ts";
import type { Rights } from "./permissions.ts";
import type { PluginSpec } from "./spec.ts";

/** How a service worker reaches a sandbox. Can be posted; a port has to be transferred. */
export type Line =
  | {
    readonly kind: "port";
    readonly port: MessagePort;
    /** For a `RingChannel`; `null` where threads share none. */
    readonly memory: SharedArrayBuffer | null;
  }
  | { readonly kind: "socket"; readonly path: string; readonly token: string };

/** Why a sandbox ended by itself. */
export interface SandboxExit {
  /** `memory`: over its heap; `import`: it imported what is forbidden; `exit`: anything else. */
  readonly cause: "memory" | "import" | "exit";
  readonly message: string;
}

/** What a sandbox is started with. */
export interface SandboxOptions {
  readonly spec: PluginSpec;
  readonly rights: Rights;
  /** Bytes. */
  readonly heap: number;
  /** Called with each message; they are to be checked. */
  readonly onMessage: (message: SandboxMessage) => void;
  /** Called once if it ends without having been killed. */
  readonly onExit: (exit: SandboxExit) => void;
}

/** A sandbox. */
export interface Sandbox {
  send(message: HostMessage): void;
  /**
   * Opens a direct line for a service worker.
   *
   * @param memory Gives what both ends are to share, if they are threads.
   */
  line(memory: () => SharedArrayBuffer | null): Line;
  /** Resolves when no code of it runs any more; never, if that cannot be known. */
  readonly gone: Promise<void>;
  /** Bytes that it takes beyond its heap limit would be too many; `null` if nobody knows. */
  residentMemory(): Promise<number | null>;
  /** Ends it for certain. */
  kill(): Promise<void>;
}

/** The message for a refused import. */
export function refusedMessage(specifier: string, importer: string): string {
  const from = importer === "" ? "" : ` (from ${importer.replace(/^file:\/\//, "")})`;
  const what = specifier.length > 200 ? `${specifier.slice(0, 199)}…` : specifier;
  return `a plugin must not import ${JSON.stringify(what)}${from}`;
}
