/**
 * What a service worker may do: listen where it listens, reach whom it is configured to reach, read and write
 * the few files that are its own. Nothing else, whatever code ends up running in it.
 *
 * @module
 */
import type { Config, ServiceConfig } from "../config/types.ts";
import type { Address, TcpAddress } from "../transport/address.ts";
import { unixDraft } from "../transport/unix_path.ts";

/** Deno's permission sets for a worker; all eight keys, because a missing one would inherit. */
export interface WorkerPermissions {
  readonly net: string[] | boolean;
  readonly read: string[] | boolean;
  readonly write: string[] | boolean;
  readonly env: string[] | boolean;
  readonly sys: string[] | boolean;
  readonly run: boolean;
  readonly ffi: boolean;
  readonly import: boolean;
}

/** What else a worker needs than its config says. */
export interface PermissionExtras {
  /** Unix sockets of sandboxed plugins in processes of their own. */
  readonly sockets: readonly string[];
  /** What names of upstreams need. */
  readonly reach: { readonly net: readonly string[]; readonly read: readonly string[] };
  /** Addresses by which listeners are listened on, where those are not their own. */
  readonly binds: Readonly<Record<string, TcpAddress>>;
  /** Whether calls into libc can be made here. */
  readonly libc: boolean;
  /** Plugins that run inline: they share the worker's rights, so it needs theirs. */
  readonly inline: readonly {
    readonly root: string;
    readonly rights: {
      readonly [Kind in "net" | "read" | "write" | "env" | "sys"]: readonly string[] | true;
    };
  }[];
}

/** Makes the permissions of the workers of a service. */
export function workerPermissions(
  config: Config,
  service: ServiceConfig,
  extras: PermissionExtras,
): WorkerPermissions {
  const net = new Set<string>();
  const read = new Set<string>(extras.inline.map(({ root }) => root));
  const write = new Set<string>();
  let anywhere = false;
  const add = (address: Address) => {
    if (address.kind === "tcp") {
      net.add(hostPort(address.host, address.port));
      return;
    }
    // A unix socket is a file and an address: Deno asks for both rights.
    net.add(`unix:${address.path}`);
    if (address.path.startsWith("\0")) return;
    read.add(address.path);
    write.add(address.path);
  };
  for (const listener of config.listeners) {
    if (!service.listeners.includes(listener.name)) continue;
    const address = extras.binds[listener.name] ?? listener.address;
    add(address);
    if (address.kind === "unix") add({ ...address, path: unixDraft(address.path) });
  }
  for (const upstream of config.upstreams) {
    for (const { address } of upstream.endpoints) add(address);
    const { discovery } = upstream;
    // What will be found is not known yet: the operator says what it may be, or it may be anything.
    if (discovery !== null && discovery.allow === null) anywhere = true;
    for (const allowed of discovery?.allow ?? []) net.add(allowed);
    // Binding the near end of a connection is listening, as far as rights go.
    const { localAddress, proxy } = upstream.options;
    if (proxy !== null) add(proxy.address);
    if (localAddress !== null) net.add(hostPort(localAddress, 0));
  }
  for (const path of extras.sockets) add({ kind: "unix", path });
  for (const reached of extras.reach.net) net.add(reached);
  for (const file of extras.reach.read) read.add(file);
  for (const peer of config.server.allowedPeers) net.add(peer);
  if (config.log.file !== null) {
    read.add(config.log.file);
    write.add(config.log.file);
  }
  const { output } = config.accessLog;
  if (typeof output === "object") {
    read.add(output.file);
    write.add(output.file);
  }
  const together = (kind: "net" | "read" | "write" | "env" | "sys", own: Iterable<string> = []) => {
    const asked = extras.inline.map(({ rights }) => rights[kind]);
    if (asked.includes(true)) return true;
    return [...own, ...asked.flatMap((list) => list === true ? [] : list)];
  };
  return {
    net: anywhere ? true : together("net", net),
    read: together("read", read),
    write: together("write", write),
    env: together("env"),
    sys: together("sys"),
    run: false,
    // Engine epoll is made of calls into libc. The right for these is a right to everything.
    ffi: extras.libc &&
      config.listeners.some(({ name, engine }) =>
        engine === "epoll" && service.listeners.includes(name)
      ),
    import: false,
  };
}

/** Whether a worker with the rights `held` may do all that `needed` says. */
export function covers(held: WorkerPermissions, needed: WorkerPermissions): boolean {
  if (held.ffi !== needed.ffi) return false;
  return (["net", "read", "write", "env", "sys"] as const).every((kind) => {
    const [has, needs] = [held[kind], needed[kind]];
    // Having everything is not a right to go on having it.
    if (typeof has === "boolean" || typeof needs === "boolean") return has === needs;
    return needs.every((one) => has.includes(one));
  });
}

function hostPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
