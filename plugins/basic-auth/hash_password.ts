/**
 * Reads a password from standard input and prints its hash for the config.
 *
 * ```sh
 * deno run plugins/basic-auth/hash_password.ts
 * ```
 *
 * @module
 */
import { hashPassword } from "./password_hash.ts";

const MAX_BYTES = 1024;

if (import.meta.main) {
  if (Deno.stdin.isTerminal()) console.error("Type the password and press Enter.");
  const bytes = new Uint8Array(MAX_BYTES);
  let length = 0;
  while (length < MAX_BYTES && !bytes.subarray(0, length).includes(10)) {
    const read = await Deno.stdin.read(bytes.subarray(length));
    if (read === null) break;
    length += read;
  }
  const password = new TextDecoder().decode(bytes.subarray(0, length)).split(/\r?\n/)[0]!;
  if (password === "") {
    console.error("Cannot hash the password: it is empty");
    Deno.exit(2);
  }
  console.log(await hashPassword(password));
}
