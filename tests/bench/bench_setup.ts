/**
 * Starts an origin and the proxies to compare, each on the processor that it is measured on.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { childrenOf } from "./cpu_time.ts";

/** A proxy to measure. */
export interface Target {
  readonly name: string;
  readonly port: number;
  /** The processes whose CPU counts. */
  readonly pids: () => number[];
}

/** Everything that runs during a measurement. */
export interface Bench extends AsyncDisposable {
  readonly targets: readonly Target[];
}

const RESPONSE_FIELDS = `
    add_header X-Content-Type-Options nosniff;
    add_header X-Frame-Options SAMEORIGIN;
    add_header Referrer-Policy strict-origin-when-cross-origin;
    add_header Cache-Control "public, max-age=60";
    add_header Vary Accept-Encoding;
    add_header Strict-Transport-Security "max-age=31536000";
    add_header X-Request-Id 5f0c3a9e2b7d4e61;`;

function nginxConfig(directory: string, body: string): string {
  return `
worker_processes 1; daemon off; pid ${directory}/pid; error_log ${directory}/error.log;
events { worker_connections 8192; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path ${directory}/b; proxy_temp_path ${directory}/p; fastcgi_temp_path ${directory}/f;
  uwsgi_temp_path ${directory}/u; scgi_temp_path ${directory}/s; default_type text/plain;
  ${body}
}`;
}

/** Starts nginx as origin on processor 0, and nginx and Sluice as proxies on processor 1. */
export async function startBench(): Promise<Bench> {
  const directory = await Deno.makeTempDir({ prefix: "sluice-bench-" });
  // The workers of nginx run as somebody else.
  await Deno.chmod(directory, 0o755);
  const processes: Deno.ChildProcess[] = [];
  const [origin, nginx, nginxAgain, sluice] = freePorts(4) as [number, number, number, number];
  const startNginx = async (name: string, cpu: string, body: string) => {
    const home = `${directory}/${name}`;
    await Deno.mkdir(home);
    await Deno.writeTextFile(`${home}/nginx.conf`, nginxConfig(home, body));
    const child = new Deno.Command("taskset", {
      args: ["-c", cpu, "nginx", "-c", `${home}/nginx.conf`, "-p", home],
      stdout: "null",
      stderr: "null",
    }).spawn();
    processes.push(child);
    return child;
  };
  const proxy = (port: number) => `
    upstream origin { server 127.0.0.1:${origin}; keepalive 256; keepalive_requests 1000000000; }
    server { listen 127.0.0.1:${port}; location / {
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; } }`;
  await Deno.writeFile(`${directory}/100k`, new Uint8Array(100 * 1024).fill(97));
  await Deno.writeFile(`${directory}/10m`, new Uint8Array(10 * 1024 * 1024).fill(97));
  await startNginx(
    "origin",
    "0",
    `server { listen 127.0.0.1:${origin}; root ${directory};${RESPONSE_FIELDS}
      location /small { return 200 "${"x".repeat(115)}"; } }`,
  );
  const front = await startNginx("front", "1", proxy(nginx));
  const again = await startNginx("again", "1", proxy(nginxAgain));
  const program = new Deno.Command("taskset", {
    args: [
      "-c",
      "1",
      Deno.execPath(),
      "run",
      "-A",
      "--no-prompt",
      fileURLToPath(new URL("../../main.ts", import.meta.url)),
      "run",
      "--listen",
      `127.0.0.1:${sluice}`,
      "--upstream",
      `http://127.0.0.1:${origin}`,
      "--threads",
      "1",
      "--access-log",
      "off",
    ],
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  processes.push(program);
  for (const port of [origin, nginx, nginxAgain, sluice]) await listening(port);
  return {
    targets: [
      { name: "nginx", port: nginx, pids: () => childrenOf(front.pid) },
      { name: "nginx again", port: nginxAgain, pids: () => childrenOf(again.pid) },
      { name: "sluice", port: sluice, pids: () => [program.pid] },
    ],
    async [Symbol.asyncDispose]() {
      for (const child of processes) child.kill("SIGTERM");
      await Promise.all(processes.map((child) => child.status));
      await Deno.remove(directory, { recursive: true });
    },
  };
}

function freePorts(count: number): number[] {
  const listeners = Array.from(
    { length: count },
    () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  );
  const ports = listeners.map((listener) => (listener.addr as Deno.NetAddr).port);
  for (const listener of listeners) listener.close();
  return ports;
}

async function listening(port: number): Promise<void> {
  for (let tries = 0;; tries++) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch (error) {
      if (tries > 200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
