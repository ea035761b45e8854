/**
 * Asks the admin interface of a running program.
 *
 * @module
 */
import { request } from "node:http";
import { type AdminPlace, findAdmin } from "../config/find_admin.ts";
import { formatAddress, parseAddress } from "../transport/address.ts";
import { folderProblem } from "../transport/unix_path.ts";
import { configFile } from "./load.ts";
import { CliExit, EXIT } from "./output.ts";

/** Flags of the verbs that ask. */
export interface AdminFlags {
  readonly config?: string;
  /** Address of the interface. */
  readonly admin?: string;
}

/** Environment variable that holds the token for `--admin`. */
export const TOKEN_VARIABLE = "SLUICE_ADMIN_TOKEN";
/** Bytes of an answer; more is none of ours. */
const MOST_ANSWER = 64 * 1024 * 1024;

/** What was answered. */
export interface AdminAnswer {
  readonly status: number;
  readonly text: string;
}

/** A way to ask. */
export class AdminClient {
  readonly #place: AdminPlace;

  constructor(place: AdminPlace) {
    this.#place = place;
  }

  /** The program that `--admin` or the config file leads to. */
  static find(flags: AdminFlags): AdminClient {
    return new AdminClient(flags.admin === undefined ? ofFile(flags) : ofAddress(flags.admin));
  }

  /** Where it is, for messages. */
  get where(): string {
    return formatAddress(this.#place.address);
  }

  /**
   * Asks, and gives the JSON of the answer.
   *
   * @throws {CliExit} With 1 if nobody answers, or what is asked is refused.
   */
  async json<T>(method: string, path: string, content?: unknown): Promise<T> {
    return JSON.parse(await this.text(method, path, content)) as T;
  }

  /** The same, for an answer that is no JSON. */
  async text(method: string, path: string, content?: unknown): Promise<string> {
    let answer: AdminAnswer;
    try {
      answer = await this.send(method, path, content);
    } catch (error) {
      throw new CliExit(EXIT.runtime, `error: ${this.#reason(error)}\n`);
    }
    if (answer.status < 400) return answer.text;
    const detail = detailOf(answer);
    // What is wrong with a config says itself that it is an error, behind its place.
    const said = /^\S.*?: error: /.test(detail);
    throw new CliExit(EXIT.runtime, `${said ? "" : "error: "}${detail}\n`);
  }

  /**
   * Asks, whatever the answer is.
   *
   * @throws {Error} If there is none.
   */
  send(method: string, path: string, content?: unknown): Promise<AdminAnswer> {
    const { address, token } = this.#place;
    const body = content === undefined ? "" : JSON.stringify(content);
    return new Promise((resolve, reject) => {
      const asked = request({
        ...(address.kind === "unix"
          ? { socketPath: address.path }
          : { host: address.host, port: address.port }),
        method,
        path,
        agent: false,
        headers: {
          Host: address.kind === "unix" ? "localhost" : formatAddress(address),
          Connection: "close",
          ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
          ...(body === "" ? {} : {
            "Content-Type": "application/json",
            "Content-Length": String(new TextEncoder().encode(body).length),
          }),
        },
      }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (piece: string) => {
          text += piece;
          if (text.length > MOST_ANSWER) response.destroy(new Error("the answer is too long"));
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
        response.on("error", reject);
      });
      asked.on("error", reject);
      asked.end(body);
    });
  }

  #reason(error: unknown): string {
    const code = (error as { code?: string }).code;
    if (code === "ENOENT" || code === "ECONNREFUSED") {
      return `nobody listens on ${this.where}: is Sluice running, with this config?`;
    }
    if (code === "EACCES") {
      return `${this.where} may not be opened: it belongs to the user who runs Sluice`;
    }
    return `${this.where}: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function ofAddress(text: string): AdminPlace {
  const address = parseAddress(text);
  if (typeof address === "string") {
    throw new CliExit(EXIT.usage, `error: --admin: ${address}; write unix:/path or host:port\n`);
  }
  return { address, token: Deno.env.get(TOKEN_VARIABLE) ?? null, sharedFolder: null, user: null };
}

function ofFile(flags: AdminFlags): AdminPlace {
  const file = configFile(flags.config);
  try {
    const place = findAdmin(file, {
      env: Deno.env.toObject(),
      readFile: (path) => Deno.readTextFileSync(path),
    });
    // Whoever was there first could listen in the place of Sluice, be shown the token, and answer what he likes.
    if (place.sharedFolder !== null) checkFolder(place.sharedFolder, place.user ?? undefined);
    return place;
  } catch (error) {
    if (error instanceof CliExit) throw error;
    const why = error instanceof Deno.errors.NotFound
      ? `${file}: there is no such file`
      : error instanceof Error
      ? error.message
      : String(error);
    throw new CliExit(EXIT.config, `error: ${why}\n`);
  }
}

/** @throws {CliExit} If a folder is not this user's alone, or not that of the user that Sluice runs as. */
function checkFolder(path: string, owner: number | undefined): void {
  let problem: string | null;
  try {
    problem = folderProblem(path, owner);
  } catch (error) {
    // Nobody runs, then.
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  if (problem === null) return;
  throw new CliExit(
    EXIT.runtime,
    `error: ${problem}: who listens there need not be Sluice. Name another place with admin.listen\n`,
  );
}

function detailOf({ status, text }: AdminAnswer): string {
  try {
    const { detail } = JSON.parse(text) as { detail?: unknown };
    if (typeof detail === "string") return detail;
  } catch { /* No problem document. */ }
  return `the admin interface answers ${status}`;
}
