/**
 * Does what the READMEs of the examples say, to the letter: the commands of their `sh` blocks, one after the other,
 * and each line of the `text` block after a command must be in what it prints. Only ports are replaced by free ones,
 * and the folder by a copy with those ports.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { withDeadline } from "../support/deadline.ts";
import { freePort } from "../support/ports.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

interface Step {
  readonly command: string;
  /** Lines that must be in what it prints. */
  readonly expected: readonly string[];
}

/** The commands of a README, with what they are said to print. */
function readSteps(markdown: string): Step[] {
  const steps: { command: string; expected: string[] }[] = [];
  for (const [, language, text] of markdown.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)) {
    const lines = text!.split("\n").filter((line) => line !== "");
    if (language === "sh") {
      for (const command of lines) steps.push({ command, expected: [] });
    } else if (language === "text") {
      assert.ok(steps.length > 0, "a text block comes after a command");
      steps.at(-1)!.expected.push(...lines);
    }
  }
  return steps;
}

/** A command that goes on until it is stopped. */
async function startCommand(command: string): Promise<AsyncDisposable> {
  const child = new Deno.Command("bash", {
    // Without `exec`, the signal would end the shell and leave the program behind.
    args: ["-c", `exec ${command}`],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let output = "";
  let ready: () => void;
  let failed: (error: Error) => void;
  const started = new Promise<void>((resolve, reject) => {
    ready = resolve;
    failed = reject;
  });
  const collect = async (stream: ReadableStream<Uint8Array>) => {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      output += text;
      if (/\bis ready on\b/.test(output)) ready();
    }
  };
  const ended = Promise.all([collect(child.stdout), collect(child.stderr), child.status]);
  void ended.then(() => failed(new Error(`Ended before it was ready: ${command}\n${output}`)));
  const stop = async () => {
    try {
      child.kill("SIGTERM");
    } catch { /* It has ended. */ }
    await withDeadline(ended, 60_000, () => `the end of ${command}:\n${output}`);
  };
  try {
    await withDeadline(started, 30_000, () => `${command} to be ready:\n${output}`);
  } catch (error) {
    await stop();
    throw error;
  }
  return { [Symbol.asyncDispose]: stop };
}

/** A command that ends; returns what it printed. */
async function runCommand(command: string): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command("bash", {
    args: ["-c", command],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  const text = decoder.decode(stdout);
  assert.equal(code, 0, `${command} ended with ${code}:\n${text}${decoder.decode(stderr)}`);
  return text;
}

/** Copies a folder, and changes texts in its files on the way. */
async function copyFolder(from: string, to: string, change: (text: string) => string) {
  await Deno.mkdir(to, { recursive: true });
  for await (const entry of Deno.readDir(from)) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory) await copyFolder(source, target, change);
    else {
      await Deno.writeTextFile(target, change(await Deno.readTextFile(source)));
      // Scripts stay scripts.
      await Deno.chmod(target, (await Deno.stat(source)).mode!);
    }
  }
}

async function follow(example: string): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "sluice-example-" });
  await using running = new AsyncDisposableStack();
  running.defer(() => Deno.remove(directory, { recursive: true }));
  const ports = new Map(["8080", "3000", "3001", "3002"].map((port) => [port, freePort()]));
  const change = (text: string) =>
    text.replace(/\b(8080|300[0-2])\b/g, (port) => String(ports.get(port)))
      .replaceAll(`examples/${example}`, directory);
  await copyFolder(join(ROOT, "examples", example), directory, change);
  const steps = readSteps(await Deno.readTextFile(join(directory, "README.md")));
  const asked = steps.filter(({ expected }) => expected.length > 0);
  assert.ok(asked.length > 0, "the README shows what a command prints");
  for (const { command, expected } of steps) {
    if (/ origin|\/origin\.ts| run -c /.test(command)) {
      running.use(await startCommand(command));
      continue;
    }
    const printed = (await runCommand(command)).split(/\r?\n/);
    for (const line of expected) {
      assert.ok(
        printed.some((one) => one === line),
        `${command} did not print "${line}":\n${printed.join("\n")}`,
      );
    }
  }
}

async function missingTool(): Promise<string | null> {
  for (const tool of ["bash", "curl", "openssl"]) {
    try {
      await new Deno.Command(tool, { args: ["--version"], stdout: "null", stderr: "null" })
        .output();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return tool;
      throw error;
    }
  }
  return null;
}

const missing = await missingTool();
if (missing !== null) {
  console.log(`skipped: the examples need ${missing}; install the package ${missing}`);
}

for (const example of ["quickstart", "failover", "load-balancing", "grpc", "tls", "deployment"]) {
  Deno.test({
    name: `examples/${example} does what its README says`,
    ignore: missing !== null,
    fn: () => follow(example),
  });
}
