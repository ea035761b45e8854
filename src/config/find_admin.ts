/**
 * Where the program that runs a config file can be asked: what the verbs of an operator need of the file, which may
 * be half edited when they are called.
 *
 * @module
 */
import { tmpdir } from "node:os";
import { dirname, resolve } from "node:path";
import { type Address, parseAddress } from "../transport/address.ts";
import { absolute } from "./absolute.ts";
import { type Accounts, systemAccounts } from "./accounts.ts";
import { adminSocket } from "./admin_socket.ts";
import { ConfigDocument } from "./document.ts";
import { readIdentity } from "./identity.ts";
import { rawMap, rawText } from "./raw.ts";

/** An admin interface as its clients know it. */
export interface AdminPlace {
  readonly address: Address;
  /** To be shown; `null`: none. */
  readonly token: string | null;
  /** The folder of the socket, if nobody has named it and every user of this host can make one there. */
  readonly sharedFolder: string | null;
  /** Number of the user that the program becomes, and whose that folder is; `null`: it stays who it is. */
  readonly user: number | null;
}

/** What it is found by. */
export interface FindAdminOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readFile: (path: string) => string;
  /** Reads who is known to the system. Default: `/etc/passwd` and `/etc/group`, by `readFile`. */
  readonly accounts?: () => Accounts;
}

/**
 * Finds the admin interface of the program that runs a config file.
 *
 * @param path The file.
 * @throws {Error} If the file cannot be read, or says that there is none.
 */
export function findAdmin(path: string, options: FindAdminOptions): AdminPlace {
  const { env, readFile } = options;
  const base = dirname(resolve(path));
  const document = new ConfigDocument(path, readFile(path), {
    env: (name) => Object.hasOwn(env, name) ? env[name] : undefined,
    file: (file) => readFile(resolve(base, file)).replace(/\r?\n$/, ""),
  });
  if (document.data === undefined) {
    throw new Error(`${path} is no YAML: name the admin interface with --admin`);
  }
  const value = rawMap(document.data)["admin"];
  if (value === "off") throw new Error(`${path} says "admin: off"`);
  const admin = rawMap(value);
  const listen = rawText(admin["listen"]);
  const token = rawText(admin["token"]);
  if (listen === null) {
    const accounts = options.accounts ?? (() => systemAccounts(options.readFile));
    const user = readIdentity(document, accounts).identity?.uid;
    const socket = adminSocket(resolve(path), env, user);
    const folder = dirname(socket);
    return {
      address: { kind: "unix", path: socket },
      token,
      sharedFolder: dirname(folder) === tmpdir() ? folder : null,
      user: user ?? null,
    };
  }
  const address = parseAddress(listen);
  if (typeof address === "string") {
    throw new Error(`admin.listen of ${path} is no address: ${address}`);
  }
  return {
    address: absolute(address, (file) => resolve(base, file)),
    token,
    sharedFolder: null,
    user: null,
  };
}
