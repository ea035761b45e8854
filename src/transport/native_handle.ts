/**
 * The native TCP handle below `node:net`, which calls back without promises and writes within the call.
 *
 * It is not a documented interface: nothing else knows its shape, and it is used only after
 * {@linkcode handleEngineAvailable} found all of it.
 *
 * @module
 */
import process from "node:process";

/** A TCP handle. Calls return `0` or a negative errno of libuv. */
export interface TcpHandle {
  onread: (() => void) | undefined;
  onconnection: ((status: number, client: TcpHandle | undefined) => void) | undefined;
  useUserBuffer(buffer: Uint8Array): void;
  readStart(): number;
  readStop(): number;
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number;
  shutdown(request: ShutdownRequest): number;
  close(callback?: () => void): void;
  setNoDelay(on: boolean): number;
  setKeepAlive(on: boolean, seconds: number): number;
  getpeername(into: NativeAddress): number;
  getsockname(into: NativeAddress): number;
  bindWithFlags(host: string, port: number, flags: number): number;
  bind6(host: string, port: number, flags: number): number;
  listen(backlog: number): number;
  /** Takes a descriptor over: closing the handle closes it. */
  open(descriptor: number): number;
  connect(request: ConnectRequest, host: string, port: number): number;
  connect6(request: ConnectRequest, host: string, port: number): number;
}

/** A write that the kernel did not take at once. */
export interface WriteRequest {
  oncomplete: (status: number) => void;
  /** Keeps alive what the native side still reads from. */
  buffer?: Uint8Array | undefined;
}

/** A pending shutdown of our direction. */
export interface ShutdownRequest {
  oncomplete: (status: number) => void;
}

/** A pending connect. */
export interface ConnectRequest {
  oncomplete: (status: number) => void;
}

/** What the name calls fill in. */
export interface NativeAddress {
  address?: string;
  port?: number;
}

/** What the bindings offer. */
export interface NativeTcp {
  readonly TCP: new (type: number) => TcpHandle;
  readonly TCPConnectWrap: new () => ConnectRequest;
  readonly WriteWrap: new () => WriteRequest;
  readonly ShutdownWrap: new () => ShutdownRequest;
  /** Makes `onconnection` get a client handle. To be called after it is set. */
  readonly setupListenWrap: (server: TcpHandle) => void;
  /** Results of the last call: what was read, and whether a write was left pending. */
  readonly state: Int32Array;
  readonly readIndex: number;
  readonly asyncWriteIndex: number;
  readonly types: { readonly SOCKET: number; readonly SERVER: number };
  /** The errno name of a status, such as `ECONNRESET`. */
  readonly errorName: (status: number) => string;
}

/** The status that stands for the end of what the other side sends. */
export const END_OF_FILE = -4095;

/** SO_REUSEPORT, for several listeners on one port. */
export const REUSE_PORT = 4;

const METHODS = [
  "useUserBuffer",
  "readStart",
  "readStop",
  "writeBuffer",
  "shutdown",
  "close",
  "setNoDelay",
  "setKeepAlive",
  "getpeername",
  "getsockname",
  "bindWithFlags",
  "bind6",
  "listen",
  "open",
  "connect",
  "connect6",
];

let found: NativeTcp | null | undefined;

/** Whether this runtime has the native handles as they are expected. */
export function handleEngineAvailable(): boolean {
  return nativeTcp() !== null;
}

/** The bindings, or `null` where they are missing or look different. */
export function nativeTcp(): NativeTcp | null {
  if (found === undefined) {
    try {
      found = load();
    } catch {
      // Whatever a runtime without them throws: it has none.
      found = null;
    }
  }
  return found;
}

/** An error as node would have made it from a status. */
export function statusError(status: number, call: string): Error & { code: string } {
  const code = nativeTcp()?.errorName(status) ?? "UNKNOWN";
  return Object.assign(new Error(`${call} ${code}`), { code });
}

function load(): NativeTcp | null {
  const { binding } = process as unknown as {
    binding?: (name: string) => Record<string, unknown>;
  };
  if (typeof binding !== "function") return null;
  const tcp = binding("tcp_wrap");
  const stream = binding("stream_wrap");
  const uv = binding("uv");
  const { TCP, TCPConnectWrap, setupListenWrap, constants } = tcp;
  const { WriteWrap, ShutdownWrap, streamBaseState, kReadBytesOrError, kLastWriteWasAsync } =
    stream;
  const types = constants as { SOCKET?: unknown; SERVER?: unknown } | undefined;
  const classes = [TCP, TCPConnectWrap, WriteWrap, ShutdownWrap, setupListenWrap, uv.errname];
  if (
    !classes.every((one) => typeof one === "function") ||
    !(streamBaseState instanceof Int32Array) ||
    typeof kReadBytesOrError !== "number" || typeof kLastWriteWasAsync !== "number" ||
    typeof types?.SOCKET !== "number" || typeof types.SERVER !== "number"
  ) return null;
  const { prototype } = TCP as { prototype: Record<string, unknown> };
  if (!METHODS.every((name) => typeof prototype[name] === "function")) return null;
  return {
    TCP: TCP as NativeTcp["TCP"],
    TCPConnectWrap: TCPConnectWrap as NativeTcp["TCPConnectWrap"],
    WriteWrap: WriteWrap as NativeTcp["WriteWrap"],
    ShutdownWrap: ShutdownWrap as NativeTcp["ShutdownWrap"],
    setupListenWrap: setupListenWrap as NativeTcp["setupListenWrap"],
    state: streamBaseState,
    readIndex: kReadBytesOrError,
    asyncWriteIndex: kLastWriteWasAsync,
    types: { SOCKET: types.SOCKET, SERVER: types.SERVER },
    errorName: uv.errname as NativeTcp["errorName"],
  };
}
