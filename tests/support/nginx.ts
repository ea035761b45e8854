/**
 * A real nginx as origin, in a temporary folder and on a free port.
 *
 * @module
 */
import net from "node:net";
import { DEADLINE, withDeadline } from "./deadline.ts";
import { freePort } from "./ports.ts";
import { findProgram } from "./require.ts";

/** A running nginx. */
export interface Nginx extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  /** Its folder; `html` in it is the document root. */
  readonly directory: string;
}

/**
 * Starts nginx.
 *
 * @param server What stands in its `server` block, beside `listen`.
 * @param files Files of the document root.
 */
export async function startNginx(
  server: string = "",
  files: Readonly<Record<string, string | Uint8Array>> = {},
): Promise<Nginx> {
  const directory = await Deno.makeTempDir({ prefix: "sluice-nginx-" });
  await Deno.mkdir(`${directory}/html`);
  // The workers of an nginx started by root run as another user.
  await Deno.chmod(directory, 0o755);
  for (const [name, content] of Object.entries(files)) {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await Deno.writeFile(`${directory}/html/${name}`, bytes);
  }
  const port = freePort();
  await Deno.writeTextFile(`${directory}/nginx.conf`, config(directory, port, server));
  const child = new Deno.Command(findProgram("nginx") ?? "nginx", {
    args: ["-p", directory, "-c", `${directory}/nginx.conf`, "-e", `${directory}/error.log`],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const ended = child.status;
  let over = false;
  ended.then(() => over = true);
  const dispose = async () => {
    if (!over) child.kill("SIGTERM");
    await ended;
    await Deno.remove(directory, { recursive: true });
  };
  try {
    const end = Date.now() + DEADLINE;
    while (!await connects(port)) {
      if (over || Date.now() > end) {
        throw new Error(
          `nginx did not start: ${await Deno.readTextFile(`${directory}/error.log`)}`,
        );
      }
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    directory,
    [Symbol.asyncDispose]: dispose,
  };
}

function config(directory: string, port: number, server: string): string {
  return `
daemon off;
worker_processes 1;
pid ${directory}/nginx.pid;
events { worker_connections 1024; }
http {
  access_log off;
  default_type application/octet-stream;
  types { text/html html; text/plain txt; }
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  client_max_body_size 0;
  keepalive_requests 1000000;
  server {
    listen 127.0.0.1:${port};
    root ${directory}/html;
    ${server}
  }
}
`;
}

async function connects(port: number): Promise<boolean> {
  const socket = net.connect(port, "127.0.0.1");
  const result = await withDeadline(
    new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      // nginx tells nobody that it is ready, so a refusal is tried again a little later.
      socket.once("error", () => setTimeout(() => resolve(false), 20));
    }),
    DEADLINE,
    "nginx to accept",
  );
  socket.destroy();
  return result;
}
