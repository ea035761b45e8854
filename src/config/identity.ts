/**
 * Who `server.user` and `server.group` are.
 *
 * @module
 */
import {
  ACCOUNT_NAME,
  type Accounts,
  type Group,
  type Identity,
  MOST_ID,
  type User,
} from "./accounts.ts";
import type { ConfigDocument, Path } from "./document.ts";
import type { ConfigError } from "./errors.ts";
import { Findings } from "./findings.ts";
import { rawMap } from "./raw.ts";

const USER: Path = ["server", "user"];
const GROUP: Path = ["server", "group"];

/**
 * Looks up who the program is to become.
 *
 * @param accounts Reads whom the system knows; asked only if the file names somebody.
 * @returns Both, and `null` for nobody.
 */
export function readIdentity(
  document: ConfigDocument,
  accounts: () => Accounts,
): { identity: Identity | null; errors: readonly ConfigError[] } {
  const { user: wantedUser, group: wantedGroup } = rawMap(rawMap(document.data)["server"]);
  const findings = new Findings(document);
  const none = () => ({ identity: null, errors: findings.errors });
  if (wantedUser === undefined) {
    if (wantedGroup !== undefined) {
      findings.atKey(GROUP, '"group" stands without "user"', "name the user as well");
    }
    return none();
  }
  if (!isWanted(wantedUser) || (wantedGroup !== undefined && !isWanted(wantedGroup))) return none();
  const { users, groups } = accounts();
  const user = find(users, wantedUser, ({ uid }) => uid);
  if (user === undefined && !isNumber(wantedUser)) {
    unknown(findings, "user", USER, wantedUser, users);
    return none();
  }
  const group = wantedGroup === undefined
    ? groups.find(({ gid }) => gid === user?.gid)
    : find(groups, wantedGroup, ({ gid }) => gid);
  if (wantedGroup !== undefined && group === undefined && !isNumber(wantedGroup)) {
    unknown(findings, "group", GROUP, wantedGroup, groups);
    return none();
  }
  const gid = group?.gid ?? (wantedGroup === undefined ? user?.gid : Number(wantedGroup));
  if (gid === undefined) {
    findings.at(
      USER,
      `there is no user ${
        findings.quote(USER, String(wantedUser))
      } in /etc/passwd, and so no group`,
      "name the group as well",
    );
    return none();
  }
  return {
    identity: {
      user: user?.name ?? null,
      uid: user?.uid ?? Number(wantedUser),
      group: group?.name ?? null,
      gid,
    },
    errors: [],
  };
}

/** Anything else is an error of its shape. */
function isWanted(value: unknown): value is string | number {
  return isId(value) || (typeof value === "string" && ACCOUNT_NAME.test(value));
}

/** A number, or one in quotes, as references stand for. */
function isNumber(wanted: string | number): boolean {
  return typeof wanted === "number" || (/^\d{1,10}$/.test(wanted) && isId(Number(wanted)));
}

function isId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MOST_ID;
}

/** By name, and only then by number. */
function find<T extends User | Group>(
  known: readonly T[],
  wanted: string | number,
  id: (one: T) => number,
): T | undefined {
  return known.find(({ name }) => name === wanted) ??
    (isNumber(wanted) ? known.find((one) => id(one) === Number(wanted)) : undefined);
}

function unknown(
  findings: Findings,
  kind: "user" | "group",
  path: Path,
  wanted: string | number,
  known: readonly (User | Group)[],
): void {
  const file = kind === "user" ? "/etc/passwd" : "/etc/group";
  findings.unknown(
    kind,
    path,
    String(wanted),
    known.map(({ name }) => name),
    `${file} has none: write a number`,
  );
}
