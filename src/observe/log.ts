/**
 * The operational log: what the program itself has to say, on stderr.
 *
 * @module
 */
import { configureSync, getLogger, type Logger, type LogRecord, resetSync } from "@logtape/logtape";
import { jsonText, timestamp } from "./json_text.ts";
import { fileSink, type LineSink, standardSink } from "./line_sink.ts";
import { LineWriter } from "./line_writer.ts";

export type { Logger };

/** The least severe lines that are written. */
export type Level = "debug" | "info" | "warning" | "error";

/** Options of {@linkcode startLog}. */
export interface LogOptions {
  /** Default `info`. */
  readonly level?: Level;
  /** Default `text`. */
  readonly format?: "text" | "json";
  /** Path of a file to append to; `null`, and default: stderr. */
  readonly file?: string | null;
  /** Over `file`; for tests. */
  readonly sink?: LineSink;
}

/** A log that was started. */
export interface RunningLog {
  /** Lines dropped because they could not be written, or nobody read them. */
  readonly dropped: number;
  /** The least severe lines that are written. */
  readonly level: Level;
  /** Changes that; who has a logger need not ask for it again. */
  setLevel(level: Level): void;
  /** Opens the file again, after it was moved away. */
  reopen(): Promise<void>;
  /** Writes what has gathered. */
  flush(): Promise<void>;
  /** Writes what has gathered, and ends the log. */
  close(): Promise<void>;
}

const ROOT = "sluice";
/** Stands for the log that was started last. */
let latest: object | null = null;

/** The logger of a part of the program: `logger("server")`. */
export function logger(...category: string[]): Logger {
  return getLogger([ROOT, ...category]);
}

/** A text from elsewhere as part of a message: without it, what stands in braces would be taken for a field. */
export function literal(text: string): string {
  return text.replace(/[{}]/g, "$&$&");
}

/**
 * Starts the log of this isolate. A sink that stalls or is closed costs lines, never time, and never an error. That a
 * file cannot be written is said on stderr, once until it can.
 *
 * Started again, it replaces the one before.
 *
 * @throws {Error} If its file cannot be opened.
 */
export function startLog(options: LogOptions = {}): RunningLog {
  const format = options.format === "json" ? jsonLine : textLine;
  const gone = () =>
    logger("log").warn(`The log ${literal(options.file ?? "")} was gone; it was begun anew`);
  const writer = new LineWriter({
    sink: options.sink ?? (options.file ? fileSink(options.file, gone) : standardSink("stderr")),
    flushInterval: 0,
    onError: (error) => complain(options, error),
    droppedLine: (dropped) =>
      format({
        category: [ROOT, "log"],
        level: "warning",
        message: [`${dropped} log lines were dropped because they could not be written`],
        rawMessage: "",
        timestamp: Date.now(),
        properties: {},
      }),
  });
  let level = options.level ?? "info";
  const configure = () =>
    configureSync({
      reset: true,
      sinks: { lines: (record: LogRecord) => writer.write(format(record)) },
      loggers: [
        { category: [ROOT], lowestLevel: level, sinks: ["lines"] },
        { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["lines"] },
      ],
    });
  const settings = {};
  latest = settings;
  configure();
  return {
    get dropped() {
      return writer.dropped;
    },
    get level() {
      return level;
    },
    setLevel(wanted) {
      level = wanted;
      if (latest === settings) configure();
    },
    reopen: () => writer.reopen(),
    flush: () => writer.flush(),
    async close() {
      // Another one may have taken its place.
      if (latest === settings) resetSync();
      await writer.close();
    },
  };
}

/** Says on stderr that the file of the log cannot be written; once, until it can. */
function complain({ file }: LogOptions, error: unknown): void {
  if (!file) return;
  const line = textLine({
    category: [ROOT, "log"],
    level: "error",
    message: [`The log ${file} cannot be written, and lines are dropped until it can: ${error}`],
    rawMessage: "",
    timestamp: Date.now(),
    properties: {},
  });
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(`${line}\n`));
  } catch {
    // Then nobody is told; the lines are counted.
  }
}

/** Starts the log as asked for; if its file cannot be opened, it goes to stderr, and says so. */
export function startLogAnyhow(options: LogOptions): RunningLog {
  try {
    return startLog(options);
  } catch (error) {
    const log = startLog({ ...options, file: null });
    logger("log").error("The log goes to stderr", { error });
    return log;
  }
}

const NAMES: Readonly<Record<LogRecord["level"], string>> = {
  trace: "DEBUG",
  debug: "DEBUG",
  info: "INFO",
  warning: "WARN",
  error: "ERROR",
  fatal: "ERROR",
};

/** Fields that never reach a log, whoever hands them in. */
const SECRET =
  /^(authorization|proxy-authorization|cookie|set-cookie|x-api-key|password|secret|token)$/i;

/** Causes of causes that are written; an error may be its own cause. */
const MOST_CAUSES = 8;

/** An error and what caused it, each with its stack. */
function errorText(error: Error): string {
  let text = error.stack ?? `${error.name}: ${error.message}`;
  let { cause } = error;
  for (let i = 0; i < MOST_CAUSES && cause !== undefined && cause !== null; i++) {
    const known: unknown = cause;
    text += `\nCaused by: ${
      known instanceof Error ? known.stack ?? `${known.name}: ${known.message}` : textOf(known)
    }`;
    cause = known instanceof Error ? known.cause : undefined;
  }
  return text;
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof Error) return errorText(value);
  if (typeof value === "bigint") return String(value);
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

function jsonLine(record: LogRecord): string {
  let line = `{"timestamp":"${timestamp(record.timestamp)}","severity":"${
    NAMES[record.level]
  }","logger":${jsonText(record.category.join("."))},"message":${
    jsonText(record.message.map(textOf).join(""))
  }`;
  for (const [name, value] of Object.entries(record.properties)) {
    const plain = typeof value === "number" && Number.isFinite(value) || typeof value === "boolean";
    const text = SECRET.test(name) ? '"REDACTED"' : plain ? String(value) : jsonText(textOf(value));
    line += `,${jsonText(name)}:${text}`;
  }
  return `${line}}`;
}

function textLine(record: LogRecord): string {
  let line = `${timestamp(record.timestamp)} ${NAMES[record.level].padEnd(5)} ${
    record.category.join(".")
  }: ${record.message.map(textOf).join("")}`;
  for (const [name, value] of Object.entries(record.properties)) {
    const text = typeof value === "string" ? jsonText(value) : textOf(value);
    line += ` ${name}=${SECRET.test(name) ? "REDACTED" : text}`;
  }
  // One record is one line, and only a terminal's own text may drive the terminal.
  // deno-lint-ignore no-control-regex -- control characters are what it looks for
  return line.replace(/[\x00-\x1f\x7f-\uffff]/g, (character) => {
    if (character === "\n") return "\\n";
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
