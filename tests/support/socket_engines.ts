/**
 * The engines for clear-text listeners that work on this machine.
 *
 * @module
 */
import { epollAvailable } from "../../src/transport/epoll/system_calls.ts";
import { handleEngineAvailable } from "../../src/transport/native_handle.ts";
import type { SocketEngine } from "../../src/transport/socket.ts";

export const SOCKET_ENGINES: readonly SocketEngine[] = [
  "deno",
  ...handleEngineAvailable() ? ["handle" as const] : [],
  ...epollAvailable() ? ["epoll" as const] : [],
];
