/**
 * The live session as hooks see it: views over an exchange, made only when there is a hook to call.
 *
 * @module
 */
import { CONTENT_LENGTH, fieldId, HOST, IS_HOP_BY_HOP } from "../http/field_names.ts";
import { FieldError } from "../http/field_checks.ts";
import type { Fields } from "../http/fields.ts";
import { checkTarget, type RequestHead, type ResponseHead, versionText } from "../http/message.ts";
import { isAuthority, requestUrl } from "../http/authority.ts";
import type { HostSession, Kept, PhaseHandler, Section } from "../plugin/handler.ts";
import { type Mutable, type PhaseName, phaseRow } from "../plugin/phases.ts";
import { makeReply } from "../plugin/reply.ts";
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
} from "../plugin/session.ts";
import type { Peer } from "../connector/peer.ts";
import type { DownstreamSession, UpstreamSession } from "../http/session.ts";

/** What hooks look at and act on: the state of one request. */
export interface HookSource {
  readonly key: number;
  readonly id: string;
  readonly downstream: DownstreamSession;
  readonly upstream: UpstreamSession | null;
  readonly peer: Peer | null;
  readonly scheme: string;
  readonly clientAddress: string;
  readonly routeId: string | null;
  readonly attempt: number;
  readonly elapsed: number;
  readonly signal: AbortSignal;
  readonly response: ResponseHead | null;
  readonly trailers: Fields | null;
  vars: Map<string, Cloneable> | null;
  /** `plugin.phase` of the hook that answered the request. */
  answeredBy: string;
  /** Plugins that do not want to see the content of the response. */
  skippers: Set<PhaseHandler> | null;
  /** The request as it will be sent, made when first asked for. */
  upstreamRequest(): RequestHead;
  readWholeBody(limit?: number): Promise<Uint8Array>;
  outcome(): Outcome;
}

/** Fields that hooks may read and, where the phase allows it, change. */
class HeadersView implements MutableHeaders {
  readonly #fields: () => Fields;
  readonly #guard: (action: string) => void;

  constructor(fields: () => Fields, guard: (action: string) => void) {
    this.#fields = fields;
    this.#guard = guard;
  }

  get(name: string): string | null {
    return this.#fields().get(name);
  }

  getAll(name: string): string[] {
    return this.#fields().getAll(name);
  }

  has(name: string): boolean {
    return this.#fields().has(name);
  }

  set(name: string, value: string): void {
    this.#guard("set a field");
    checkOwnership(name, value);
    this.#fields().set(name, value);
  }

  append(name: string, value: string): void {
    this.#guard("append a field");
    checkOwnership(name, value);
    const fields = this.#fields();
    // Two Host fields are the classic way to have two servers read one request differently.
    if (fieldId(name.toLowerCase()) === HOST) fields.set(name, value);
    else fields.append(name, value);
  }

  delete(name: string): boolean {
    this.#guard("delete a field");
    return this.#fields().delete(name);
  }

  [Symbol.iterator](): Iterator<[string, string]> {
    return this.#fields()[Symbol.iterator]();
  }
}

/** Framing and connection fields are made from what is really sent; a hook that set them could only lie. */
function checkOwnership(name: string, value: string): void {
  const id = fieldId(name.toLowerCase());
  if (id === CONTENT_LENGTH || IS_HOP_BY_HOP[id] === 1) {
    throw new FieldError(`Cannot set field "${name}": Sluice writes it from what is really sent`);
  }
  if (id === HOST && !isAuthority(value)) {
    throw new FieldError(
      `Cannot set field "host": ${JSON.stringify(value)} is not a host and port`,
    );
  }
}

/** A {@linkcode HostSession} over an source. */
export class HookSession implements HostSession {
  /** The request behind it. For the engine; hooks have no type for it. */
  readonly source: HookSource;
  #kept: Kept | null = null;
  #over = false;
  #phase: PhaseName = "earlyRequestFilter";
  #handler: PhaseHandler | null = null;
  #mutates: readonly Mutable[] = [];
  #request: RequestView | null = null;
  #upstreamRequest: UpstreamRequest | null = null;
  #upstreamResponse: ResponseView | null = null;
  #response: ResponseView | null = null;
  #trailers: MutableHeaders | null = null;
  #client: Client | null = null;
  #vars: Vars | null = null;

