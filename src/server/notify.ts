/**
 * Telling the service manager how the program is: systemd's protocol of `NOTIFY_SOCKET`, one datagram per message.
 *
 * @module
 */
import { literal, type Logger } from "../observe/log.ts";
import { KernelClock } from "./kernel_clock.ts";

/** What {@linkcode Notifier.open} takes. */
export interface NotifierOptions {
  readonly log: Logger;
  /** Whether this process takes the place of another: it then says that it is the main one. */
  readonly successor: boolean;
  /** Whether the main thread does its work; asked before each sign of life. */
  readonly healthy: () => boolean;
}

/** Tells a service manager, or nobody. */
export class Notifier {
  readonly #options: NotifierOptions;
  #socket: Deno.DatagramConn | null = null;
  #address: Deno.UnixAddr | null = null;
  #clock: KernelClock | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;
  #silent = false;

  private constructor(options: NotifierOptions) {
    this.#options = options;
  }

  /** Opens the way to the service manager that the environment names, if it names one. */
  static open(options: NotifierOptions): Notifier {
    const notifier = new Notifier(options);
    const path = Deno.env.get("NOTIFY_SOCKET");
    if (path === undefined || path === "") return notifier;
    try {
      notifier.#socket = Deno.listenDatagram({
        transport: "unixpacket",
        path: `\0sluice-notify-${Deno.pid}-${crypto.randomUUID().slice(0, 8)}`,
      });
      notifier.#clock = KernelClock.open();
      notifier.#address = { transport: "unixpacket", path: path.replace(/^@/, "\0") };
    } catch (error) {
      options.log.warn(`The service manager cannot be told anything: ${literal(String(error))}`);
    }
    return notifier;
  }

  /** Everything serves. */
  ready(status: string): void {
    const main = this.#options.successor ? `MAINPID=${Deno.pid}\n` : "";
    this.#send(`${main}READY=1\nSTATUS=${status}`);
    this.#beat();
  }

  /** The config is being read again. */
  reloading(): void {
    // By this a service manager that asked for it (`Type=notify-reload`) knows that it is not one from before.
    const time = this.#clock?.now() ?? null;
    this.#send(
      `RELOADING=1\n${time === null ? "" : `MONOTONIC_USEC=${time}\n`}STATUS=Reloading`,
    );
  }

  /** A reload is over, one way or the other. */
  reloaded(status: string): void {
    this.#send(`READY=1\nSTATUS=${status}`);
  }

  /** The program is about to end. */
  stopping(): void {
    this.#send("STOPPING=1\nSTATUS=Draining");
  }

  /** Another process is the main one now: what this one does is its own business. */
  silence(): void {
    this.#silent = true;
    clearInterval(this.#timer);
  }

  close(): void {
    clearInterval(this.#timer);
    try {
      this.#socket?.close();
    } catch {
      // Closed already.
    }
    this.#socket = null;
    this.#clock?.close();
    this.#clock = null;
  }

  /** Begins to give signs of life, twice as often as the service manager wants them. */
  #beat(): void {
    const interval = Number(Deno.env.get("WATCHDOG_USEC") ?? "0") / 1000;
    const pid = Deno.env.get("WATCHDOG_PID");
    const meant = pid === undefined || pid === String(Deno.pid) || this.#options.successor;
    if (!(interval > 0) || !meant || this.#timer !== undefined) return;
    this.#timer = setInterval(() => {
      if (this.#options.healthy()) this.#send("WATCHDOG=1");
    }, interval / 2);
  }

  #send(message: string): void {
    if (this.#socket === null || this.#silent) return;
    this.#socket.send(new TextEncoder().encode(message), this.#address!).catch((error) => {
      this.#options.log.warn(`The service manager was not told: ${literal(String(error))}`);
    });
  }
}
