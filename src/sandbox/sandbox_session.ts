/**
 * The session as a hook in a sandbox sees it: a snapshot to read, and a list of effects to write to.
 *
 * @module
 */
import { systemClock } from "../base/clock.ts";
import { requestUrl } from "../http/authority.ts";
import { checkTarget } from "../http/message.ts";
import type { PhaseName } from "../plugin/phases.ts";
import { makeReply } from "../plugin/reply.ts";
import type {
  Client,
  Cloneable,
  ConnectionView,
  Failure,
  FailureView,
  FinishedSession,
  MutableHeaders,
  Outcome,
  ProblemBody,
  Reply,
  ReplyInit,
  RequestSession,
  RequestView,
  ResponseSession,
  ResponseView,
  TrailerSession,
  UpstreamRequest,
  UpstreamResponseSession,
  UpstreamView,
  Vars,
} from "../plugin/session.ts";
import type { EffectList } from "./effects.ts";
import { checkMethod, checkStatus } from "./field_rules.ts";
import {
  MAX_NAME,
  MAX_VALUE_BYTES,
  METHOD,
  type PhaseShape,
  RESPONSE,
  RETRY,
  SKIP_BODY,
  STATUS,
  TARGET,
  TRAILERS,
  UPSTREAM_REQUEST,
  UPSTREAM_RESPONSE,
  VAR_DELETE,
  VAR_SET,
} from "./protocol.ts";
import { SandboxHeaders } from "./sandbox_headers.ts";
import * as at from "./snapshot.ts";
import type { RequestSnapshot, Snapshot } from "./snapshot.ts";
import { copyValue } from "./values.ts";

/** Has the content of a request. */
export interface ContentSource {
  readBody(limit?: number): Promise<Uint8Array>;
}

/** Any of the session types, over a snapshot. A part that the phase has not throws when it is touched. */
export class SandboxSession
  implements
    RequestSession,
    UpstreamResponseSession,
    ResponseSession,
    TrailerSession,
    FinishedSession {
  readonly #shape: PhaseShape;
  readonly #snapshot: Snapshot;
  readonly #effects: EffectList;
  readonly #content: ContentSource;
  readonly #born = systemClock.now();
  #request: SnapshotRequest | null = null;
  #client: Client | null = null;
  #vars: Vars | null = null;
  #section: SnapshotUpstreamRequest | SnapshotResponse | SandboxHeaders | null = null;

  constructor(
    shape: PhaseShape,
    snapshot: Snapshot,
    effects: EffectList,
    content: ContentSource,
  ) {
    this.#shape = shape;
    this.#snapshot = snapshot;
    this.#effects = effects;
    this.#content = content;
  }

  get id(): string {
    return this.#snapshot.request.text(at.ID);
  }

  get request(): RequestView {
    return this.#request ??= new SnapshotRequest(this.#snapshot.request);
  }

  get client(): Client {
    if (this.#client === null) {
      const { port, tls } = this.#snapshot.request;
      this.#client = {
        address: this.#snapshot.request.text(at.CLIENT_ADDRESS),
        port,
        peer: this.#snapshot.request.text(at.CLIENT_PEER),
        tls,
      };
    }
    return this.#client;
  }

  get listener(): string {
    return this.#snapshot.request.text(at.LISTENER);
  }

  get route(): string | null {
    return this.#snapshot.request.route;
  }

  get attempt(): number {
    return this.#snapshot.attempt;
  }

  get upstream(): UpstreamView | null {
    const snapshot = this.#snapshot;
    if (!snapshot.hasUpstream) return null;
    return {
      name: snapshot.textOrNull(at.UPSTREAM_NAME),
      address: snapshot.text(at.UPSTREAM_ADDRESS),
      reused: snapshot.reused,
    };
  }

  get elapsed(): number {
    return this.#snapshot.elapsed + performance.now() - this.#born;
  }

  get vars(): Vars {
    return this.#vars ??= new SnapshotVars(this.#snapshot.vars, this.#effects);
  }

  get upstreamRequest(): UpstreamRequest {
    this.#need(UPSTREAM_REQUEST, "upstream request");
    return (this.#section ??= new SnapshotUpstreamRequest(
      this.#snapshot,
      this.#shape.mutable ? this.#effects : null,
      this.#shape.phase,
    )) as UpstreamRequest;
  }

  get upstreamResponse(): ResponseView {
    this.#need(UPSTREAM_RESPONSE, "upstream response");
    return this.#responseView();
  }

  get response(): ResponseView {
    this.#need(RESPONSE, "response");
    return this.#responseView();
  }

  get trailers(): MutableHeaders {
    this.#need(TRAILERS, "trailers");
    return (this.#section ??= new SandboxHeaders(
      this.#snapshot.lines,
      TRAILERS,
      this.#shape.mutable ? this.#effects : null,
      `of the trailers in ${this.#shape.phase}`,
    )) as MutableHeaders;
  }

  get outcome(): Outcome {
    const outcome = this.#snapshot.outcome as
      | [number, number, number, number, number, unknown[] | null]
      | null;
    if (outcome === null) missing("outcome", this.#shape.phase);
    return {
      status: outcome[0],
      bytesReceived: outcome[1],
      bytesSent: outcome[2],
      attempts: outcome[3],
      duration: outcome[4],
      error: outcome[5] === null ? null : readFailure(outcome[5]),
    };
  }

  respond(
    status: number,
    body?: string | Uint8Array | ProblemBody | null,
    init?: ReplyInit,
  ): Reply {
    return makeReply(status, body, init);
  }

  readBody(limit?: number): Promise<Uint8Array> {
    if (!this.#shape.body) missing("content of the request", this.#shape.phase);
    return this.#content.readBody(limit);
  }

  /** The hook has ended: gives back what can be used again. */
  release(): void {
    this.#request?.release();
    const section = this.#section;
    if (section instanceof SandboxHeaders) section.release();
    else section?.headers.release();
  }

  #responseView(): ResponseView {
    return (this.#section ??= new SnapshotResponse(
      this.#snapshot,
      this.#shape,
      this.#shape.mutable ? this.#effects : null,
    )) as ResponseView;
  }

  #need(section: number, name: string): void {
    if (this.#shape.section !== section) missing(name, this.#shape.phase);
  }
}

