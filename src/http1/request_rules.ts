/**
 * What a parsed request head means: who is asked, where the content ends, what the connection is to do.
 *
 * @module
 */
import { ProxyError } from "../base/error.ts";
import { isAuthorityAt, isSameAuthority } from "../http/authority.ts";
import {
  CONTENT_LENGTH,
  EXPECT,
  HOST,
  TE,
  TRANSFER_ENCODING,
  UPGRADE,
} from "../http/field_names.ts";
import { latin1 } from "../http/fields.ts";
import { contentLengthAt, readTransferEncoding } from "../http/framing.ts";
import {
  OPTION_CLOSE,
  OPTION_KEEP_ALIVE,
  OPTION_UPGRADE,
  stripHopByHop,
  TO_STRIP,
} from "../http/hop_by_hop.ts";
import { RequestHead } from "../http/message.ts";
import { upgradeProtocol } from "../http/upgrade.ts";
import { section, takeFields, valueEndOf, valueStartOf } from "./field_section_parser.ts";
import { ASTERISK, QUESTION, SLASH } from "../http/grammar.ts";
import { line } from "./request_head_parser.ts";

/** A request head with what it says of its content and its connection. */
export interface Request {
  readonly head: RequestHead;
  /** Bytes of content, or `-1` if it is chunked. */
  readonly contentLength: number;
  /** Whether the client lets the connection be used again (RFC 9112 §9.3). */
  readonly persistent: boolean;
  /** First protocol of `Upgrade`, lower case, or empty. */
  readonly upgrade: string;
  readonly acceptsTrailers: boolean;
  readonly expectsContinue: boolean;
}

// What needs more than a look at the seen bits.
const SPECIAL = 1 << CONTENT_LENGTH | 1 << TRANSFER_ENCODING | 1 << EXPECT | 1 << TE | 1 << UPGRADE;

/**
 * Makes a request of the head that was parsed last, fields free of hop-by-hop fields and framing.
 *
 * @throws {ProxyError} `invalid_request`, `not_implemented` or `expectation_failed`.
 */
export function readRequest(bytes: Uint8Array): Request {
  const { method, version } = line;
  const { seen, repeated } = section;
  const isConnect = method === "CONNECT";
  // All that can fail comes before the index changes hands, so a refused head costs none.
  const host = readHost(bytes, seen, repeated, version === 11);
  const first = bytes[line.targetStart]!;
  const length = line.targetEnd - line.targetStart;
  let absolute: AbsoluteTarget | null = null;
  if (isConnect) {
    if (!isAuthorityAt(bytes, line.targetStart, line.targetEnd, true)) {
      throw invalid("the target of CONNECT is not host:port");
    }
    const target = latin1(bytes, line.targetStart, line.targetEnd);
    if (host !== null && !isSameAuthority(host.read(), target, "https")) {
      throw invalid("Host contradicts the target");
    }
  } else if (first === ASTERISK && length === 1) {
    if (method !== "OPTIONS") throw invalid(`the target "*" is for OPTIONS only`);
  } else if (first !== SLASH) {
    absolute = readAbsolute(bytes, method);
    if (host !== null && !isSameAuthority(host.read(), absolute.authority, absolute.scheme)) {
      throw invalid("Host contradicts the target");
    }
  }

  let contentLength = 0;
  let expectsContinue = false;
  let upgrade = "";
  let acceptsTrailers = false;
  if ((seen & SPECIAL) !== 0) {
    contentLength = readFraming(bytes, seen, repeated, version === 11);
    if (isConnect && contentLength !== 0) throw invalid("CONNECT has no content");
    if ((seen & 1 << EXPECT) !== 0) {
      const isContinue = (repeated & 1 << EXPECT) === 0 &&
        valueOf(bytes, EXPECT).toLowerCase() === "100-continue";
      if (!isContinue) {
        throw new ProxyError("expectation_failed", "Request head: an expectation nobody can meet");
      }
      // RFC 9110 §10.1.1: an HTTP/1.0 client cannot mean it, and without content there is nothing to wait for.
      expectsContinue = version === 11 && contentLength !== 0;
    }
    if ((seen & 1 << TE) !== 0) acceptsTrailers = listHas(valueOf(bytes, TE), "trailers");
    if ((seen & 1 << UPGRADE) !== 0 && (repeated & 1 << UPGRADE) === 0 && version === 11) {
      upgrade = isConnect ? "" : upgradeProtocol(valueOf(bytes, UPGRADE));
    }
  }

  const fields = takeFields(bytes);
  const options = (seen & TO_STRIP) === 0 ? 0 : stripHopByHop(fields);
  if ((options & OPTION_UPGRADE) === 0) upgrade = "";
  const head = absolute === null
    ? RequestHead.parsed(
      method,
      version,
      fields,
      bytes,
      line.targetStart,
      line.targetEnd,
      isConnect ? latin1(bytes, line.targetStart, line.targetEnd) : null,
    )
    : new RequestHead({
      method,
      version,
      fields,
      target: absolute.target,
      authority: absolute.authority,
    });
  // RFC 9112 §3.2.2: whoever reads the Host field must read what the target says.
  const authority = head.hasOwnAuthority ? head.authority : null;
  if (authority !== null && (host === null || host.read() !== authority)) {
    fields.set("Host", authority);
  }
  return {
    head,
    contentLength,
    persistent: (options & OPTION_CLOSE) === 0 &&
      (version === 11 || (options & OPTION_KEEP_ALIVE) !== 0),
    upgrade,
    acceptsTrailers,
    expectsContinue,
  };
}

