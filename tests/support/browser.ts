/**
 * Runs a page in Chromium, and waits for what it reports.
 *
 * @module
 */
import { findProgram } from "./require.ts";

/** A running browser. */
export class Browser implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #profile: string;

  private constructor(child: Deno.ChildProcess, profile: string) {
    this.#child = child;
    this.#profile = profile;
  }

  /**
   * Opens a page.
   *
   * @param hosts Names that stand for this host.
   */
  static async open(url: string, hosts: readonly string[]): Promise<Browser> {
    const profile = await Deno.makeTempDir({ prefix: "sluice-browser-" });
    const child = new Deno.Command(findProgram("chromium")!, {
      args: [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-extensions",
        "--disable-sync",
        "--no-first-run",
        "--no-proxy-server",
        "--ignore-certificate-errors",
        `--host-resolver-rules=${hosts.map((host) => `MAP ${host} 127.0.0.1`).join(",")}`,
        `--user-data-dir=${profile}`,
        url,
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    return new Browser(child, profile);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
    // Its helpers may be writing for a moment more.
    for (let i = 0; i < 20; i++) {
      try {
        await Deno.remove(this.#profile, { recursive: true });
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }
}
