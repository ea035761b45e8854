/**
 * Takes away what a plugin must not reach in the realm it shares with us.
 *
 * This stops accidents and lazy malice. Against code that means harm, the process level is what counts.
 *
 * @module
 */
import process from "node:process";
import type { LogLevel } from "./context.ts";

/** Globals that lead to other realms, other threads, shared stores, or the process. */
const HIDDEN = [
  "BroadcastChannel",
  "Cache",
  "CacheStorage",
  "GPU",
  "Worker",
  "alert",
  "caches",
  "close",
  "confirm",
  "global",
  "localStorage",
  "nodeBootstrap",
  "onmessage",
  "postMessage",
  "process",
  "prompt",
  "require",
  "sessionStorage",
];

/** What is left of `Deno`: functions that ask the permissions each time. */
const KEPT = [
  "connect",
  "connectTls",
  "copyFile",
  "errors",
  "inspect",
  "lstat",
  "lstatSync",
  "makeTempDir",
  "makeTempFile",
  "mkdir",
  "mkdirSync",
  "open",
  "openSync",
  "readDir",
  "readDirSync",
  "readFile",
  "readFileSync",
  "readTextFile",
  "readTextFileSync",
  "realPath",
  "realPathSync",
  "remove",
  "removeSync",
  "rename",
  "renameSync",
  "resolveDns",
  "SeekMode",
  "stat",
  "statSync",
  "writeFile",
  "writeFileSync",
  "writeTextFile",
  "writeTextFileSync",
];

interface Prototype {
  readonly prototype: object;
}

/** Hardens this realm. Whatever the caller still needs of it must have been taken before. */
export function hardenRealm(log: (level: LogLevel, message: string) => void): void {
  forbidAdoptingSockets();
  keepMessagesOwn();
  const facade = makeFacade();
  redirectConsole(log);
  const navigatorPrototype = Object.getPrototypeOf(navigator);
  for (const name of ["locks", "gpu", "storage", "serviceWorker"]) hide(navigatorPrototype, name);
  for (const name of HIDDEN) hide(globalThis, name);
  for (let on: object | null = globalThis; on !== null; on = Object.getPrototypeOf(on)) {
    for (const name of HIDDEN) if (Object.hasOwn(on, name)) hide(on, name);
  }
  Object.defineProperty(globalThis, "Deno", {
    value: facade,
    configurable: false,
    enumerable: false,
    writable: false,
  });
}

/** A socket of the process could be taken over by its number, without any permission. */
function forbidAdoptingSockets(): void {
  const binding =
    (process as unknown as { binding(name: string): Record<string, Prototype> }).binding;
  const refuse = () => {
    throw new Error("Cannot open a file descriptor as a socket");
  };
  for (const { prototype } of [binding("tcp_wrap")["TCP"]!, binding("pipe_wrap")["Pipe"]!]) {
    for (const name of ["open", "openFromRid"]) {
      Object.defineProperty(prototype, name, {
        value: refuse,
        configurable: false,
        writable: false,
      });
    }
  }
}

/**
 * The constructor of an event assigns what came with it, so a setter further up would see that first; and
 * with a message of the main thread comes memory that a plugin must not see.
 */
function keepMessagesOwn(): void {
  const { defineProperty } = Object;
  defineProperty(MessageEvent.prototype, "data", {
    configurable: false,
    get: () => undefined,
    set(this: object, value: unknown) {
      const own = { __proto__: null, value, configurable: true, enumerable: true, writable: true };
      defineProperty(this, "data", own as PropertyDescriptor);
    },
  });
}

function makeFacade(): object {
  const facade: Record<string, unknown> = {};
  const source = Deno as unknown as Record<string, unknown>;
  for (const name of KEPT) if (name in source) facade[name] = source[name];
  const { env } = Deno;
  facade["env"] = Object.freeze({
    get: (name: string) => env.get(name),
    has: (name: string) => env.has(name),
  });
  return Object.freeze(facade);
}

function redirectConsole(log: (level: LogLevel, message: string) => void): void {
  const { inspect } = Deno;
  const line = (level: LogLevel) => (...values: unknown[]) => {
    let text: string;
    try {
      text = values.map((value) => typeof value === "string" ? value : inspect(value)).join(" ");
    } catch {
      text = "A value that cannot be shown.";
    }
    log(level, text.slice(0, 4096));
  };
  const own: Record<string, unknown> = {};
  for (const name of Object.getOwnPropertyNames(console)) {
    if (typeof (console as unknown as Record<string, unknown>)[name] === "function") {
      own[name] = () => {};
    }
  }
  own["debug"] = own["trace"] = line("debug");
  own["log"] = own["info"] = own["dir"] = line("info");
  own["warn"] = line("warn");
  own["error"] = line("error");
  Object.defineProperty(globalThis, "console", { value: own, configurable: true, writable: true });
}

function hide(on: object, name: string): void {
  Object.defineProperty(on, name, {
    value: undefined,
    configurable: false,
    enumerable: false,
    writable: false,
  });
}
