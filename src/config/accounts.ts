/**
 * Users and groups of this host, as `/etc/passwd` and `/etc/group` have them.
 *
 * @module
 */

/** The highest number that a user or a group can have; the one above it means "none" to the system. */
export const MOST_ID: number = 2 ** 32 - 2;

/** What a name of a user or a group can be. */
export const ACCOUNT_NAME: RegExp = /^[^\s:,/\\]{1,64}$/;

/** A user. */
export interface User {
  readonly name: string;
  readonly uid: number;
  /** Number of its group. */
  readonly gid: number;
}

/** A group. */
export interface Group {
  readonly name: string;
  readonly gid: number;
}

/** Whom the system knows. */
export interface Accounts {
  readonly users: readonly User[];
  readonly groups: readonly Group[];
}

/** Who the program becomes. */
export interface Identity {
  /** Name of the user; `null`: a number that has none. */
  readonly user: string | null;
  readonly uid: number;
  /** Name of the group; `null`: a number that has none. */
  readonly group: string | null;
  readonly gid: number;
}

/** `www-data:adm`, for people. */
export function identityText({ user, uid, group, gid }: Identity): string {
  return `${user ?? uid}:${group ?? gid}`;
}

/**
 * Reads what `/etc/passwd` and `/etc/group` hold. Lines that are none of theirs, such as those by which other sources
 * are named, are passed over.
 */
export function parseAccounts(passwd: string, group: string): Accounts {
  const users: User[] = [];
  for (const [name, , uid, gid] of rows(passwd)) {
    if (isId(uid) && isId(gid)) users.push({ name: name!, uid: Number(uid), gid: Number(gid) });
  }
  const groups: Group[] = [];
  for (const [name, , gid] of rows(group)) {
    if (isId(gid)) groups.push({ name: name!, gid: Number(gid) });
  }
  return { users, groups };
}

/**
 * Those of this host; nobody where it has no such files.
 *
 * @param readFile Reads a file of the host, or throws.
 */
export function systemAccounts(readFile: (path: string) => string): Accounts {
  const textOf = (path: string) => {
    try {
      return readFile(path);
    } catch {
      return "";
    }
  };
  return parseAccounts(textOf("/etc/passwd"), textOf("/etc/group"));
}

function rows(text: string): string[][] {
  return text.split("\n").map((line) => line.split(":")).filter(([name]) => name !== "");
}

function isId(text: string | undefined): boolean {
  return text !== undefined && /^\d{1,10}$/.test(text) && Number(text) <= MOST_ID;
}
