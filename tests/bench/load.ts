/**
 * What makes the requests: wrk for HTTP/1, h2load for HTTP/2. Each is a program of its own, on the processor of the
 * origin, so that what is measured has one for itself.
 *
 * @module
 */

/** Twelve fields with Host: what a browser sends. A bare request would flatter whoever is slow with fields. */
export const BROWSER: readonly string[] = [
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36",
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
  "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
  "Accept-Encoding: gzip, deflate, br, zstd",
  "Cache-Control: max-age=0",
  "Sec-Fetch-Dest: document",
  "Sec-Fetch-Mode: navigate",
  "Sec-Fetch-Site: same-origin",
  "Upgrade-Insecure-Requests: 1",
  "Referer: https://shop.example.com/catalogue/shoes?page=2",
  "Cookie: session=4f2a9c0e7b6d4f0fa1c3; theme=dark; consent=all",
];

/** Requests over a number of connections, for as long as they are wanted. */
export interface Load {
  readonly tool: "wrk" | "h2load";
  readonly connections: number;
  /** Streams at a time on each connection, for h2load. Default 1. */
  readonly streams?: number;
  readonly path: string;
  /** Whether each request makes a connection of its own. Default `false`. */
  readonly fresh?: boolean;
  /** Bytes of request content; with any, it is a POST. Default 0. */
  readonly upload?: number;
  readonly tls?: boolean;
}

/** What a load has seen. */
export interface Seen {
  readonly requests: number;
  readonly perSecond: number;
  /** Milliseconds; `null` where the program does not tell. */
  readonly p50: number | null;
  readonly p99: number | null;
}

/**
 * Makes requests for some seconds.
 *
 * @param folder Where a script may be written.
 * @throws {Error} If not every request was answered with 2xx.
 */
export async function run(
  load: Load,
  port: number,
  seconds: number,
  folder: string,
): Promise<Seen> {
  const url = `${load.tls ? "https" : "http"}://127.0.0.1:${port}${load.path}`;
  const fields = (load.fresh ? ["Connection: close", ...BROWSER] : BROWSER)
    .flatMap((field) => ["-H", load.tool === "wrk" ? field : field.toLowerCase()]);
  return load.tool === "wrk"
    ? readWrk(
      await output("wrk", [
        "-t1",
        `-c${load.connections}`,
        `-d${seconds}s`,
        "--latency",
        "--timeout",
        "30s",
        ...fields,
        ...(load.upload === undefined ? [] : ["-s", await uploadScript(load.upload, folder)]),
        url,
      ]),
      seconds,
    )
    : readH2load(
      await output("h2load", [
        `-c${load.connections}`,
        `-m${load.streams ?? 1}`,
        "-D",
        String(seconds),
        ...fields,
        url,
      ]),
      seconds,
    );
}

async function output(program: string, args: string[]): Promise<string> {
  const { stdout, stderr } = await new Deno.Command("taskset", {
    args: ["-c", "0", program, ...args],
    stdout: "piped",
    stderr: "piped",
  }).output();
  const decoder = new TextDecoder();
  return decoder.decode(stdout) + decoder.decode(stderr);
}

async function uploadScript(bytes: number, folder: string): Promise<string> {
  const file = `${folder}/upload-${bytes}.lua`;
  await Deno.writeTextFile(
    file,
    `wrk.method = "POST"\nwrk.body = string.rep("u", ${bytes})\nwrk.headers["Content-Type"] = "application/octet-stream"\n`,
  );
  return file;
}

function readWrk(text: string, seconds: number): Seen {
  const requests = Number(/(\d+) requests in/.exec(text)?.[1] ?? 0);
  if (requests === 0 || /Non-2xx|Socket errors/.test(text)) throw new Error(text);
  return {
    requests,
    perSecond: requests / seconds,
    p50: milliseconds(/50%\s+([\d.]+)(us|ms|s)/.exec(text)),
    p99: milliseconds(/99%\s+([\d.]+)(us|ms|s)/.exec(text)),
  };
}

function readH2load(text: string, seconds: number): Seen {
  const counts = /requests: .*?(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored/.exec(text);
  const requests = Number(counts?.[2] ?? 0);
  if (requests === 0 || counts![3] !== "0" || counts![4] !== "0") throw new Error(text);
  return { requests, perSecond: requests / seconds, p50: null, p99: null };
}

function milliseconds(match: RegExpExecArray | null): number | null {
  if (match === null) return null;
  const factor = { us: 0.001, ms: 1, s: 1000 }[match[2] as "us" | "ms" | "s"];
  return Number(match[1]) * factor;
}
