/**
 * Lets in only those who know a user name and its password (HTTP Basic authentication, RFC 7617).
 *
 * Passwords are configured as salted hashes, never as they are. Make one with
 * `deno run plugins/basic-auth/hash_password.ts`. Without users nobody gets in, and what is guarded by default
 * is `/private/*`. A path is guarded in whatever way it is spelled: see `protected_paths.ts`.
 *
 * Basic credentials cross the wire as plain text: use them only where TLS ends in front of Sluice. The name of
 * the user stands in the var `basic-auth.user` for other plugins.
 *
 * ```yaml
 * plugins:
 *   - use: basic-auth
 *     with:
 *       realm: Staff only
 *       paths: [/admin/*, /metrics]
 *       users:
 *         ada: ${file:/run/secrets/ada.hash}
 *       strip_credentials: true
 * ```
 *
 * @module
 */
import { definePlugin } from "@sluice/plugin";
import { z } from "zod";
import { readCredentials } from "./credentials.ts";
import { parsePasswordHash, type PasswordHash } from "./password_hash.ts";
import { protectPaths } from "./protected_paths.ts";
import { Verifier } from "./verifier.ts";

const path = z.string().max(1024).regex(
  /^\/(?:[^*?#%\\;\s]*\/)?(?:[^*?#%\\;\s/]+|\*)?$/,
  'must be "/exact" or "/prefix/*", not percent-encoded, without ";" and "\\"',
);

const config = z.strictObject({
  /** Shown by browsers when they ask for the password. */
  realm: z.string().min(1).max(128).regex(/^[\x20-\x7e]*$/, "must be printable ASCII")
    .default("Restricted"),
  /** What is guarded: `/exact`, `/prefix/*`; `/*` for everything. */
  paths: z.array(path).min(1).max(256).default(["/private/*"]),
  /** User names to password hashes. */
  users: z.record(
    z.string().min(1).max(128).regex(
      /^[^:\p{Cc}]+$/u,
      "must not hold colons or control characters",
    ),
    z.string().superRefine((text, context) => {
      const hash = parsePasswordHash(text.trim());
      if (typeof hash === "string") {
        context.addIssue({ code: "custom", message: `the value ${hash}` });
      }
    }),
  ).default({}),
  /** Whether the upstream does not get to see the credentials of guarded paths. */
  strip_credentials: z.boolean().default(false),
  /** For how many seconds a password that was right is not hashed again. */
  remember: z.int().min(1).max(86_400).default(300),
});

export default definePlugin({
  name: "basic-auth",
  version: "1.0.0",
  config,
  // A password hash takes a good part of a second on a busy machine, and requests may wait for one another.
  limits: { timeout: "10s" },
  async setup({ config, log }) {
    const users = new Map<string, PasswordHash>();
    for (const [name, text] of Object.entries(config.users)) {
      const hash = parsePasswordHash(text.trim());
      if (typeof hash !== "string") users.set(name.normalize("NFC"), hash);
    }
    if (users.size === 0) {
      log.info("No users are configured: nobody gets in", { paths: config.paths });
    }
    const verifier = new Verifier({ users, keep: config.remember * 1000, entries: 10_000 });
    await verifier.ready();
    return { isGuarded: protectPaths(config.paths), verifier };
  },
  async requestFilter(session, { config, state }) {
    const { request } = session;
    if (!state.isGuarded(request.path)) return;
    const credentials = readCredentials(request.headers.getAll("authorization"));
    if (credentials !== null) {
      const user = credentials.user.normalize("NFC");
      const right = await state.verifier.check({ user, password: credentials.password });
      if (right === null) {
        return session.respond(503, {
          title: "Service Unavailable",
          detail: "Too many passwords are being checked at this moment.",
        }, { headers: { "retry-after": "5", "cache-control": "no-store" } });
      }
      if (right) {
        session.vars.set("basic-auth.user", user);
        if (config.strip_credentials) session.upstreamRequest.headers.delete("authorization");
        return;
      }
    }
    const realm = config.realm.replace(/["\\]/g, "\\$&");
    return session.respond(401, {
      title: "Unauthorized",
      detail: "A user name and a password are needed.",
    }, {
      headers: {
        "www-authenticate": `Basic realm="${realm}", charset="UTF-8"`,
        "cache-control": "no-store",
      },
    });
  },
});
