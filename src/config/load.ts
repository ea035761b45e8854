/**
 * Reads a config file: text, references, shape, meaning, files it names, plugins it runs.
 *
 * @module
 */
import { dirname, resolve } from "node:path";
import { availableParallelism } from "node:os";
import { type Accounts, systemAccounts } from "./accounts.ts";
import { adminSocket } from "./admin_socket.ts";
import {
  CertificateError,
  inspectPair,
  isPem,
  readCertificates,
} from "../transport/certificate.ts";
import { ConfigDocument, type Path } from "./document.ts";
import { type ConfigError, sortErrors } from "./errors.ts";
import type { FindPlugins, FoundPlugin } from "./found_plugins.ts";
import { freeze } from "./freeze.ts";
import { checkShape } from "./issues.ts";
import { readIdentity } from "./identity.ts";
import { normalize } from "./normalize.ts";
import { withOutside } from "./outside.ts";
import { rawList, rawMap, rawText } from "./raw.ts";
import { checkSemantics } from "./semantics.ts";
import type { Config } from "./types.ts";

/** Either a config or all that is wrong with it. */
export type LoadResult =
  | {
    readonly config: Config;
    readonly errors?: undefined;
    /** What is allowed and yet unlikely to be meant, sorted by place. Default: nothing. */
    readonly warnings?: readonly ConfigError[];
  }
  | {
    readonly config?: undefined;
    readonly errors: readonly ConfigError[];
    readonly warnings?: undefined;
  };

/** Options of {@linkcode loadConfig}; for tests and embedders. */
export interface LoadOptions {
  /** Lists the plugins of a folder. Without it, a config that names a folder is refused. */
  readonly findPlugins?: FindPlugins;
  /** Reads a text file. Default: from disk. */
  readonly readFile?: (path: string) => string;
  /** Service workers that `threads: auto` stands for. Default: the cores of the machine. */
  readonly cores?: number;
  /** Reads who is known to the system. Default: from `/etc/passwd` and `/etc/group`. */
  readonly accounts?: () => Accounts;
  /** Whether it is to go on in the background, whatever the file says. Default `false`. */
  readonly daemon?: boolean | undefined;
}

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Loads a config file.
 *
 * @param path The file; what it names is relative to it.
 * @param env Environment variables for `${NAME}`.
 * @returns The frozen config, or every error in it, sorted by place. Nothing is thrown for bad input.
 */
export async function loadConfig(
  path: string,
  env: Environment,
  options: LoadOptions = {},
): Promise<LoadResult> {
  const readFile = options.readFile ?? ((file: string) => Deno.readTextFileSync(file));
  const base = dirname(resolve(path));
  let text: string;
  try {
    text = readFile(path);
  } catch (error) {
    return {
      errors: [
        plainError(path, `the file cannot be read: ${reason(error)}`, "name it with -c FILE"),
      ],
    };
  }
  const toAbsolute = (file: string): string => resolve(base, file);
  const document = new ConfigDocument(path, text, {
    env: (name) => Object.hasOwn(env, name) ? env[name] : undefined,
    file: (file) => readFile(toAbsolute(file)).replace(/\r?\n$/, ""),
  });
  if (document.data === undefined) return { errors: sortErrors(document.errors) };

  const found = await readPlugins(document, toAbsolute, options.findPlugins);
  const files = readFiles(document, toAbsolute, readFile);
  const who = readIdentity(
    document,
    options.accounts ?? (() => systemAccounts((path) => Deno.readTextFileSync(path))),
  );
  const shape = checkShape(document);
  const semantics = checkSemantics(document, found.plugins, found.known);
  const errors = [
    ...document.errors,
    ...document.withoutEchoes([
      ...found.errors,
      ...files.errors,
      ...who.errors,
      ...shape.errors,
      ...semantics.errors,
    ]),
  ];
  if (errors.length > 0 || shape.data === null) return { errors: sortErrors(dedupe(errors)) };
  return {
    config: freeze(withOutside(
      normalize(shape.data, {
        document,
        plugins: found.plugins,
        cores: options.cores ?? availableParallelism(),
        resolve: toAbsolute,
        adminSocket: adminSocket(resolve(path), env, who.identity?.uid),
        identity: who.identity,
        daemon: options.daemon,
        file: (file) => files.texts.get(file)!,
      }),
      document.outside,
    )),
    warnings: sortErrors(dedupe(semantics.warnings)),
  };
}

