/**
 * Everything that runs while a scenario is measured: an origin, and the proxies in front of it.
 *
 * @module
 */
import { findProgram } from "./programs.ts";
import { type Certificate, type Job, nginxConfig, type Peer, runsCode } from "./peers.ts";
import type { Scenario } from "./scenarios.ts";

/** A proxy that is running. */
export interface Target {
  readonly name: string;
  readonly port: number;
  /** The processes whose CPU and memory count. */
  readonly pids: () => readonly number[];
  /** Milliseconds from its start to its first answer. */
  readonly startup: number;
  /** Whether it is at its best only after a while. */
  readonly compiles: boolean;
}

/** A scenario's proxies. */
export interface Stage extends AsyncDisposable {
  readonly folder: string;
  readonly targets: readonly Target[];
}

/** Twelve fields with those that nginx adds: what answers usually have. */
const RESPONSE_FIELDS = `
    add_header X-Content-Type-Options nosniff;
    add_header X-Frame-Options SAMEORIGIN;
    add_header Referrer-Policy strict-origin-when-cross-origin;
    add_header Cache-Control "public, max-age=60";
    add_header Vary Accept-Encoding;
    add_header Strict-Transport-Security "max-age=31536000";
    add_header X-Request-Id 5f0c3a9e2b7d4e61;`;

/** Content of what is downloaded, by path. */
const FILES: Readonly<Record<string, number>> = { "/100k": 100 * 1024, "/10m": 10 * 1024 * 1024 };

/**
 * Starts the origin and all peers that can do what a scenario wants and are installed.
 *
 * @throws {Error} If one does not answer, or answers something else than the origin does.
 */
export async function setStage(scenario: Scenario, peers: readonly Peer[]): Promise<Stage> {
  const folder = await Deno.makeTempDir({ prefix: "sluice-bench-" });
  // The workers of nginx run as somebody else.
  await Deno.chmod(folder, 0o755);
  const children: Deno.ChildProcess[] = [];
  const strike = async () => {
    for (const child of children) {
      try {
        child.kill("SIGTERM");
      } catch {
        // It has ended by itself.
      }
    }
    await Promise.all(children.map((child) => child.status));
    await Deno.remove(folder, { recursive: true });
  };
  const start = async (cpu: number | null, [program, ...args]: readonly string[], log: string) => {
    const pinned = cpu === null ? [program!, ...args] : ["-c", String(cpu), program!, ...args];
    const output = await Deno.open(log, { write: true, create: true });
    const child = new Deno.Command(cpu === null ? program! : "taskset", {
      args: cpu === null ? args : pinned,
      stdout: "null",
      stderr: "piped",
    }).spawn();
    void child.stderr.pipeTo(output.writable).catch(() => {});
    children.push(child);
    return child.pid;
  };
  try {
    const origin = freePort();
    const h2cPort = freePort();
    const certificate = await makeCertificate(folder);
    await startOrigin(
      folder,
      origin,
      h2cPort,
      (command) => start(0, command, `${folder}/origin.log`),
    );
    await answers(origin, "h1");
    const targets: Target[] = [];
    for (const peer of peers) {
      if (peer.needs.some(([program]) => findProgram(program) === null)) continue;
      const workers = scenario.workers ?? 1;
      const home = `${folder}/${peer.name.replaceAll(/\W/g, "-")}`;
      await Deno.mkdir(home);
      await Deno.chmod(home, 0o777);
      const port = freePort();
      const { front, work, accessLog = false } = scenario;
      const h2cOrigin = scenario.back === "h2c" ? h2cPort : null;
      const served = { origin, h2cOrigin, port, folder: home, front, certificate };
      const job: Job = { ...served, work, accessLog, workers };
      const command = await peer.command(job);
      if (command === null) continue;
      const begun = performance.now();
      const pid = await start(workers === 1 ? 1 : null, command, `${home}/stderr.log`);
      await answers(port, front).catch(async (error) => {
        const said = await Deno.readTextFile(`${home}/stderr.log`);
        throw new Error(`${peer.name} does not answer (${error.message}):\n${said}`);
      });
      const startup = performance.now() - begun;
      const { name, compiles = false } = peer;
      targets.push({ name, port, pids: () => peer.workers(pid), startup, compiles });
      if (front === "h1" && work !== "answer") await compare(origin, port, peer.name);
      if (front === "h1" && runsCode(work) && peer.hooks === true) await runs(port, peer.name);
    }
    return { folder, targets, [Symbol.asyncDispose]: strike };
  } catch (error) {
    await strike();
    throw error;
  }
}