interface HostField {
  read(): string;
}

const hostField: HostField & { bytes: Uint8Array; start: number; end: number } = {
  bytes: new Uint8Array(0),
  start: 0,
  end: 0,
  read(): string {
    return latin1(this.bytes, this.start, this.end);
  },
};

/** Checks the Host field (RFC 9112 §3.2). An empty one is let through only where none is needed: HTTP/1.0. */
function readHost(
  bytes: Uint8Array,
  seen: number,
  repeated: number,
  isRequired: boolean,
): HostField | null {
  if ((seen & 1 << HOST) === 0) {
    if (isRequired) throw invalid("Host is missing");
    return null;
  }
  if ((repeated & 1 << HOST) !== 0) throw invalid("Host is given twice");
  const start = valueStartOf(section.first[HOST]!);
  const end = valueEndOf(section.first[HOST]!);
  if (start === end && !isRequired) return null;
  if (!isAuthorityAt(bytes, start, end, false)) throw invalid("Host is not host or host:port");
  hostField.bytes = bytes;
  hostField.start = start;
  hostField.end = end;
  return hostField;
}

interface AbsoluteTarget {
  readonly scheme: "http" | "https";
  readonly authority: string;
  readonly target: string;
}

/** Takes an absolute-form target apart (RFC 9112 §3.2.2). The scheme of the connection stays what counts. */
function readAbsolute(bytes: Uint8Array, method: string): AbsoluteTarget {
  const end = line.targetEnd;
  const text = latin1(bytes, line.targetStart, end);
  const match = /^(https?):\/\//i.exec(text);
  if (match === null) throw invalid("the target is not a path, nor an http or https URI");
  const start = line.targetStart + match[0].length;
  let position = start;
  while (position < end && bytes[position] !== SLASH && bytes[position] !== QUESTION) position++;
  if (!isAuthorityAt(bytes, start, position, false)) {
    throw invalid("the authority of the target is not host or host:port");
  }
  const rest = latin1(bytes, position, end);
  return {
    scheme: match[1]!.length === 4 ? "http" : "https",
    authority: latin1(bytes, start, position),
    // RFC 9112 §3.2.4: the last one to see an empty path of OPTIONS makes it "*".
    target: rest.startsWith("/") ? rest : rest === "" && method === "OPTIONS" ? "*" : `/${rest}`,
  };
}

/** How long the content is (RFC 9112 §6.3), or `-1` if it is chunked. */
function readFraming(
  bytes: Uint8Array,
  seen: number,
  repeated: number,
  mayChunk: boolean,
): number {
  const hasLength = (seen & 1 << CONTENT_LENGTH) !== 0;
  if ((seen & 1 << TRANSFER_ENCODING) !== 0) {
    if (hasLength) throw invalid("both Content-Length and Transfer-Encoding");
    if (!mayChunk) throw invalid("Transfer-Encoding on HTTP/1.0");
    if ((repeated & 1 << TRANSFER_ENCODING) !== 0) throw invalid("Transfer-Encoding twice");
    const encoding = readTransferEncoding(valueOf(bytes, TRANSFER_ENCODING));
    if (encoding === "invalid") throw invalid("Transfer-Encoding does not end in one chunked");
    if (encoding === "unsupported") {
      // RFC 9112 §6.1: a coding that is well-formed but not understood is 501.
      throw new ProxyError("not_implemented", "Request head: a transfer coding besides chunked");
    }
    return -1;
  }
  if (!hasLength) return 0;
  // Two that agree are refused as well: a list of equal numbers is where parsers begin to differ.
  if ((repeated & 1 << CONTENT_LENGTH) !== 0) throw invalid("Content-Length twice");
  const entry = section.first[CONTENT_LENGTH]!;
  const length = contentLengthAt(bytes, valueStartOf(entry), valueEndOf(entry));
  if (length < 0) throw invalid("Content-Length is not a number of bytes");
  return length;
}

function listHas(list: string, token: string): boolean {
  if (list === token) return true;
  return list.split(",").some((part) => part.split(";", 1)[0]!.trim().toLowerCase() === token);
}

function valueOf(bytes: Uint8Array, id: number): string {
  const entry = section.first[id]!;
  return latin1(bytes, valueStartOf(entry), valueEndOf(entry));
}

function invalid(problem: string): ProxyError {
  return new ProxyError("invalid_request", `Request head: ${problem}`);
}
