/**
 * The kinds of values that stand at the ends of the config tree, as zod schemas.
 *
 * @module
 */
import ipaddr from "ipaddr.js";
import { z } from "zod";
import { type Address, formatAddress, parseAddress } from "../transport/address.ts";
import {
  DURATION_PATTERN,
  parseDuration,
  parsePercent,
  parseSize,
  PERCENT_PATTERN,
  SIZE_PATTERN,
} from "./units.ts";

/** What an issue of a leaf carries besides its message. */
export interface LeafParams {
  /** What was expected, in words: `a duration such as 10s`. */
  readonly expects: string;
  /** What is wrong with this value; may quote it. */
  readonly why: string;
  /** Whether the value is of another kind altogether, so that another branch of a union may fit. */
  readonly kind: boolean;
  /** What to do. */
  readonly remedy: string;
}

/** A value that {@linkcode leaf} refuses. */
export class Refusal {
  readonly why: string;
  readonly remedy: string;
  readonly kind: boolean;

  constructor(why: string, remedy: string = "", kind: boolean = false) {
    this.why = why;
    this.remedy = remedy;
    this.kind = kind;
  }
}

/**
 * Makes a schema from a function that reads one value.
 *
 * @param expects What is expected, in words.
 * @param json The same as JSON Schema.
 */
export function leaf<T>(
  expects: string,
  json: Readonly<Record<string, unknown>>,
  read: (value: unknown) => T | Refusal,
) {
  return z.unknown().transform((value, context): T => {
    const result = read(value);
    if (!(result instanceof Refusal)) return result;
    const params: LeafParams = {
      expects,
      why: result.why,
      kind: result.kind,
      remedy: result.remedy,
    };
    context.issues.push({
      code: "custom",
      input: value,
      message: expects,
      params: params as unknown as Record<string, unknown>,
    });
    return z.NEVER;
  }).meta(json);
}

const OTHER_KIND = new Refusal("", "", true);

// A reference may stand wherever text does, so the patterns of the schema must let it pass.
const orReference = (pattern: string): string => `${pattern}|\\$\\{`;

/** A time, as milliseconds. */
export function duration(least: number = 0) {
  return leaf(
    "a duration such as 10s, 250ms or 5m",
    { type: "string", pattern: orReference(DURATION_PATTERN) },
    (value) => {
      if (value === 0) return least === 0 ? 0 : new Refusal("it must not be 0");
      if (typeof value === "number") {
        return new Refusal("the unit is missing", `write ${value}s or ${value}ms`);
      }
      if (typeof value !== "string") return OTHER_KIND;
      const ms = parseDuration(value);
      if (typeof ms === "string") return new Refusal(ms);
      return ms < least ? new Refusal(`it must be ${least}ms or more`) : ms;
    },
  );
}

/** A size, as bytes. */
export function size(least: number = 0, most: number = Number.MAX_SAFE_INTEGER) {
  return leaf(
    "a size such as 64KiB, 1MB or 512",
    {
      anyOf: [
        { type: "string", pattern: orReference(SIZE_PATTERN) },
        { type: "integer", minimum: 0 },
      ],
    },
    (value) => {
      if (typeof value !== "string" && typeof value !== "number") return OTHER_KIND;
      const bytes = parseSize(String(value));
      if (typeof bytes === "string") return new Refusal(bytes);
      if (bytes < least) return new Refusal(`it must be ${least} bytes or more`);
      return bytes > most ? new Refusal(`it must be ${most} bytes or less`) : bytes;
    },
  );
}

/** A percentage, as a share from 0 to 1. */
export function percent(most: number = 1) {
  return leaf(
    "a percentage such as 20%",
    { type: "string", pattern: orReference(PERCENT_PATTERN) },
    (value) => {
      if (typeof value === "number") {
        const meant = value > 0 && value < 1 ? Math.round(value * 10_000) / 100 : value;
        return new Refusal("the percent sign is missing", `write ${meant}%`);
      }
      if (typeof value !== "string") return OTHER_KIND;
      const share = parsePercent(value);
      if (typeof share === "string") return new Refusal(share);
      return share > most ? new Refusal(`at most ${most * 100}%`) : share;
    },
  );
}

