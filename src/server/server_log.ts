/**
 * The operational log of the main thread, by the settings of the config that serves and by what operators have set.
 *
 * @module
 */
import { same } from "../base/same.ts";
import type { Config, LogLevel } from "../config/types.ts";
import { type Logger, logger, type RunningLog, startLog, startLogAnyhow } from "../observe/log.ts";

/** The operational log of the main thread. */
export class ServerLog {
  readonly logger: Logger = logger("server");
  #running: RunningLog;
  #settings: Config["log"];
  #droppedBefore = 0;

  /**
   * @param early Whether it goes to stderr until {@linkcode open}: its file is to be opened by another user.
   * @throws {Error} If its file cannot be opened.
   */
  constructor({ log }: Config, early: boolean = false) {
    this.#settings = log;
    this.#running = startLog(early ? { ...log, file: null } : log);
  }

  /**
   * Opens its file, if it went to stderr until now.
   *
   * @throws {Error} If it cannot be opened.
   */
  open(): void {
    const early = this.#running;
    this.#running = startLog(this.#settings);
    void early.close();
  }

  /** The least severe lines that are written. */
  get level(): LogLevel {
    return this.#running.level;
  }

  set level(level: LogLevel) {
    this.#running.setLevel(level);
  }

  /** Lines that were dropped. */
  get dropped(): number {
    return this.#droppedBefore + this.#running.dropped;
  }

  /** The level that holds with a config: what an operator has set, until the config says something else. */
  levelOf({ log }: Config): LogLevel {
    return same(log, this.#settings) ? this.level : log.level;
  }

  /** Another config serves. */
  follow({ log }: Config): void {
    if (same(log, this.#settings)) return;
    const old = this.#running;
    this.#settings = log;
    this.#running = startLogAnyhow(log);
    this.#droppedBefore += old.dropped;
    void old.close();
  }

  /** Its file was moved away: another is opened. */
  reopen(): void {
    void this.#running.reopen();
  }

  /** Writes what has gathered, and ends the log. */
  close(): Promise<void> {
    return this.#running.close();
  }
}
