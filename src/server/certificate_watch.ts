/**
 * Certificates, keys and roots of listeners while the program runs: read again when their files change, and told to
 * all service workers; warned of before they expire.
 *
 * @module
 */
import { dirname } from "node:path";
import { type FolderWatch, watchFolder } from "../balancer/discovery/folder_watch.ts";
import { credentialsOf, type ListenerCredentials } from "../config/credentials.ts";
import type { Config } from "../config/types.ts";
import type { ListenerTlsConfig, PemSource } from "../config/types_listeners.ts";
import { literal, type Logger } from "../observe/log.ts";
import type { SampleSink } from "../observe/metrics/book.ts";
import type { ServerMessage } from "../service/control.ts";
import { inspectPair, readCertificates } from "../transport/certificate.ts";
import type { ProgramMetrics } from "./operations/program_metrics.ts";
import type { Service } from "./service_graph.ts";

/** What a {@linkcode CertificateWatch} is made from. */
export interface CertificateWatchOptions {
  readonly config: Config;
  readonly log: Logger;
  readonly metrics: ProgramMetrics;
  /** Tells all service workers. */
  readonly broadcast: (message: ServerMessage) => void;
}

/** Milliseconds of quiet after a change: certificate and key are two files, and both are written in pieces. */
const QUIET = 200;
/** Milliseconds between two looks at files in any case: a folder may be one that cannot be watched. */
const LOOK_INTERVAL = 30_000;
const DAY = 86_400_000;

interface Watched {
  readonly listener: string;
  tls: ListenerTlsConfig;
  /** What could not be used the last time, so that it is said once. */
  problem: string;
}

/** Keeps the credentials of all listeners. */
export class CertificateWatch implements Service {
  readonly name = "certificates";
  readonly dependsOn: readonly string[] = [];
  readonly #options: CertificateWatchOptions;
  #watched: readonly Watched[];
  #started = false;
  readonly #folders = new Map<string, FolderWatch>();
  #quiet: ReturnType<typeof setTimeout> | undefined;
  /** Until when the certificates of a listener are valid, by name. */
  readonly #expiries = new WeakMap<ListenerTlsConfig, readonly (readonly [string, number])[]>();
  #look: ReturnType<typeof setInterval> | undefined;
  #daily: ReturnType<typeof setInterval> | undefined;

  constructor(options: CertificateWatchOptions) {
    this.#options = options;
    this.#watched = watchedIn(options.config);
    options.metrics.book.collect((sink) => this.#collect(sink));
  }

  /** The certificates are those of another config from now on; what it holds was read just now. */
  follow(config: Config): void {
    this.#watched = watchedIn(config);
    if (!this.#started) return;
    clearTimeout(this.#quiet);
    clearInterval(this.#look);
    clearInterval(this.#daily);
    this.#begin();
  }

  start(): Promise<void> {
    this.#started = true;
    this.#begin();
    return Promise.resolve();
  }

  #begin(): void {
    this.#watchFolders();
    if (this.#watched.length === 0) return;
    this.#warnOfExpiry();
    this.#daily = setInterval(() => this.#warnOfExpiry(), DAY);
    if (this.#watched.some(({ tls }) => tls.watch)) {
      this.#look = setInterval(() => {
        this.#watchFolders();
        this.#reread(({ tls }) => tls.watch);
      }, LOOK_INTERVAL);
    }
  }

  stop(): Promise<void> {
    clearTimeout(this.#quiet);
    clearInterval(this.#look);
    clearInterval(this.#daily);
    for (const folder of this.#folders.values()) folder.close();
    this.#folders.clear();
    return Promise.resolve();
  }

  /** What the files hold by now, by listener. */
  state(): Readonly<Record<string, ListenerCredentials>> {
    return Object.fromEntries(
      this.#watched.map(({ listener, tls }) => [listener, credentialsOf(tls)]),
    );
  }

  /** Reads all files again, also those that are not watched. */
  reread(): void {
    this.#reread(() => true);
  }

  #watchFolders(): void {
    const wanted = new Set(
      this.#watched.filter(({ tls }) => tls.watch)
        .flatMap(({ tls }) => sources(tls))
        .flatMap(({ file }) => file === null ? [] : foldersOf(file)),
    );
    for (const [folder, watch] of this.#folders) {
      if (wanted.has(folder) && watch.open) continue;
      watch.close();
      this.#folders.delete(folder);
    }
    for (const folder of wanted) {
      if (this.#folders.has(folder)) continue;
      // Which file it was does not matter: a link to another folder may have been changed instead.
      this.#folders.set(folder, watchFolder(folder, () => this.#changed()));
    }
  }

  #changed(): void {
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => {
      this.#watchFolders();
      this.#reread(({ tls }) => tls.watch);
    }, QUIET);
  }

  #reread(wanted: (watched: Watched) => boolean): void {
    for (const watched of this.#watched) {
      if (wanted(watched)) this.#rereadOne(watched);
    }
  }

  #rereadOne(watched: Watched): void {
    const { log, broadcast } = this.#options;
    const { listener } = watched;
    let next: ListenerTlsConfig;
    try {
      next = reread(watched.tls);
      if (samePem(next, watched.tls)) {
        // What was bad may have been put back as it was.
        watched.problem = "";
        return;
      }
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (problem === watched.problem) return;
      watched.problem = problem;
      log.error(
        `Listener ${listener}: changed certificates are not used: ${
          literal(problem)
        }; those from before stay`,
        { listener },
      );
      return;
    }
    watched.tls = next;
    watched.problem = "";
    broadcast({ kind: "credentials", listener, credentials: credentialsOf(next) });
    log.info(`Listener ${listener}: certificates were read again`, { listener });
    this.#warnOf(watched);
  }

  #collect(sink: SampleSink): void {
    for (const { listener, tls, problem } of this.#watched) {
      sink.add("sluice_tls_certificates_current", [listener], problem === "" ? 1 : 0);
      for (const [name, notAfter] of this.#expiriesOf(tls)) {
        sink.add("sluice_tls_certificate_not_after_seconds", [listener, name], notAfter / 1000);
      }
    }
  }

  #expiriesOf(tls: ListenerTlsConfig): readonly (readonly [string, number])[] {
    let found = this.#expiries.get(tls);
    if (found === undefined) {
      found = tls.certificates.map(({ cert, key }) => {
        const { names, subject, notAfter } = inspectPair(cert.pem, key.pem);
        return [names[0] ?? subject, notAfter] as const;
      });
      this.#expiries.set(tls, found);
    }
    return found;
  }

  #warnOfExpiry(): void {
    for (const watched of this.#watched) this.#warnOf(watched);
  }

  #warnOf({ listener, tls }: Watched): void {
    const now = Date.now();
    for (const { cert, key } of tls.certificates) {
      const { notBefore, notAfter, subject, names } = inspectPair(cert.pem, key.pem);
      const what = `Listener ${listener}: the certificate for ${
        literal(names.slice(0, 3).join(", ") || subject)
      }`;
      const fields = { listener, not_after: new Date(notAfter).toISOString() };
      if (now > notAfter) this.#options.log.error(`${what} has expired`, fields);
      else if (now < notBefore) this.#options.log.warn(`${what} is not valid yet`, fields);
      else if (notAfter - now < tls.expiryWarning) {
        const days = Math.floor((notAfter - now) / DAY);
        this.#options.log.warn(
          `${what} expires in ${days === 1 ? "1 day" : `${days} days`}`,
          fields,
        );
      }
    }
  }
}

