/**
 * A real nghttpd as HTTP/2 origin, in a temporary folder and on a free port.
 *
 * @module
 */
import net from "node:net";
import { eventually } from "./deadline.ts";
import { freePort } from "./ports.ts";
import { findProgram } from "./require.ts";

/** A running nghttpd. */
export interface Nghttpd extends AsyncDisposable {
  readonly port: number;
  /** `127.0.0.1:port`. */
  readonly address: string;
  /** What it has written: with `-v`, every frame. */
  readonly log: () => string;
}

/** How it is started. */
export interface NghttpdOptions {
  /** Further arguments. */
  readonly args?: readonly string[];
  /** Files of the document root. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** Certificate and key as PEM; without them it speaks clear text. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** Starts nghttpd. What is uploaded is sent back. */
export async function startNghttpd(options: NghttpdOptions = {}): Promise<Nghttpd> {
  const { args = [], files = {}, tls } = options;
  const directory = await Deno.makeTempDir({ prefix: "sluice-nghttpd-" });
  await Deno.mkdir(`${directory}/html`);
  for (const [name, content] of Object.entries(files)) {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await Deno.writeFile(`${directory}/html/${name}`, bytes);
  }
  const pems: string[] = [];
  if (tls !== undefined) {
    for (const part of ["key", "cert"] as const) {
      pems.push(`${directory}/${part}.pem`);
      await Deno.writeTextFile(pems.at(-1)!, tls[part]);
    }
  }
  const port = freePort();
  const common = ["--address", "127.0.0.1", "-d", `${directory}/html`, "--echo-upload", ...args];
  const child = new Deno.Command(findProgram("nghttpd") ?? "nghttpd", {
    args: [...common, ...(tls === undefined ? ["--no-tls"] : []), String(port), ...pems],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let log = "";
  const reading = (async () => {
    for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) log += piece;
  })();
  const dispose = async () => {
    try {
      child.kill("SIGTERM");
    } catch {
      // It has ended by itself.
    }
    await child.status;
    await reading;
    await Deno.remove(directory, { recursive: true });
  };
  try {
    await eventually(() => connects(port), "nghttpd to listen");
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    port,
    address: `127.0.0.1:${port}`,
    log: () => log,
    [Symbol.asyncDispose]: dispose,
  };
}

function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
