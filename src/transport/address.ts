/**
 * Where something listens or is reached: a TCP host and port, or a unix socket path.
 *
 * @module
 */

/** A TCP address. `host` is a name or an IP literal without brackets. */
export interface TcpAddress {
  readonly kind: "tcp";
  readonly host: string;
  readonly port: number;
}

/** A unix socket; an abstract one starts with `\0`. */
export interface UnixAddress {
  readonly kind: "unix";
  readonly path: string;
}

/** Where a listener listens, or where a peer is reached. */
export type Address = TcpAddress | UnixAddress;

/** Writes an address the way the config spells it: `host:port`, `[v6]:port` or `unix:/path`. */
export function formatAddress(address: Address): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  return address.host.includes(":")
    ? `[${address.host}]:${address.port}`
    : `${address.host}:${address.port}`;
}

/**
 * Reads `host:port`, `[v6]:port`, `:port` (all interfaces) or `unix:/path`.
 *
 * @param defaultPort Used when the text has no port; without it a port is required.
 * @returns The address, or a sentence that says what is wrong with the text.
 */
export function parseAddress(text: string, defaultPort?: number): Address | string {
  if (text.startsWith("unix:")) {
    const path = text.slice(5);
    return path === "" ? "a unix address needs a path: unix:/run/app.sock" : { kind: "unix", path };
  }
  const match = /^(?:\[([0-9A-Fa-f:.%]+)\]|([^:\[\]\s/]*))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) {
    return /^[0-9A-Fa-f:]+$/.test(text)
      ? `an IPv6 address needs brackets: "[${text}]:8080"`
      : `expected host:port, [ipv6]:port or unix:/path`;
  }
  const port = match[3] === undefined ? defaultPort : Number(match[3]);
  if (port === undefined) return "a port is missing: host:port";
  if (port > 65535) return `port ${port} is over 65535`;
  const host = match[1] ?? match[2] ?? "";
  if (host === "" && match[3] === undefined) return "expected host:port, [ipv6]:port or unix:/path";
  return { kind: "tcp", host: host === "" ? "0.0.0.0" : host, port };
}

/** Turns an IPv4 address that a dual-stack socket shows as `::ffff:a.b.c.d` back into `a.b.c.d`. */
export function unmapIpv4(host: string): string {
  return host.startsWith("::ffff:") && host.includes(".") ? host.slice(7) : host;
}
