/**
 * A service manager that is told how a program is: the datagrams of systemd's protocol.
 *
 * @module
 */
import { DEADLINE, eventually } from "./deadline.ts";

/** What was told. */
export class FakeServiceManager implements Disposable {
  readonly path: string;
  readonly messages: string[] = [];
  readonly #socket: Deno.DatagramConn;
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
    this.path = `${directory}/notify.sock`;
    this.#socket = Deno.listenDatagram({ transport: "unixpacket", path: this.path });
    void this.#receive();
  }

  static async start(): Promise<FakeServiceManager> {
    return new FakeServiceManager(await Deno.makeTempDir({ prefix: "sluice-notify-" }));
  }

  /** Waits until a message matches. */
  async heard(pattern: RegExp, ms: number = DEADLINE): Promise<string> {
    let found: string | undefined;
    await eventually(
      () => (found = this.messages.find((message) => pattern.test(message))) !== undefined,
      `${pattern} among ${JSON.stringify(this.messages)}`,
      ms,
    );
    return found!;
  }

  [Symbol.dispose](): void {
    this.#socket.close();
    Deno.removeSync(this.#directory, { recursive: true });
  }

  async #receive(): Promise<void> {
    try {
      for (;;) this.messages.push(new TextDecoder().decode((await this.#socket.receive())[0]));
    } catch { /* It was closed. */ }
  }
}
