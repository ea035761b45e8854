/**
 * A live session made of plain values, for tests of what calls hooks.
 *
 * @module
 */
import { Fields } from "../../src/http/fields.ts";
import { checkTarget } from "../../src/http/message.ts";
import type { HostSession, Kept, Section } from "../../src/plugin/handler.ts";
import { makeReply } from "../../src/plugin/reply.ts";
import type {
  Client,
  Cloneable,
  MutableHeaders,
  Outcome,
  ProblemBody,
  Reply,
  ReplyInit,
  RequestView,
  ResponseView,
  UpstreamRequest,
  UpstreamView,
  Vars,
} from "../../src/plugin/session.ts";

/** What a {@linkcode FakeSession} is made from. */
export interface FakeSessionParts {
  readonly method?: string;
  readonly target?: string;
  readonly authority?: string;
  readonly headers?: readonly (readonly [string, string])[];
  readonly status?: number;
  readonly responseHeaders?: readonly (readonly [string, string])[];
  readonly trailers?: readonly (readonly [string, string])[];
  readonly body?: Uint8Array | Promise<Uint8Array>;
  readonly vars?: Readonly<Record<string, Cloneable>>;
  readonly client?: Partial<Client>;
  readonly route?: string | null;
  readonly attempt?: number;
  readonly upstream?: UpstreamView | null;
  readonly outcome?: Partial<Outcome>;
  readonly signal?: AbortSignal;
}

let keys = 0;

/** A {@linkcode HostSession} whose state can be looked at. */
export class FakeSession implements HostSession {
  readonly key = keys++;
  readonly id = "0123456789abcdef";
  readonly listener = "web";
  readonly route: string | null;
  readonly attempt: number;
  kept: Kept | null = null;
  readonly upstream: UpstreamView | null;
  readonly elapsed = 1.5;
  readonly client: Client;
  readonly request: RequestView;
  readonly upstreamRequest: UpstreamRequest;
  readonly response: ResponseView;
  readonly upstreamResponse: ResponseView;
  readonly trailers: MutableHeaders;
  readonly outcome: Outcome;
  readonly signal: AbortSignal;
  readonly vars: Vars;
  readonly values: Map<string, Cloneable>;
  /** The limits that `readBody` was called with. */
  readonly bodyLimits: (number | undefined)[] = [];
  readonly #sections: Record<Section, Fields>;
  readonly #body: Uint8Array | Promise<Uint8Array>;

  /** How often a hook did not want to see the content. */
  skipped = 0;

  constructor(parts: FakeSessionParts = {}) {
    const headers = parts.headers ?? [["Host", "example.com"], ["User-Agent", "test"]];
    const target = parts.target ?? "/a/b?c=d";
    const authority = parts.authority ?? "example.com";
    const mark = target.indexOf("?");
    this.#sections = {
      request: Fields.from(headers),
      upstream_request: Fields.from(headers),
      upstream_response: Fields.from(parts.responseHeaders ?? [["Content-Type", "text/plain"]]),
      response: Fields.from(parts.responseHeaders ?? [["Content-Type", "text/plain"]]),
      trailers: Fields.from(parts.trailers ?? [["X-Checksum", "1"]]),
    };
    this.request = {
      method: parts.method ?? "GET",
      url: `http://${authority}${target}`,
      target,
      path: mark < 0 ? target : target.slice(0, mark),
      query: mark < 0 ? "" : target.slice(mark + 1),
      scheme: "http",
      authority,
      httpVersion: "1.1",
      headers: this.#sections.request,
    };
    this.upstreamRequest = new FakeUpstreamRequest(
      this.request.method,
      target,
      this.#sections.upstream_request,
    );
    const skipBody = () => void this.skipped++;
    this.upstreamResponse = {
      status: parts.status ?? 200,
      headers: this.#sections.upstream_response,
      skipBody,
    };
    this.response = { status: parts.status ?? 200, headers: this.#sections.response, skipBody };
    this.trailers = this.#sections.trailers;
    this.route = parts.route === undefined ? "main" : parts.route;
    this.attempt = parts.attempt ?? 0;
    this.upstream = parts.upstream ?? null;
    this.client = {
      address: "192.0.2.1",
      port: 4711,
      peer: "192.0.2.1",
      tls: null,
      ...parts.client,
    };
    this.outcome = {
      status: 200,
      bytesReceived: 10,
      bytesSent: 20,
      attempts: 1,
      duration: 3.5,
      error: null,
      ...parts.outcome,
    };
    this.signal = parts.signal ?? new AbortController().signal;
    this.values = new Map(Object.entries(parts.vars ?? {}));
    this.vars = this.values as unknown as Vars;
    this.#body = parts.body ?? new Uint8Array(0);
  }

  fields(section: Section): Fields {
    return this.#sections[section];
  }

  varNames(): Iterable<string> {
    return this.values.keys();
  }

  respond(
    status: number,
    body?: string | Uint8Array | ProblemBody | null,
    init?: ReplyInit,
  ): Reply {
    return makeReply(status, body, init);
  }

  async readBody(limit?: number): Promise<Uint8Array> {
    this.bodyLimits.push(limit);
    const body = await this.#body;
    if (limit !== undefined && body.length > limit) {
      throw new RangeError(`Cannot read the content: it is longer than ${limit} bytes`);
    }
    return body;
  }

  keep(one: Kept): void {
    one.next = this.kept;
    this.kept = one;
  }

  /** The request is over, as far as those are concerned who keep something of it. */
  release(): void {
    for (let one = this.kept; one !== null;) {
      const { next } = one;
      one.release();
      one = next;
    }
    this.kept = null;
  }

  /** All that a hook could have changed, for comparisons. */
  state(): unknown {
    return {
      upstreamRequest: [
        this.upstreamRequest.method,
        this.upstreamRequest.target,
        this.fields("upstream_request").toBlock(),
      ],
      upstreamResponse: [this.upstreamResponse.status, this.fields("upstream_response").toBlock()],
      response: [this.response.status, this.fields("response").toBlock()],
      trailers: this.fields("trailers").toBlock(),
      vars: [...this.values],
    };
  }
}

class FakeUpstreamRequest implements UpstreamRequest {
  method: string;
  readonly headers: MutableHeaders;
  #target: string;

  constructor(method: string, target: string, headers: MutableHeaders) {
    this.method = method;
    this.#target = target;
    this.headers = headers;
  }

  get target(): string {
    return this.#target;
  }

  set target(target: string) {
    checkTarget(target);
    this.#target = target;
  }
}
