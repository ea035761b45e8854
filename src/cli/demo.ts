/**
 * `demo`: an origin of our own behind the proxy, to try things with.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { configFromFlags } from "../config/flags.ts";
import { errorText } from "./load.ts";
import { CliExit, EXIT, type Output } from "./output.ts";
import type { Program } from "./program.ts";
import { serve } from "./run.ts";

/** Flags of `demo`. */
export interface DemoFlags {
  readonly listen: string;
  readonly threads?: number;
}

/** Runs origin and proxy until a signal. */
export async function demo(flags: DemoFlags, program: Program, output: Output): Promise<void> {
  const plugins = fileURLToPath(new URL("../../plugins", import.meta.url));
  await using origin = startDemoOrigin();
  const load = () =>
    configFromFlags({
      listen: flags.listen,
      upstream: `http://${origin.address}`,
      ...(existsSync(plugins) ? { plugins, grant: "as-requested" } : {}),
      threads: flags.threads,
      accessLog: "stdout",
    }, program.findPlugins);
  const result = await load();
  if (result.errors !== undefined) throw new CliExit(EXIT.usage, errorText(result.errors));
  const hint = `demo origin on ${origin.address}\nTry:
  curl -i http://${flags.listen}/
  curl -i http://${flags.listen}/echo -d hello\n`;
  await serve(result.config, program, output, { load, hint });
}

/** An origin on a free port of the loopback interface. */
export interface DemoOrigin extends AsyncDisposable {
  readonly address: string;
}

const HELP = `This is the demo origin behind Sluice.

  GET  /          this page
  ANY  /echo      the request as it arrived here, as JSON
  GET  /stream    ten lines, one each 100 milliseconds
  GET  /status/N  an answer with status N
`;

/** Starts the demo origin. */
export function startDemoOrigin(): DemoOrigin {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    answer,
  );
  return {
    address: `127.0.0.1:${server.addr.port}`,
    async [Symbol.asyncDispose]() {
      await server.shutdown();
    },
  };
}

async function answer(request: Request): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  const status = /^\/status\/([2-5]\d\d)$/.exec(pathname);
  if (status !== null) {
    const code = Number(status[1]);
    const bodiless = code === 204 || code === 205 || code === 304;
    return new Response(bodiless ? null : `status ${code}\n`, { status: code });
  }
  if (pathname === "/") return new Response(HELP);
  if (pathname === "/stream") return new Response(lines());
  if (pathname !== "/echo") return new Response("not found\n", { status: 404 });
  return Response.json({
    method: request.method,
    target: pathname + search,
    headers: [...request.headers],
    body: await limitedText(request, 64 * 1024),
  });
}

async function limitedText(request: Request, limit: number): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of request.body ?? []) {
    if (text.length < limit) text += decoder.decode(chunk, { stream: true });
  }
  return text.slice(0, limit);
}

function lines(): ReadableStream<Uint8Array> {
  let line = 0;
  let timer: ReturnType<typeof setInterval> | undefined;
  return new ReadableStream({
    start(controller) {
      timer = setInterval(() => {
        controller.enqueue(new TextEncoder().encode(`line ${++line}\n`));
        if (line < 10) return;
        clearInterval(timer);
        controller.close();
      }, 100);
    },
    cancel() {
      clearInterval(timer);
    },
  });
}
