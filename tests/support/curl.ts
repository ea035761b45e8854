/**
 * curl as a client that others have written.
 *
 * @module
 */
import { findProgram } from "./require.ts";

/** What curl did. */
export interface CurlResult {
  /** Exit code of curl; `0` is success. */
  readonly code: number;
  /** What it wrote: the body, and with `-i` the heads. */
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs curl, quiet and without a config file. Give it 20 seconds unless told otherwise. */
export async function curl(...args: string[]): Promise<CurlResult> {
  const { code, stdout, stderr } = await new Deno.Command(findProgram("curl") ?? "curl", {
    args: ["-q", "-sS", "--max-time", "60", "--noproxy", "*", ...args],
    stdout: "piped",
    stderr: "piped",
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
