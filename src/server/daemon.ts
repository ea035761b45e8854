/**
 * Going on in the background: the process that is started, and the one that starts it and waits until it serves.
 *
 * ```text
 *   starter: starts the daemon in a session of its own, reads what it writes ──▶ daemon: connects
 *   daemon: gets everything ready, serves, lets go of its standard streams
 *   starter: says its id, and ends with 0                                    ◀── daemon: "ready"
 * ```
 *
 * A daemon that ends before it serves takes the starter with it; one whose starter has gone by then ends, too.
 *
 * @module
 */
import { dirname } from "node:path";
import { HandoverLine } from "./handover.ts";
import { libcAvailable } from "../transport/libc.ts";
import { bindUnix } from "../transport/unix_path.ts";
import { releaseStreams } from "./standard_streams.ts";
import { startAgain } from "./start_again.ts";

/** The environment variable that has the path of the socket over which the starter is told. */
export const DAEMON_VARIABLE: string = "SLUICE_DAEMON";

/** What a daemon is started by. */
export interface DaemonOptions {
  /** Milliseconds that it may take until it serves. */
  readonly timeout: number;
  /** Takes what it writes until then. */
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

/** A daemon that did not come to serve. It is gone then. */
export class DaemonError extends Error {
  override readonly name: string = "DaemonError";
  /** With which it has ended; `null`: it was ended, or there was none. */
  readonly code: number | null;

  constructor(message: string, code: number | null = null) {
    super(message);
    this.code = code;
  }
}

/** Whether this process was started to go on in the background. */
export function isDaemon(): boolean {
  return Deno.env.has(DAEMON_VARIABLE);
}

/** Why this process cannot start a daemon, and what to do; `null`: it can. */
export function daemonObstacle(): string | null {
  if (Deno.build.os !== "linux" || !libcAvailable()) {
    return "that needs Linux and --allow-ffi, which -A includes: let a service manager run it in the foreground";
  }
  if (Deno.pid === 1) {
    return "this is the first process of a container, which ends with it: run it in the foreground";
  }
  if (Deno.env.get("NOTIFY_SOCKET")) {
    return "the service manager waits for this very process (Type=notify of systemd): remove daemon, or write Type=forking and PIDFile";
  }
  if (Deno.env.get("LISTEN_PID") === String(Deno.pid)) {
    return "the service manager has given its sockets to this very process: run it in the foreground";
  }
  return null;
}

/** A hint for whoever is run by systemd directly, which takes the end of the starter for that of the service. */
export function daemonHint(): string {
  return Deno.env.get("SYSTEMD_EXEC_PID") === String(Deno.pid)
    ? "systemd has started this process: a unit without Type=forking and PIDFile takes its end for that of the service; Type=notify without daemon is better\n"
    : "";
}

/**
 * Starts this program again in the background, by its own command line, and waits until it serves.
 *
 * @returns Its process id.
 * @throws {DaemonError} If it does not come to serve. What it wrote was passed on.
 */
export async function startDaemon({ timeout, out, err }: DaemonOptions): Promise<number> {
  const obstacle = daemonObstacle();
  if (obstacle !== null) throw new DaemonError(`no daemon can be started: ${obstacle}`);
  const folder = await Deno.makeTempDir({ prefix: "sluice-daemon-" });
  try {
    const path = `${folder}/ready.sock`;
    const { listener, release } = await bindUnix(path, { mode: 0o600 });
    try {
      const child = startAgain({
        env: { [DAEMON_VARIABLE]: path },
        output: "piped",
        detached: true,
      });
      const passed = Promise.all([pass(child.stdout, out), pass(child.stderr, err)]);
      await whenReady(child, listener, timeout, passed);
      // It has let go of its streams, so that they end.
      await passed;
      child.unref();
      return child.pid;
    } finally {
      try {
        listener.close();
      } catch {
        // Closed already.
      }
      release();
    }
  } finally {
    await Deno.remove(folder, { recursive: true }).catch(() => {});
  }
}

async function whenReady(
  child: Deno.ChildProcess,
  listener: Deno.UnixListener,
  timeout: number,
  passed: Promise<unknown>,
): Promise<void> {
  let line: HandoverLine | null = null;
  const ready = async () => {
    line = new HandoverLine(await listener.accept());
    try {
      await line.receive();
    } catch {
      // It ends, and says why.
      await new Promise(() => {});
    }
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(
          new DaemonError(
            `the process in the background did not serve within ${
              timeout / 1000
            } s (server.daemon_ready_timeout), and was ended`,
          ),
        ),
      timeout,
    );
  });
  const ended = child.status.then(async ({ code, signal }): Promise<never> => {
    await passed;
    const how = signal === null ? `with code ${code}` : `by ${signal}`;
    throw new DaemonError(
      `the process in the background ended before it served, ${how}`,
      signal === null && code > 0 ? code : null,
    );
  });
  const interrupted = Promise.withResolvers<never>();
  const handlers = (["SIGINT", "SIGTERM"] as const).map((name) => {
    const handler = () => interrupted.reject(new DaemonError(`${name} came before it served`));
    Deno.addSignalListener(name, handler);
    return () => Deno.removeSignalListener(name, handler);
  });
  try {
    await Promise.race([ready(), late, ended, interrupted.promise]);
  } catch (error) {
    // It ends by itself when nobody is there for it any more, and takes its files with it.
    listener.close();
    (line as HandoverLine | null)?.close();
    await endOf(child);
    await passed;
    throw error;
  } finally {
    clearTimeout(timer);
    for (const release of handlers) release();
    for (const promise of [late, ended, interrupted.promise]) promise.catch(() => {});
    (line as HandoverLine | null)?.close();
  }
}

