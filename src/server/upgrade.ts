/**
 * Putting a new process in the place of this one, without a refused connection: it gets the listening sockets, and
 * this process drains when the new one serves. If the new one fails, this one goes on.
 *
 * @module
 */
import { dirname } from "node:path";
import { literal, type Logger } from "../observe/log.ts";
import type { TcpAddress } from "../transport/address.ts";
import { HandedSockets } from "../transport/handed_sockets.ts";
import { bindUnix } from "../transport/unix_path.ts";
import { type GoAhead, HANDOVER_VARIABLE, HandoverLine, type HandoverState } from "./handover.ts";
import type { InheritedDescriptor } from "./inherited.ts";
import { startAgain } from "./start_again.ts";

/** A socket of this process that listens. */
export interface OwnSocket {
  /** Of the listener. */
  readonly name: string;
  /** With an IP address. */
  readonly address: TcpAddress;
}

/** What an upgrade hands over. */
export interface UpgradeOptions {
  readonly sockets: readonly OwnSocket[];
  readonly state: Pick<HandoverState, "paths" | "stickySecret" | "settings">;
  /** Said when the new process may serve. */
  readonly goAhead: () => GoAhead;
  /** Where the new process finds this one; `null`: in a folder of its own. */
  readonly path: string | null;
  /** Gives it up, unless the new process may serve already. */
  readonly signal: AbortSignal;
  /** Milliseconds that the new process may take until it serves. */
  readonly timeout: number;
  readonly log: Logger;
}

/** An upgrade that failed; the message says why. */
export class UpgradeError extends Error {
  override readonly name: string = "UpgradeError";
}

/**
 * Starts the new process and waits until it serves.
 *
 * @returns Its process id.
 * @throws {UpgradeError} If it does not come to serve. It is gone then.
 */
export async function handOver(options: UpgradeOptions): Promise<number> {
  if (Deno.pid === 1) {
    throw new UpgradeError(
      "this is the first process of a container, which ends with it: start another container instead",
    );
  }
  const handed = HandedSockets.load();
  if (handed === null) {
    throw new UpgradeError("handing sockets over needs Linux and --allow-ffi: restart instead");
  }
  const made = options.path === null ? await Deno.makeTempDir({ prefix: "sluice-upgrade-" }) : null;
  const path = options.path ?? `${made}/handover.sock`;
  try {
    const { listener, release } = await bindUnix(path, { mode: 0o600 });
    try {
      return await exchange(options, handed, listener, path);
    } finally {
      closeListener(listener);
      release();
    }
  } catch (error) {
    if (error instanceof UpgradeError) throw error;
    throw new UpgradeError(error instanceof Error ? error.message : String(error));
  } finally {
    handed.unload();
    if (made !== null) await Deno.remove(dirname(path), { recursive: true }).catch(() => {});
  }
}

async function exchange(
  { sockets, state, goAhead, signal, timeout, log }: UpgradeOptions,
  handed: HandedSockets,
  listener: Deno.UnixListener,
  path: string,
): Promise<number> {
  const descriptors: InheritedDescriptor[] = [];
  let child: Deno.ChildProcess;
  try {
    for (const { name, address } of sockets) {
      descriptors.push({ name, descriptor: handed.inheritable(address) });
    }
    // Until they are closed again, every child would inherit them: nothing may come between.
    child = startAgain({ env: { [HANDOVER_VARIABLE]: path }, output: "inherit" });
  } finally {
    for (const { descriptor } of descriptors) handed.close(descriptor);
  }
  log.info(`Process ${child.pid} is to take over`, { pid: child.pid });
  let line: HandoverLine | null = null;
  let mayServe = false;
  const talk = async () => {
    line = new HandoverLine(await listener.accept());
    await line.send({ pid: Deno.pid, sockets: descriptors, ...state });
    await line.receive();
    mayServe = true;
    await line.send(goAhead());
    await line.receive();
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new UpgradeError(`the new process did not serve within ${timeout / 1000} s`)),
      timeout,
    );
  });
  const ended = child.status.then(({ code, signal }): never => {
    throw new UpgradeError(
      `the new process ended before it served, ${
        signal === null ? `with code ${code}` : `by ${signal}`
      }; what it said stands in the log`,
    );
  });
  const givenUp = Promise.withResolvers<never>();
  const giveUp = () => {
    if (!mayServe) givenUp.reject(new UpgradeError("this process is about to end"));
  };
  if (signal.aborted) giveUp();
  signal.addEventListener("abort", giveUp);
  try {
    await Promise.race([talk(), late, ended, givenUp.promise]);
    return child.pid;
  } catch (error) {
    kill(child);
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", giveUp);
    ended.catch(() => {});
    late.catch(() => {});
    (line as HandoverLine | null)?.close();
    child.unref();
  }
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

function closeListener(listener: Deno.UnixListener): void {
  try {
    listener.close();
  } catch {
    // Closed already.
  }
}

/** Says why an upgrade failed. */
export function upgradeFailure(error: unknown): string {
  return literal(error instanceof Error ? error.message : String(error));
}
