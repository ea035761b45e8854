/**
 * A sandbox that is a process: the level `process`.
 *
 * @module
 */
import {
  HELLO,
  type HostMessage,
  LISTENING,
  type ProcessOrder,
  REFUSED,
  type SandboxMessage,
} from "./control.ts";
import { processFlags } from "./permissions.ts";
import { MAX_FRAME_FROM_SANDBOX } from "./protocol.ts";
import {
  type Line,
  refusedMessage,
  type Sandbox,
  type SandboxExit,
  type SandboxOptions,
} from "./sandbox.ts";
import { SocketChannel } from "./socket_channel.ts";

/** What is kept of what it writes on its standard error, for the message when it dies. */
const MAX_STDERR = 8 * 1024;
/** The longest line that its standard output may have before it listens. */
const MAX_LINE = 16 * 1024;

/** What a process needs besides. */
export interface ProcessSandboxOptions extends SandboxOptions {
  /** Path of the socket to make. Must not exist. */
  readonly socket: string;
}

/** Starts a sandbox in a process of its own. */
export function startProcessSandbox(options: ProcessSandboxOptions): Sandbox {
  return new ProcessSandbox(options);
}

class ProcessSandbox implements Sandbox {
  readonly #options: ProcessSandboxOptions;
  readonly #token = crypto.randomUUID();
  readonly #child: Deno.ChildProcess;
  readonly gone: Promise<void>;
  #control: SocketChannel | null = null;
  #early: HostMessage[] = [];
  #stderr = "";
  #refused = "";
  /** What was wrong with what it sent, if anything was. */
  #broken = "";
  #ended = false;

  constructor(options: ProcessSandboxOptions) {
    this.#options = options;
    const { spec, rights, heap, socket } = options;
    const megabytes = Math.max(8, Math.ceil(heap / 1024 / 1024));
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--quiet",
        "--cached-only",
        ...processFlags(rights, spec.root, socket),
        `--v8-flags=--max-old-space-size=${megabytes}`,
        new URL("./process_boot.ts", import.meta.url).href,
      ],
      // Ctrl-C goes to the whole process group, and a drain still needs its plugins.
      detached: true,
      clearEnv: true,
      env: childEnvironment(rights.env),
      cwd: "/",
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    void this.#readOutput();
    void this.#readErrors();
    this.gone = this.#child.status.then((status) => this.#exited(status));
    void this.#order({ socket, token: this.#token, root: spec.root });
  }

  send(message: HostMessage): void {
    if (this.#ended) return;
    if (this.#control === null) this.#early.push(message);
    else this.#control.post(message as unknown as unknown[]);
  }

  line(): Line {
    return { kind: "socket", path: this.#options.socket, token: this.#token };
  }

  async residentMemory(): Promise<number | null> {
    try {
      const fields = (await Deno.readTextFile(`/proc/${this.#child.pid}/statm`)).split(" ");
      return Number(fields[1]) * 4096;
    } catch {
      return null;
    }
  }

  async kill(): Promise<void> {
    this.#ended = true;
    this.#control?.close();
    this.#killChild();
    await this.gone;
  }

  async #order(order: ProcessOrder): Promise<void> {
    try {
      const writer = this.#child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(JSON.stringify(order)));
      await writer.close();
    } catch {
      // It died before it could read; its exit says why.
    }
  }

  async #readOutput(): Promise<void> {
    const decoder = new TextDecoder();
    let line = "";
    let listening = false;
    try {
      for await (const bytes of this.#child.stdout) {
        line += decoder.decode(bytes, { stream: true });
        for (let end = line.indexOf("\n"); end >= 0; end = line.indexOf("\n")) {
          const text = line.slice(0, end);
          line = line.slice(end + 1);
          if (!listening && text === LISTENING) {
            listening = true;
            await this.#connect();
          } else if (text.startsWith(REFUSED)) this.#refused = readRefusal(text);
        }
        if (line.length > MAX_LINE) line = "";
      }
    } catch {
      // The pipe broke with the process.
    }
  }

  async #readErrors(): Promise<void> {
    const decoder = new TextDecoder();
    try {
      for await (const bytes of this.#child.stderr) {
        this.#stderr = (this.#stderr + decoder.decode(bytes, { stream: true })).slice(-MAX_STDERR);
      }
    } catch {
      // The pipe broke with the process.
    }
  }

  async #connect(): Promise<void> {
    let connection: Deno.UnixConn;
    try {
      connection = await Deno.connect({ transport: "unix", path: this.#options.socket });
    } catch {
      // It died meanwhile; its exit says why.
      return;
    }
    if (this.#ended) return connection.close();
    const control = new SocketChannel(connection, MAX_FRAME_FROM_SANDBOX);
    this.#control = control;
    control.onMessage = (message) => {
      if (!this.#ended) this.#options.onMessage(message as unknown as SandboxMessage);
    };
    control.onClose = (reason, malformed) => this.#lost(malformed ? reason : "");
    control.post([HELLO, this.#token, "control"]);
    control.start();
    for (const message of this.#early) this.send(message);
    this.#early = [];
  }

  async #exited(status: Deno.CommandStatus): Promise<void> {
    try {
      await Deno.remove(this.#options.socket);
    } catch {
      // It was never made.
    }
    if (this.#refused !== "") return this.#end({ cause: "import", message: this.#refused });
    if (this.#broken !== "") return this.#end({ cause: "exit", message: this.#broken });
    const memory = /out of memory|heap limit/i.test(this.#stderr);
    const last = this.#stderr.trim().split("\n").find((line) => /error|Error/.test(line)) ?? "";
    this.#end({
      cause: memory ? "memory" : "exit",
      message: memory
        ? "it used more than its heap limit"
        : `its process ended with ${status.signal ?? `code ${status.code}`}${
          last === "" ? "" : `: ${last.slice(0, 500)}`
        }`,
    });
  }

  /** The control connection is gone. So is the process, most likely, and then its exit says why. */
  #lost(reason: string): void {
    this.#broken = reason;
    this.#killChild();
  }

  #killChild(): void {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It was dead already.
    }
  }

  #end(exit: SandboxExit): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#control?.close();
    this.#options.onExit(exit);
  }
}

function readRefusal(line: string): string {
  try {
    const [specifier, importer] = JSON.parse(line.slice(REFUSED.length));
    return refusedMessage(String(specifier), String(importer));
  } catch {
    return "a plugin made an import that is not allowed";
  }
}

/** The environment of a child: what it may read, and where the modules lie. */
function childEnvironment(granted: readonly string[] | true): Record<string, string> {
  const env: Record<string, string> = {};
  const names = granted === true ? Object.keys(Deno.env.toObject()) : granted;
  for (const name of ["DENO_DIR", "HOME", "XDG_CACHE_HOME", ...names]) {
    const value = Deno.env.get(name);
    if (value !== undefined) env[name] = value;
  }
  return env;
}