/** Milliseconds that a daemon may take to end when its starter has gone. */
const END_TIMEOUT = 5_000;

/** Waits until a daemon has ended, and ends one that does not. */
async function endOf(child: Deno.ChildProcess): Promise<void> {
  const timer = setTimeout(() => {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }, END_TIMEOUT);
  await child.status;
  clearTimeout(timer);
}

async function pass(from: ReadableStream<Uint8Array>, to: (text: string) => void): Promise<void> {
  for await (const text of from.pipeThrough(new TextDecoderStream())) to(text);
}

/** The starter as the daemon sees it. */
export class DaemonStarter {
  readonly #line: HandoverLine;
  /** Rejects when it goes before it is let go of. */
  readonly gone: Promise<never>;
  #released = false;

  private constructor(line: HandoverLine) {
    this.#line = line;
    this.gone = new Promise((_, reject) => {
      line.receive().catch((cause) => {
        if (!this.#released) reject(new Error(GONE, { cause }));
      });
    });
    this.gone.catch(() => {});
  }

  /**
   * Finds the starter; `null` if this process is no daemon.
   *
   * @throws {Error} If it has gone.
   */
  static async find(): Promise<DaemonStarter | null> {
    const path = Deno.env.get(DAEMON_VARIABLE);
    if (path === undefined) return null;
    // It is for this process alone, not for its children.
    Deno.env.delete(DAEMON_VARIABLE);
    try {
      return new DaemonStarter(new HandoverLine(await Deno.connect({ transport: "unix", path })));
    } catch (error) {
      throw new Error(GONE, { cause: error });
    } finally {
      removeSocket(path);
    }
  }

  /**
   * Everything serves: lets go of the standard streams, and of the starter.
   *
   * @param file Takes what is still written to standard error; `null`: nobody does.
   * @throws {Error} If the starter has gone.
   */
  async ready(file: string | null): Promise<void> {
    releaseStreams(file);
    this.#released = true;
    try {
      await this.#line.send("ready");
    } finally {
      this.close();
    }
  }

  /** Lets go of the starter. */
  close(): void {
    this.#released = true;
    this.#line.close();
  }
}

const GONE = "whoever started this process in the background has gone";

/** Nobody else connects to it, and who made it may be killed before he removes it. */
function removeSocket(path: string): void {
  try {
    Deno.removeSync(path);
    Deno.removeSync(dirname(path));
  } catch {
    // Removed already, or not empty and so none of ours.
  }
}