function watchedIn({ listeners }: Config): Watched[] {
  return listeners.flatMap(({ name, tls }) =>
    tls === null ? [] : [{ listener: name, tls, problem: "" }]
  );
}

function sources(tls: ListenerTlsConfig): PemSource[] {
  const roots = [tls.clientAuth, ...tls.hostAuth].flatMap((one) => one?.ca ? [one.ca] : []);
  return [...tls.certificates.flatMap(({ cert, key }) => [cert, key]), ...roots];
}

/** The folder of a file, and of what it is a link to: either may change. */
function foldersOf(file: string): string[] {
  const folders = [dirname(file)];
  try {
    folders.push(dirname(Deno.realPathSync(file)));
  } catch {
    // It is not there for the moment; its folder tells when it is.
  }
  return folders;
}

/** @throws {Error} If a file cannot be read, or what it holds cannot be used. */
function reread(tls: ListenerTlsConfig): ListenerTlsConfig {
  const texts = new Map<string, PemSource>();
  const read = (source: PemSource): PemSource => {
    const { file } = source;
    if (file === null) return source;
    let again = texts.get(file);
    if (again === undefined) texts.set(file, again = { file, pem: readText(file) });
    return again;
  };
  const roots = (ca: PemSource | null): PemSource | null => {
    if (ca === null) return null;
    const again = read(ca);
    usable(again.file, () => readCertificates(again.pem));
    return again;
  };
  return {
    ...tls,
    certificates: tls.certificates.map(({ cert, key, names }) => {
      const pair = { cert: read(cert), key: read(key), names };
      usable(pair.cert.file, () => inspectPair(pair.cert.pem, pair.key.pem));
      return pair;
    }),
    clientAuth: tls.clientAuth && { ...tls.clientAuth, ca: roots(tls.clientAuth.ca) },
    hostAuth: tls.hostAuth.map((one) => ({ ...one, ca: roots(one.ca) })),
  };
}

function readText(file: string): string {
  try {
    return Deno.readTextFileSync(file);
  } catch (error) {
    throw new Error(`${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function usable(file: string | null, inspect: () => unknown): void {
  try {
    inspect();
  } catch (error) {
    throw new Error(`${file ?? "PEM"}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function samePem(a: ListenerTlsConfig, b: ListenerTlsConfig): boolean {
  const before = sources(b);
  return sources(a).every(({ pem }, i) => pem === before[i]!.pem);
}