/** A whole number. */
export function integer(least: number, most: number = 2 ** 31 - 1) {
  const range = most === 2 ** 31 - 1 ? `${least} or more` : `from ${least} to ${most}`;
  return leaf(
    `a whole number, ${range}`,
    { type: ["integer", "string"], minimum: least, maximum: most, pattern: "\\$\\{" },
    (given) => {
      // A reference gives text, and has to be quoted inside { }.
      const value = typeof given === "string" && /^\d{1,15}$/.test(given) ? Number(given) : given;
      if (typeof value !== "number") return OTHER_KIND;
      if (!Number.isInteger(value)) return new Refusal("it is not a whole number");
      return value < least || value > most ? new Refusal("it is out of range") : value;
    },
  );
}

/** A number with a fraction. */
export function decimal(least: number, most: number) {
  return leaf(
    `a number from ${least} to ${most}`,
    { type: ["number", "string"], minimum: least, maximum: most, pattern: "\\$\\{" },
    (given) => {
      const value = typeof given === "string" && /^\d{1,9}(\.\d{1,6})?$/.test(given)
        ? Number(given)
        : given;
      if (typeof value !== "number" || Number.isNaN(value)) return OTHER_KIND;
      return value < least || value > most ? new Refusal("it is out of range") : value;
    },
  );
}

/** Text. */
export function text(expects: string = "text") {
  return leaf(expects, { type: "string" }, (value) => {
    if (typeof value === "string") {
      return value === "" ? new Refusal("it is empty") : value;
    }
    if (typeof value === "number" || typeof value === "boolean") {
      return new Refusal("it is not text", `quote it: "${value}"`);
    }
    return OTHER_KIND;
  });
}

/** Text that may be empty, and may span lines. */
export function anyText() {
  return leaf("text", { type: "string" }, (value) => {
    if (typeof value === "string") return value;
    if (typeof value === "number" || typeof value === "boolean") {
      return new Refusal("it is not text", `quote it: "${value}"`);
    }
    return OTHER_KIND;
  });
}

/** `true` or `false`. */
export function yesNo() {
  return leaf("true or false", { type: ["boolean", "string"], pattern: "\\$\\{" }, (value) => {
    if (typeof value === "boolean") return value;
    if (value === "true" || value === "false") return value === "true";
    if (value === "yes" || value === "on") return new Refusal("", "write true");
    if (value === "no" || value === "off") return new Refusal("", "write false");
    return OTHER_KIND;
  });
}

/** What a listener, a service, an upstream, a route or a plugin may be called. */
export function name() {
  return leaf(
    "a name of letters, digits, dashes, dots and underscores",
    { type: "string", pattern: orReference("^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$") },
    (value) => {
      if (typeof value === "number" || typeof value === "boolean") {
        return new Refusal("it is not text", `quote it: "${value}"`);
      }
      if (typeof value !== "string") return OTHER_KIND;
      if (value.length > 64) return new Refusal("it is longer than 64 characters");
      return /^[A-Za-z0-9][A-Za-z0-9._:-]*$/.test(value) ? value : new Refusal("");
    },
  );
}

const ADDRESS = "host:port, [ipv6]:port, :port or unix:/path";

/** Where to listen. */
export function address() {
  return leaf<Address>(ADDRESS, { type: "string" }, (value) => {
    if (typeof value === "number") {
      return new Refusal("it is only a port", `write "127.0.0.1:${value}" or ":${value}"`);
    }
    if (Array.isArray(value)) {
      return new Refusal(
        "brackets without quotes are a list in YAML",
        'quote it: "[::]:8080"',
      );
    }
    if (typeof value !== "string") return OTHER_KIND;
    const url = /^[a-z]+:\/\//i.exec(value);
    if (url !== null) return new Refusal(`it begins with ${url[0]}`, "leave the scheme out");
    const parsed = parseAddress(value);
    if (typeof parsed === "string") return new Refusal(parsed);
    return checkHost(parsed) ?? parsed;
  });
}

/** Where an upstream is: what {@linkcode endpoint} reads. */
export interface EndpointAddress {
  readonly address: Address;
  /** `true`: `https://`, `false`: `http://`, `null`: not said. */
  readonly tls: boolean | null;
}