  constructor(source: HookSource) {
    this.source = source;
  }

  /** Says which call is made with it now. One at a time: what happens side by side has a session each. */
  enter(phase: PhaseName, handler: PhaseHandler): void {
    this.#phase = phase;
    this.#handler = handler;
    this.#mutates = phaseRow(phase).mutates;
  }

  get kept(): Kept | null {
    return this.#kept;
  }

  keep(one: Kept): void {
    if (this.#over) return one.release();
    one.next = this.#kept;
    this.#kept = one;
  }

  /** The request is over: lets go of what others keep of it. */
  release(): void {
    this.#over = true;
    for (let one = this.#kept; one !== null;) {
      const { next } = one;
      one.release();
      one = next;
    }
    this.#kept = null;
  }

  get key(): number {
    return this.source.key;
  }

  get id(): string {
    return this.source.id;
  }

  get request(): RequestView {
    return this.#request ??= new LiveRequest(this.source);
  }

  get client(): Client {
    if (this.#client === null) {
      const { downstream } = this.source;
      const { remote, relay = remote, tls } = downstream.connection;
      this.#client = {
        address: this.source.clientAddress,
        port: remote.kind === "tcp" ? remote.port : 0,
        peer: relay.kind === "tcp" ? relay.host : "",
        tls,
      };
    }
    return this.#client;
  }

  get listener(): string {
    return this.source.downstream.listener;
  }

  get route(): string | null {
    return this.source.routeId;
  }

  get attempt(): number {
    return this.source.attempt;
  }

  get upstream(): UpstreamView | null {
    const { peer, upstream } = this.source;
    if (peer === null) return null;
    return { name: peer.group, address: peer.label, reused: upstream?.reused ?? false };
  }

  get elapsed(): number {
    return this.source.elapsed;
  }

  get vars(): Vars {
    return this.#vars ??= new LiveVars(this.source);
  }

  get signal(): AbortSignal {
    return this.source.signal;
  }

  get upstreamRequest(): UpstreamRequest {
    return this.#upstreamRequest ??= new LiveUpstreamRequest(
      this.source,
      (action) => this.#guard("upstream_request", action),
    );
  }

  get upstreamResponse(): ResponseView {
    return this.#upstreamResponse ??= new LiveResponse(
      this.source,
      (action) => this.#guard("upstream_response", action),
      () => this.#handler!,
    );
  }

  get response(): ResponseView {
    return this.#response ??= new LiveResponse(
      this.source,
      (action) => this.#guard("response", action),
      () => this.#handler!,
    );
  }

  get trailers(): MutableHeaders {
    return this.#trailers ??= new HeadersView(
      () => this.source.trailers ?? missing("trailers", this.#phase),
      (action) => this.#guard("trailers", action),
    );
  }

  get outcome(): Outcome {
    return this.source.outcome();
  }

  respond(
    status: number,
    body?: string | Uint8Array | ProblemBody | null,
    init?: ReplyInit,
  ): Reply {
    return makeReply(status, body, init);
  }

  readBody(limit?: number): Promise<Uint8Array> {
    return this.source.readWholeBody(limit);
  }

  varNames(): Iterable<string> {
    return this.source.vars?.keys() ?? [];
  }

  fields(section: Section): Fields | null {
    const { source } = this;
    switch (section) {
      case "request":
        return source.downstream.head.fields;
      case "upstream_request":
        return source.upstreamRequest().fields;
      case "upstream_response":
      case "response":
        return source.response?.fields ?? null;
      case "trailers":
        return source.trailers;
    }
  }

  #guard(part: Mutable, action: string): void {
    if (!this.#mutates.includes(part)) {
      throw new TypeError(`Cannot ${action} of the ${part.replace("_", " ")} in ${this.#phase}`);
    }
  }
}

class LiveRequest implements RequestView {
  readonly #source: HookSource;
  #headers: HeadersView | null = null;
  #authority: string | null = null;

  constructor(source: HookSource) {
    this.#source = source;
  }

  get method(): string {
    return this.#source.downstream.head.method;
  }

  get url(): string {
    return requestUrl(this.scheme, this.authority, this.target);
  }

  get target(): string {
    return this.#source.downstream.head.target;
  }

