/**
 * `openssl s_client` as a client of tests: what it says of the handshake, and what the server answered.
 *
 * @module
 */
import { withDeadline } from "./deadline.ts";

/** What came of a connection. */
export interface SClientResult {
  /** All that it printed. */
  readonly text: string;
  /** `TLSv1.3`, or empty if there was no handshake. */
  readonly protocol: string;
  /** Agreed on by ALPN, or empty. */
  readonly alpn: string;
  readonly reused: boolean;
  /** Subject of the server's certificate: `CN = test`. */
  readonly subject: string;
  /** Status of the answer, or `0`. */
  readonly status: number;
}

/**
 * Connects, sends one request, and reads until the server closes.
 *
 * @param args Further arguments.
 * @param host `Host` of the request; empty: none is sent, and the connection ends after the handshake.
 */
export async function sClient(
  port: number,
  args: readonly string[],
  host: string,
  path: string = "/bytes/1",
): Promise<SClientResult> {
  const child = new Deno.Command("openssl", {
    // With a request to send, the end of the input is not the end of the connection.
    args: [
      "s_client",
      "-connect",
      `127.0.0.1:${port}`,
      ...(host === "" ? [] : ["-ign_eof"]),
      ...args,
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  try {
    await writer.write(
      new TextEncoder().encode(
        host === "" ? "Q\n" : `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
      ),
    );
    await writer.close();
  } catch {
    // It has given up already.
  }
  const { stdout, stderr } = await withDeadline(child.output(), 60_000, "openssl s_client");
  const decoder = new TextDecoder("latin1");
  const text = decoder.decode(stdout) + decoder.decode(stderr);
  const first = (pattern: RegExp) => pattern.exec(text)?.[1] ?? "";
  return {
    text,
    protocol: first(/^(?:New|Reused), (TLSv[\d.]+), Cipher is (?!\(NONE\))/m),
    alpn: first(/^ALPN protocol: (\S+)/m),
    reused: /^Reused, /m.test(text),
    subject: first(/^subject=(.*)$/m),
    status: Number(first(/HTTP\/1\.1 (\d{3}) /)),
  };
}