async function readPlugins(
  document: ConfigDocument,
  toAbsolute: (path: string) => string,
  findPlugins: FindPlugins | undefined,
): Promise<{ plugins: readonly FoundPlugin[]; known: boolean; errors: ConfigError[] }> {
  const directory = rawText(rawMap(rawMap(document.data)["plugins"])["directory"]);
  if (directory === null) return { plugins: [], known: true, errors: [] };
  const place: Path = ["plugins", "directory"];
  if (findPlugins === undefined) {
    const error = document.atValue(place, "plugins cannot be loaded here", "");
    return { plugins: [], known: false, errors: [error] };
  }
  try {
    return { plugins: await findPlugins(toAbsolute(directory)), known: true, errors: [] };
  } catch (error) {
    const shown = document.isSecret(place) ? "the folder" : JSON.stringify(directory);
    const remedy = rawText((error as { remedy?: unknown }).remedy);
    return {
      plugins: [],
      known: false,
      errors: [
        document.atValue(
          place,
          `the plugins of ${shown} cannot be read: ${reason(error)}`,
          remedy ?? "name a folder that exists; the path is relative to the config file",
        ),
      ],
    };
  }
}

/** Reads the certificates that the file names, so that a missing one is found at load. */
function readFiles(
  document: ConfigDocument,
  toAbsolute: (path: string) => string,
  readFile: (path: string) => string,
): { texts: Map<string, string>; errors: ConfigError[] } {
  const root = rawMap(document.data);
  const texts = new Map<string, string>();
  const errors: ConfigError[] = [];
  const read = (path: Path, value: unknown, label: RegExp, what: string): string | null => {
    const file = rawText(value);
    if (file === null) return null;
    try {
      const text = isPem(file) ? file : readFile(toAbsolute(file));
      texts.set(file, text);
      if (label.test(text)) return text;
      errors.push(document.atValue(path, `the file holds no ${what}`, "name a PEM file"));
    } catch (error) {
      const shown = document.isSecret(path) ? "the file" : JSON.stringify(file);
      errors.push(
        document.atValue(
          path,
          `${shown} cannot be read: ${reason(error)}`,
          "check the path, which is relative to the config file",
        ),
      );
    }
    return null;
  };
  const check = (
    inspect: () => unknown,
    at: (half: "cert" | "key") => Path,
    written: Readonly<Record<string, unknown>>,
  ): void => {
    try {
      inspect();
    } catch (error) {
      if (!(error instanceof CertificateError)) throw error;
      const place = at(error.half);
      const file = rawText(written[error.half]);
      const shown = file === null || isPem(file) || document.isSecret(place)
        ? "the PEM"
        : JSON.stringify(file);
      errors.push(
        document.atValue(place, `${shown} cannot be used: ${error.message}`, "name another file"),
      );
    }
  };
  const certificate = /-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----/;
  const key = /-----BEGIN ([A-Z]+ )?PRIVATE KEY-----/;
  read(["server", "ca_file"], rawMap(root["server"])["ca_file"], certificate, "certificate");
  rawList(root["upstreams"]).forEach((upstream, i) => {
    const path: Path = ["upstreams", i, "transport", "tls"];
    const tls = rawMap(rawMap(rawMap(upstream)["transport"])["tls"]);
    read([...path, "ca"], tls["ca"], certificate, "certificate");
    const pair = rawMap(tls["client_certificate"]);
    read([...path, "client_certificate", "cert"], pair["cert"], certificate, "certificate");
    read([...path, "client_certificate", "key"], pair["key"], key, "private key");
  });
  rawList(root["listeners"]).forEach((listener, i) => {
    const path: Path = ["listeners", i, "tls"];
    const tls = rawMap(rawMap(listener)["tls"]);
    rawList(tls["certificates"]).forEach((entry, c) => {
      const pair = rawMap(entry);
      const at: Path = [...path, "certificates", c];
      const cert = read([...at, "cert"], pair["cert"], certificate, "certificate");
      const own = read([...at, "key"], pair["key"], key, "private key");
      if (cert === null || own === null) return;
      check(() => inspectPair(cert, own), (half) => [...at, half], pair);
    });
    const auth = rawMap(tls["client_auth"]);
    const roots: [Path, Readonly<Record<string, unknown>>][] = [
      [[...path, "client_auth"], auth],
      ...rawList(auth["hosts"]).map((host, h): [Path, Readonly<Record<string, unknown>>] => [
        [...path, "client_auth", "hosts", h],
        rawMap(host),
      ]),
    ];
    for (const [at, rule] of roots) {
      const ca = read([...at, "ca"], rule["ca"], certificate, "certificate");
      if (ca !== null) check(() => readCertificates(ca), () => [...at, "ca"], { cert: rule["ca"] });
    }
  });
  return { texts, errors };
}

/** What an error says, without the paths that Deno adds to it. */
function reason(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "there is no such file";
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied";
  if (error instanceof Deno.errors.NotCapable) return "this process may not read it";
  if (error instanceof Deno.errors.IsADirectory) return "it is a folder";
  return error instanceof Error ? error.message : String(error);
}

function plainError(file: string, message: string, remedy: string): ConfigError {
  return { file, line: 0, column: 0, length: 0, source: "", message, remedy };
}

/** An aliased value is checked at each of its places, but stands in the file once. */
function dedupe(errors: readonly ConfigError[]): ConfigError[] {
  const seen = new Set<string>();
  return errors.filter((error) => {
    const key = `${error.line}:${error.column}:${error.message}`;
    return !seen.has(key) && seen.add(key);
  });
}