  get path(): string {
    return this.#source.downstream.head.path;
  }

  get query(): string {
    return this.#source.downstream.head.query;
  }

  get scheme(): string {
    return this.#source.scheme;
  }

  get authority(): string {
    return this.#authority ??= this.#source.downstream.head.authority;
  }

  get httpVersion(): string {
    return versionText(this.#source.downstream.head.version);
  }

  get headers(): HeadersView {
    return this.#headers ??= new HeadersView(
      () => this.#source.downstream.head.fields,
      (action) => {
        throw new TypeError(
          `Cannot ${action} of the request as it was received: change session.upstreamRequest`,
        );
      },
    );
  }
}

class LiveUpstreamRequest implements UpstreamRequest {
  readonly #source: HookSource;
  readonly #guard: (action: string) => void;
  #headers: HeadersView | null = null;

  constructor(source: HookSource, guard: (action: string) => void) {
    this.#source = source;
    this.#guard = guard;
  }

  get headers(): MutableHeaders {
    return this.#headers ??= new HeadersView(
      () => this.#source.upstreamRequest().fields,
      this.#guard,
    );
  }

  get method(): string {
    return this.#source.upstreamRequest().method;
  }

  set method(method: string) {
    this.#guard("set the method");
    if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(method) || method === "CONNECT") {
      throw new TypeError(`Cannot set the method: ${JSON.stringify(method)} is not one to forward`);
    }
    this.#source.upstreamRequest().method = method;
  }

  get target(): string {
    return this.#source.upstreamRequest().target;
  }

  set target(target: string) {
    this.#guard("set the target");
    checkTarget(target);
    this.#source.upstreamRequest().target = target;
  }
}

class LiveResponse implements ResponseView {
  readonly #source: HookSource;
  readonly #guard: (action: string) => void;
  readonly #handler: () => PhaseHandler;
  #headers: HeadersView | null = null;

  constructor(
    source: HookSource,
    guard: (action: string) => void,
    handler: () => PhaseHandler,
  ) {
    this.#source = source;
    this.#guard = guard;
    this.#handler = handler;
  }

  get headers(): MutableHeaders {
    return this.#headers ??= new HeadersView(() => this.#head().fields, this.#guard);
  }

  get status(): number {
    return this.#head().status;
  }

  set status(status: number) {
    this.#guard("set the status");
    const head = this.#head();
    // Between 1xx, no content and content lies framing, which is settled by what the upstream sent.
    if (
      !Number.isInteger(status) || status < 200 || status > 599 || head.status < 200 ||
      (status === 204 || status === 304) !== (head.status === 204 || head.status === 304) ||
      (status < 300) !== (head.status < 300) && asksForTunnel(this.#source.downstream)
    ) {
      throw new TypeError(`Cannot set the status: ${head.status} cannot become ${status}`);
    }
    head.status = status;
    head.reason = "";
  }

  skipBody(): void {
    this.#guard("skip the content");
    (this.#source.skippers ??= new Set()).add(this.#handler());
  }

  #head() {
    return this.#source.response ?? missing("response", "this phase");
  }
}

/** Whether the client takes any 2xx for a tunnel. */
function asksForTunnel({ head, upgrade }: DownstreamSession): boolean {
  return head.method === "CONNECT" || (upgrade !== "" && head.version >= 20);
}

class LiveVars implements Vars {
  readonly #source: HookSource;

  constructor(source: HookSource) {
    this.#source = source;
  }

  get(name: string): Cloneable {
    return this.#source.vars?.get(name);
  }

  has(name: string): boolean {
    return this.#source.vars?.has(name) ?? false;
  }

  set(name: string, value: Cloneable): void {
    const vars = this.#source.vars ??= new Map();
    if (vars.size >= MAX_VARS && !vars.has(name)) {
      throw new RangeError(`Cannot set var "${name}": a request holds at most ${MAX_VARS}`);
    }
    vars.set(name, value);
  }

  delete(name: string): boolean {
    return this.#source.vars?.delete(name) ?? false;
  }
}

/** Vars of one request; a plugin in a loop must not eat the worker. */
const MAX_VARS = 256;

function missing(part: string, phase: string): never {
  throw new TypeError(`Cannot use the ${part}: there is none in ${phase}`);
}