/** Where an upstream is. */
export function endpoint() {
  return leaf<EndpointAddress>(
    "host:port, http://host, https://host or unix:/path",
    { type: "string" },
    (value) => {
      if (typeof value === "number") {
        return new Refusal("it is only a port", `write "127.0.0.1:${value}"`);
      }
      if (Array.isArray(value)) {
        return new Refusal(
          "brackets without quotes are a list in YAML",
          'quote it: "[::1]:8080"',
        );
      }
      if (typeof value !== "string") return OTHER_KIND;
      return parseEndpoint(value);
    },
  );
}

/** Reads `host:port`, `http://host`, `https://host:port` or `unix:/path`. */
export function parseEndpoint(text: string): EndpointAddress | Refusal {
  const url = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/(.*)$/.exec(text);
  let rest = text;
  let tls: boolean | null = null;
  if (url !== null) {
    const scheme = url[1]!.toLowerCase();
    if (scheme !== "http" && scheme !== "https") {
      return new Refusal(`the scheme ${JSON.stringify(scheme)} is not known`, "use http or https");
    }
    tls = scheme === "https";
    rest = url[2]!.replace(/\/$/, "");
    if (/[/?#]/.test(rest)) {
      return new Refusal("it has a path", "leave the path out: the request brings its own");
    }
    if (rest.includes("@")) {
      return new Refusal("it has a user name or password", "set the authorization field by a rule");
    }
  }
  const parsed = parseAddress(rest, tls === null ? undefined : tls ? 443 : 80);
  if (typeof parsed === "string") return new Refusal(parsed);
  if (parsed.kind === "tcp") {
    if (rest.startsWith(":")) return new Refusal("the host is missing");
    if (parsed.port === 0) return new Refusal("port 0 cannot be connected to");
  }
  return checkHost(parsed) ?? { address: parsed, tls };
}

function checkHost(address: Address): Refusal | null {
  if (address.kind === "unix") return null;
  const { host } = address;
  if (host.includes(":")) {
    return ipaddr.IPv6.isValid(host) ? null : new Refusal("it is not an IPv6 address");
  }
  if (/^[\d.]+$/.test(host)) {
    return ipaddr.IPv4.isValidFourPartDecimal(host)
      ? null
      : new Refusal("it is not an IPv4 address of four numbers");
  }
  const label = /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;
  return host.length <= 253 && host.replace(/\.$/, "").split(".").every((part) => label.test(part))
    ? null
    : new Refusal(`${JSON.stringify(formatAddress(address))} has no valid host name`);
}

/** An IP address. */
export function ip() {
  return leaf("an IP address", { type: "string" }, (value) => {
    if (typeof value !== "string") return OTHER_KIND;
    return ipaddr.IPv4.isValidFourPartDecimal(value) || ipaddr.IPv6.isValid(value)
      ? value
      : new Refusal("");
  });
}

/** A network. */
export function cidr() {
  return leaf("a network such as 10.0.0.0/8, or an IP address", { type: "string" }, (value) => {
    if (typeof value !== "string") return OTHER_KIND;
    const [base, bits, more] = value.split("/");
    const v4 = ipaddr.IPv4.isValidFourPartDecimal(base!);
    if (more !== undefined || (!v4 && !ipaddr.IPv6.isValid(base!))) return new Refusal("");
    if (bits === undefined) return `${base}/${v4 ? 32 : 128}`;
    if (!/^\d{1,3}$/.test(bits) || Number(bits) > (v4 ? 32 : 128)) {
      return new Refusal(`the prefix length must be 0 to ${v4 ? 32 : 128}`);
    }
    return value;
  });
}

const NET_RIGHT =
  /^(\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:.]+|(\*\.)?[A-Za-z0-9._-]+)(:\d{1,5}|\/\d{1,3})?$/;

/** Whether a text is an address, or several, as Deno's net rights spell them. */
export function isNetRight(text: string): boolean {
  return NET_RIGHT.test(text);
}

/** Addresses that may be connected to. */
export function netRight() {
  return leaf("host:port, host, *.domain or a network", { type: "string" }, (value) => {
    if (typeof value !== "string") return OTHER_KIND;
    return isNetRight(value) ? value : new Refusal("");
  });
}
