/**
 * As much load as wrk and h2load make, while something is done to the program.
 *
 * @module
 */
import type { LoadTarget } from "./load.ts";

/** What one of them has counted. */
interface Tally {
  readonly requests: number;
  /** What went wrong, in its own words; empty if nothing did. */
  readonly trouble: string;
}

/** What came of it. */
export interface Burst {
  readonly requests: number;
  readonly trouble: readonly string[];
}

/** How long the generators run before `work` begins, in milliseconds. */
const HEAD_START = 200;

/**
 * Runs wrk in clear text and over TLS, and h2load, around `work`.
 *
 * @param seconds How long they run at least.
 * @param http2 Whether h2load runs, too. It does not connect again, as clients of HTTP/2 do that are told to leave.
 */
export async function underLoad(
  { port, tlsPort }: LoadTarget,
  seconds: number,
  http2: boolean,
  work: () => Promise<void>,
): Promise<Burst> {
  const running = [
    wrk(`http://127.0.0.1:${port}/bytes/100`, seconds),
    wrk(`https://127.0.0.1:${tlsPort}/bytes/100`, seconds),
    ...(http2 ? [h2load(`https://127.0.0.1:${tlsPort}/bytes/100`, seconds)] : []),
  ];
  await new Promise((resolve) => setTimeout(resolve, HEAD_START));
  await work();
  const tallies = await Promise.all(running);
  return {
    requests: tallies.reduce((sum, one) => sum + one.requests, 0),
    trouble: tallies.flatMap(({ trouble }) => trouble === "" ? [] : [trouble]),
  };
}

async function wrk(url: string, seconds: number): Promise<Tally> {
  const text = await outputOf("wrk", ["-t1", "-c4", `-d${seconds}s`, url]);
  const requests = Number(/(\d+) requests in/.exec(text)?.[1] ?? 0);
  const trouble = /^.*(Socket errors|Non-2xx).*$/gm.exec(text)?.[0] ?? "";
  return { requests, trouble: requests > 0 ? trouble && `wrk ${url}: ${trouble}` : text };
}

async function h2load(url: string, seconds: number): Promise<Tally> {
  const text = await outputOf("h2load", ["-c2", "-m4", `-D${seconds}`, url]);
  const line = /^requests: .*$/m.exec(text)?.[0] ?? text;
  const [, done, failed, errored, timeout] =
    /(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout/.exec(line)?.map(Number) ?? [];
  const good = done! > 0 && failed === 0 && errored === 0 && timeout === 0;
  return { requests: done ?? 0, trouble: good ? "" : `h2load ${url}: ${line}` };
}

async function outputOf(program: string, args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}
