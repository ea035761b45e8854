/**
 * Query strings without secrets.
 *
 * @module
 */

/** Parameters whose values never reach a log, in lower case. */
const SECRET_PARAMETERS: ReadonlySet<string> = new Set([
  "access_token",
  "api-key",
  "api_key",
  "apikey",
  "auth",
  "authorization",
  "awsaccesskeyid",
  "client_secret",
  "code",
  "credential",
  "id_token",
  "jwt",
  "key",
  "pass",
  "passwd",
  "password",
  "pwd",
  "refresh_token",
  "secret",
  "session",
  "session_id",
  "sessionid",
  "sig",
  "signature",
  "token",
  "x-amz-credential",
  "x-amz-security-token",
  "x-amz-signature",
  "x-goog-signature",
]);

// Nearly no query holds one; this finds out without taking it apart.
const MAYBE = new RegExp(
  `%|\\+|(?:^|[&;])(?:${[...SECRET_PARAMETERS].join("|")})(?:=|\\[)`,
  "i",
);

/** The query with `REDACTED` in place of the values of secret parameters. */
export function redactQuery(query: string): string {
  if (!MAYBE.test(query)) return query;
  return query.split(/([&;])/).map((part) => {
    const equals = part.indexOf("=");
    return equals > 0 && isSecret(part.slice(0, equals))
      ? `${part.slice(0, equals)}=REDACTED`
      : part;
  }).join("");
}

function isSecret(name: string): boolean {
  let plain = name;
  if (name.includes("%") || name.includes("+")) {
    try {
      plain = decodeURIComponent(name.replaceAll("+", " ")).trim();
    } catch {
      // Not what it pretends to be: safer without its value.
      return true;
    }
  }
  return SECRET_PARAMETERS.has(plain.replace(/\[.*$/, "").toLowerCase());
}