function missing(part: string, phase: PhaseName): never {
  throw new TypeError(`Cannot use the ${part}: there is none in ${phase}`);
}

class SnapshotRequest implements RequestView {
  readonly #snapshot: RequestSnapshot;
  #headers: SandboxHeaders | null = null;

  constructor(snapshot: RequestSnapshot) {
    this.#snapshot = snapshot;
  }

  get method(): string {
    return this.#snapshot.text(at.REQUEST_METHOD);
  }

  get url(): string {
    return requestUrl(this.scheme, this.authority, this.target);
  }

  get target(): string {
    return this.#snapshot.text(at.REQUEST_TARGET);
  }

  get path(): string {
    const { target } = this;
    const mark = target.indexOf("?");
    return mark < 0 ? target : target.slice(0, mark);
  }

  get query(): string {
    const { target } = this;
    const mark = target.indexOf("?");
    return mark < 0 ? "" : target.slice(mark + 1);
  }

  get scheme(): string {
    return this.#snapshot.text(at.SCHEME);
  }

  get authority(): string {
    return this.#snapshot.text(at.AUTHORITY);
  }

  get httpVersion(): string {
    return this.#snapshot.text(at.VERSION);
  }

  release(): void {
    this.#headers?.release();
  }

  get headers(): SandboxHeaders {
    return this.#headers ??= new SandboxHeaders(
      this.#snapshot.lines,
      0,
      null,
      "of the request as it was received: change session.upstreamRequest",
    );
  }
}

class SnapshotUpstreamRequest implements UpstreamRequest {
  readonly headers: SandboxHeaders;
  readonly #effects: EffectList | null;
  readonly #refusal: string;
  readonly #snapshot: Snapshot;
  // Read when somebody asks: most hooks do not.
  #method: string | null = null;
  #target: string | null = null;

  constructor(snapshot: Snapshot, effects: EffectList | null, phase: PhaseName) {
    this.#snapshot = snapshot;
    this.#effects = effects;
    this.#refusal = `of the upstream request in ${phase}`;
    this.headers = new SandboxHeaders(
      snapshot.lines,
      UPSTREAM_REQUEST,
      effects,
      this.#refusal,
    );
  }