async function startOrigin(
  folder: string,
  port: number,
  h2cPort: number,
  start: (command: readonly string[]) => Promise<number>,
): Promise<void> {
  const home = `${folder}/origin`;
  await Deno.mkdir(home);
  for (const [path, size] of Object.entries(FILES)) {
    await Deno.writeFile(`${home}${path}`, new Uint8Array(size).fill(97));
  }
  await Deno.writeTextFile(
    `${home}/nginx.conf`,
    nginxConfig(
      home,
      1,
      // Content is read to its end before it is answered, and goes no further.
      `upstream self { server 127.0.0.1:${port}; keepalive 64; keepalive_requests 1000000000; }
      server { listen 127.0.0.1:${port} backlog=4096; listen 127.0.0.1:${h2cPort} http2; root ${home};${RESPONSE_FIELDS}
        location = /small { return 200 "${"x".repeat(115)}"; }
        location = /sink {
          client_body_buffer_size 16m; proxy_pass http://self/small; proxy_pass_request_body off;
          proxy_set_header Content-Length ""; proxy_set_header Connection ""; proxy_http_version 1.1;
        } }`,
    ),
  );
  await start(["nginx", "-c", `${home}/nginx.conf`, "-p", home]);
}

async function makeCertificate(folder: string): Promise<Certificate> {
  const [cert, key, both] = ["cert", "key", "both"].map((name) => `${folder}/${name}.pem`);
  const made: Certificate = { cert: cert!, key: key!, both: both! };
  const { success, stderr } = await new Deno.Command("openssl", {
    args: [
      ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(" "),
      ..."-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1".split(" "),
      ...["-keyout", made.key, "-out", made.cert],
    ],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  const parts = [Deno.readTextFile(made.cert), Deno.readTextFile(made.key)];
  await Deno.writeTextFile(made.both, (await Promise.all(parts)).join(""));
  for (const file of Object.values(made)) await Deno.chmod(file, 0o644);
  return made;
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Waits until something answers a request, for a quarter of a minute at most. */
async function answers(port: number, front: Job["front"]): Promise<void> {
  const scheme = front === "tls" || front === "h2" ? "https" : "http";
  const args = ["-sk", "-o", "/dev/null", "-m", "2", "-w", "%{http_code}"];
  if (front === "h2c") args.push("--http2-prior-knowledge");
  for (let tries = 0;; tries++) {
    const { stdout } = await new Deno.Command("curl", {
      args: [...args, `${scheme}://127.0.0.1:${port}/small`],
    }).output();
    const status = new TextDecoder().decode(stdout);
    if (status === "200") return;
    if (tries > 80) throw new Error(`status ${status}`);
    await new Promise((resolve) => setTimeout(resolve, 20 + 2 * tries));
  }
}

/** Whatever is quick must be right, too. */
async function compare(origin: number, port: number, name: string): Promise<void> {
  for (const path of ["/small", ...Object.keys(FILES)]) {
    const [wanted, found] = await Promise.all(
      [origin, port].map(async (at) => {
        const response = await fetch(`http://127.0.0.1:${at}${path}`);
        return new Uint8Array(await response.arrayBuffer());
      }),
    );
    const same = wanted!.length === found!.length && wanted!.every((byte, i) => byte === found![i]);
    if (!same) throw new Error(`${name} answers ${path} with something else than the origin`);
  }
}

/** Whatever is quick must have done its work. */
async function runs(port: number, name: string): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}/small`);
  await response.body?.cancel();
  const found = response.headers.get("x-hooked");
  if (found !== "1") throw new Error(`${name} answers with "x-hooked: ${found}" in place of 1`);
}
