/**
 * Lists of endpoints as files, answers and plugins write them; strict, because half a list is worse than none.
 *
 * @module
 */
import { isIP } from "node:net";
import { type ErrorType, ProxyError } from "../../base/error.ts";
import { type Address, formatAddress, parseAddress } from "../../transport/address.ts";
import type { Endpoint } from "../backend.ts";
import { MOST_ENDPOINTS } from "./discovery.ts";

/** Who wrote a list. */
export interface ListSource {
  /** What is read, for messages: `File "/etc/x.yaml"`. */
  readonly context: string;
  /** The error of a list that is refused. */
  readonly errorType: ErrorType;
  /** Whether it may name unix sockets. Those are this machine's own, so nobody from outside may. */
  readonly unix: boolean;
}

const MOST_LABELS = 32;
const LABEL_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9_.\/-]{0,61}[A-Za-z0-9])?$/;
const MOST_LABEL_CHARACTERS = 256;
const MOST_WEIGHT = 65_535;
const HOST_LABEL = /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;
const KEYS = ["address", "weight", "priority", "labels"];

/**
 * Reads a list: entries, or a mapping whose `endpoints` are entries. An entry is an address, or a mapping of
 * `address`, `weight` (default 1), `priority` (default 0) and `labels`.
 *
 * @returns The endpoints in order; see {@linkcode arrange}.
 * @throws {ProxyError} `errorType`, naming the entry that is wrong.
 */
export function parseEndpoints(value: unknown, source: ListSource): Endpoint[] {
  const refuse = (why: string): never => {
    throw new ProxyError(source.errorType, `${source.context}: ${why}`, { source: "internal" });
  };
  let list = value;
  if (isMapping(value)) {
    const other = Object.keys(value).find((key) => key !== "endpoints");
    if (other !== undefined) refuse(`there is no key ${quote(other)} beside \`endpoints\``);
    list = value["endpoints"];
  }
  if (!Array.isArray(list)) {
    return refuse("expected a list of endpoints, or a mapping with `endpoints`");
  }
  if (list.length > MOST_ENDPOINTS) {
    refuse(`${list.length} endpoints, at most ${MOST_ENDPOINTS} are taken`);
  }
  const seen = new Map<string, number>();
  const endpoints: Endpoint[] = [];
  for (let i = 0; i < list.length; i++) {
    const read = readEntry(list[i], source.unix);
    if (typeof read === "string") return refuse(`entry ${i + 1}: ${read}`);
    const id = formatAddress(read.address);
    const before = seen.get(id);
    if (before !== undefined) refuse(`entry ${i + 1}: ${id} is entry ${before + 1} already`);
    seen.set(id, i);
    endpoints.push(read);
  }
  return arrange(endpoints);
}

/** Orders endpoints by priority, then address, so that equal sets are equal lists. In place. */
export function arrange(endpoints: Endpoint[]): Endpoint[] {
  const ids = new Map(endpoints.map((one) => [one, formatAddress(one.address)]));
  return endpoints.sort((a, b) => {
    if (a.priority !== b.priority) return a.priority - b.priority;
    const [x, y] = [ids.get(a)!, ids.get(b)!];
    return x < y ? -1 : x > y ? 1 : 0;
  });
}

/** Whether two lists, both in order, are the same. */
export function sameEndpoints(a: readonly Endpoint[], b: readonly Endpoint[]): boolean {
  return a.length === b.length && a.every((one, i) => sameEndpoint(one, b[i]!));
}

function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  if (a.weight !== b.weight || a.priority !== b.priority) return false;
  if (formatAddress(a.address) !== formatAddress(b.address)) return false;
  const names = Object.keys(a.labels);
  return names.length === Object.keys(b.labels).length &&
    names.every((name) => Object.hasOwn(b.labels, name) && a.labels[name] === b.labels[name]);
}

/** An endpoint, or what is wrong with the entry. */
function readEntry(entry: unknown, unix: boolean): Endpoint | string {
  if (typeof entry === "string") {
    const address = readAddress(entry, unix);
    return typeof address === "string" ? address : { address, weight: 1, priority: 0, labels: {} };
  }
  if (!isMapping(entry)) return `expected an address or a mapping, found ${kindOf(entry)}`;
  const other = Object.keys(entry).find((key) => !KEYS.includes(key));
  if (other !== undefined) return `there is no key ${quote(other)}; known: ${KEYS.join(", ")}`;
  const text = entry["address"];
  if (typeof text !== "string") return `\`address\` must be text, found ${kindOf(text)}`;
  const address = readAddress(text, unix);
  if (typeof address === "string") return address;
  const id = formatAddress(address);
  const { weight = 1, priority = 0, labels = {} } = entry;
  if (!isWhole(weight)) return `${id}: \`weight\` must be 0 to ${MOST_WEIGHT}`;
  if (!isWhole(priority)) return `${id}: \`priority\` must be 0 to ${MOST_WEIGHT}`;
  const read = readLabels(labels);
  return typeof read === "string" ? `${id}: ${read}` : { address, weight, priority, labels: read };
}

function readAddress(text: string, unix: boolean): Address | string {
  if (/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(text)) {
    return `${
      quote(text)
    } has a scheme; write host:port, the transport of the upstream says the rest`;
  }
  const address = parseAddress(text);
  if (typeof address === "string") return `${quote(text)}: ${address}`;
  if (address.kind === "unix") {
    return unix ? address : `${quote(text)}: this source may not name unix sockets`;
  }
  if (text.startsWith(":")) return `${quote(text)}: the host is missing`;
  if (address.port === 0) return `${quote(text)}: port 0 cannot be connected to`;
  return isHost(address.host) ? address : `${quote(text)} has no valid host`;
}

/** Whether a text is a host name or an IP address. */
export function isHost(host: string): boolean {
  if (isIP(host) !== 0) return true;
  // What looks like a broken IP address is not a name: resolvers read it in ways of their own.
  if (host === "" || host.length > 253 || /^[\d.]+$/.test(host)) return false;
  return host.replace(/\.$/, "").split(".").every((label) => HOST_LABEL.test(label));
}

function readLabels(value: unknown): Record<string, string> | string {
  if (!isMapping(value)) return `\`labels\` must be a mapping, found ${kindOf(value)}`;
  const names = Object.keys(value).sort();
  if (names.length > MOST_LABELS) return `more than ${MOST_LABELS} labels`;
  const pairs: [string, string][] = [];
  for (const name of names) {
    const text = value[name];
    if (!LABEL_NAME.test(name)) return `the label ${quote(name)} has a bad name`;
    if (typeof text !== "string") return `the label ${quote(name)} must be text; quote it`;
    if (text.length > MOST_LABEL_CHARACTERS) {
      return `the label ${quote(name)} has more than ${MOST_LABEL_CHARACTERS} characters`;
    }
    pairs.push([name, text]);
  }
  return Object.fromEntries(pairs);
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isWhole(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MOST_WEIGHT;
}

function kindOf(value: unknown): string {
  return value === undefined
    ? "nothing"
    : value === null
    ? "null"
    : Array.isArray(value)
    ? "a list"
    : typeof value === "object"
    ? "a mapping"
    : `a ${typeof value}`;
}

/** Text from outside, for a message: short, and without what could break a line. */
function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);
}