  get method(): string {
    return this.#method ??= this.#snapshot.text(at.SECTION_METHOD);
  }

  set method(method: string) {
    const effects = this.#change("set the method");
    checkMethod(method);
    effects.push(METHOD, method, undefined, undefined);
    this.#method = method;
  }

  get target(): string {
    return this.#target ??= this.#snapshot.text(at.SECTION_TARGET);
  }

  set target(target: string) {
    const effects = this.#change("set the target");
    checkTarget(target);
    effects.push(TARGET, target, undefined, undefined);
    this.#target = target;
  }

  #change(action: string): EffectList {
    if (this.#effects === null) throw new TypeError(`Cannot ${action} ${this.#refusal}`);
    return this.#effects;
  }
}

class SnapshotResponse implements ResponseView {
  readonly headers: SandboxHeaders;
  readonly #effects: EffectList | null;
  readonly #phase: PhaseName;
  #status: number;

  constructor(snapshot: Snapshot, shape: PhaseShape, effects: EffectList | null) {
    this.#status = snapshot.status;
    this.#effects = effects;
    this.#phase = shape.phase;
    this.headers = new SandboxHeaders(
      snapshot.lines,
      shape.section,
      effects,
      `of the ${shape.section === RESPONSE ? "response" : "upstream response"} in ${shape.phase}`,
    );
  }

  get status(): number {
    return this.#status;
  }

  set status(status: number) {
    if (this.#effects === null) {
      throw new TypeError(`Cannot set the status of the response in ${this.#phase}`);
    }
    checkStatus(this.#status, status);
    this.#effects.push(STATUS, status, undefined, undefined);
    this.#status = status;
  }

  skipBody(): void {
    if (this.#effects === null) {
      throw new TypeError(`Cannot skip the content of the response in ${this.#phase}`);
    }
    this.#effects.push(SKIP_BODY, undefined, undefined, undefined);
  }
}

class SnapshotVars implements Vars {
  readonly #values = new Map<string, Cloneable>();
  readonly #effects: EffectList;

  constructor(list: readonly unknown[] | null, effects: EffectList) {
    this.#effects = effects;
    if (list === null) return;
    for (let i = 0; i < list.length; i += 2) {
      this.#values.set(list[i] as string, list[i + 1] as Cloneable);
    }
  }

  get(name: string): Cloneable {
    return this.#values.get(name);
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  set(name: string, value: Cloneable): void {
    if (typeof name !== "string" || name.length > MAX_NAME) {
      throw new TypeError(
        `Cannot set a var: its name must be a text of at most ${MAX_NAME} characters`,
      );
    }
    const copy = copyValue(value, MAX_VALUE_BYTES, `Cannot set var "${name}": the value`);
    this.#effects.push(VAR_SET, name, copy, undefined);
    this.#values.set(name, copy);
  }

  delete(name: string): boolean {
    if (!this.#values.delete(name)) return false;
    this.#effects.push(VAR_DELETE, name, undefined, undefined);
    return true;
  }
}

/** The connection that `connectionFilter` gets. */
export function readConnection(snapshot: readonly unknown[]): ConnectionView {
  return {
    address: snapshot[0] as string,
    port: snapshot[1] as number,
    listener: snapshot[2] as string,
  };
}

function readFailure(wire: readonly unknown[]): FailureView {
  const [type, source, message, status] = wire as [
    FailureView["type"],
    FailureView["source"],
    string,
    number,
  ];
  return { type, source, message, status };
}

/** The failure that a hook gets; `retry` is there and can be set only where the phase decides on it. */
export function readFailureArgument(
  wire: unknown,
  shape: PhaseShape,
  effects: EffectList,
): FailureView | Failure | null {
  if (!Array.isArray(wire)) return null;
  const view = readFailure(wire);
  if (!shape.retry) return view;
  let retry = wire[4] === true;
  return Object.defineProperty(view, "retry", {
    enumerable: true,
    get: () => retry,
    set: (value: unknown) => {
      retry = value === true;
      effects.push(RETRY, retry, undefined, undefined);
    },
  }) as Failure;
}
