/**
 * A thread that connects to the port that it is told, says by which loop it watches that, and keeps it.
 *
 * @module
 */
import { dialEpoll } from "../../src/transport/epoll/epoll_dial.ts";
import { epollLoop } from "../../src/transport/epoll/loop.ts";

const { postMessage: say } = globalThis as unknown as { postMessage(value: unknown): void };

globalThis.addEventListener("message", async (event) => {
  const loop = epollLoop()!;
  const port = (event as MessageEvent<number>).data;
  await dialEpoll(loop, { kind: "tcp", host: "127.0.0.1", port }, {
    timeout: 5_000,
    tcpKeepAlive: 0,
  });
  say(loop.place);
});
