/**
 * Moves content both ways, whatever HTTP version is on either side. The slower side sets the pace: nothing is
 * read before what was read is written.
 *
 * @module
 */
import { NO_CONTENT } from "../http/session.ts";
import type { Framing, UpstreamSession } from "../http/session.ts";
import { hasNoContent } from "../http/message.ts";
import { ProxyError } from "../base/error.ts";
import type { PhaseEngine } from "./engine.ts";
import type { Exchange } from "./exchange.ts";
import type { BodyFilter, ResponseFilter } from "../modules/module.ts";
import { concerned, type Link } from "./plan.ts";

const NOTHING = new Uint8Array(0);
const STREAM: Framing = { kind: "stream" };

/** The upload of one attempt, which may outlive the response or fail before it. */
export class Upload {
  /** Resolves when nothing more will be written; never rejects. */
  done: Promise<void> = Promise.resolve();
  /** Why writing failed; a response may come all the same. */
  writeError: ProxyError | null = null;
  /** Why reading from the client failed; the attempt is over then. */
  readError: ProxyError | null = null;
  #stopped = false;

  /** Nobody wants the rest: stops at the next piece. */
  stop(): void {
    this.#stopped = true;
  }

  get stopped(): boolean {
    return this.#stopped;
  }
}

/**
 * Writes the request head and begins to send the content.
 *
 * @returns The upload, which runs on while the response is awaited; `null` if all is sent already.
 */
export function startUpload(
  exchange: Exchange,
  upstream: UpstreamSession,
  engine: PhaseEngine,
): Upload | null | Promise<Upload> {
  const { content, plan, downstream } = exchange;
  const filters = concerned(plan.requestBodyFilter, downstream.head);
  if (content.length !== 0) {
    const upload = new Upload();
    const module = exchange.modules === null ? null : exchange.modules.requestBody();
    upstream.writeHead(
      exchange.upstreamRequest(),
      filters === null && module === null && content.length > 0
        ? { kind: "length", length: content.length }
        : { kind: "stream" },
    );
    const sending = sendContent(exchange, upstream, engine, upload, module);
    return watch(exchange, upstream, upload, sending);
  }
  if (filters !== null) return sendMadeContent(exchange, upstream, engine, filters);
  upstream.writeHead(exchange.upstreamRequest(), NO_CONTENT);
  const flushed = upstream.flush();
  return flushed === undefined ? null : watch(exchange, upstream, new Upload(), flushed);
}

/** A request without content whose filters are told of its end, and may give it some. */
async function sendMadeContent(
  exchange: Exchange,
  upstream: UpstreamSession,
  engine: PhaseEngine,
  filters: readonly Link[],
): Promise<Upload> {
  const made = await engine.content(
    filters,
    "requestBodyFilter",
    exchange.uploadHooks,
    NOTHING,
    true,
  );
  upstream.writeHead(
    exchange.upstreamRequest(),
    made.length > 0 ? { kind: "length", length: made.length } : NO_CONTENT,
  );
  return watch(exchange, upstream, new Upload(), finishContent(upstream, made));
}

async function finishContent(upstream: UpstreamSession, bytes: Uint8Array): Promise<void> {
  await (bytes.length > 0 ? upstream.writeBody(bytes, true) : upstream.flush());
}

function watch(
  exchange: Exchange,
  upstream: UpstreamSession,
  upload: Upload,
  work: Promise<void>,
): Upload {
  upload.done = work.catch((caught) => {
    if (upload.stopped) return;
    const error = ProxyError.wrap(caught, "internal_error", "Cannot send the request content");
    if (error.source === "upstream") {
      // An upstream that answers early and closes makes writing fail before its answer is read.
      upload.writeError = error;
      return;
    }
    upload.readError = error;
    exchange.downstream.keepAlive = false;
    upstream.abort(error);
  });
  return upload;
}

async function sendContent(
  exchange: Exchange,
  upstream: UpstreamSession,
  engine: PhaseEngine,
  upload: Upload,
  module: BodyFilter | null,
): Promise<void> {
  const { content, downstream } = exchange;
  const filters = concerned(exchange.plan.requestBodyFilter, downstream.head);
  for (;;) {
    const next = content.read();
    let piece = next instanceof Promise ? await flushed(next, upstream.flush()) : next;
    if (upload.stopped) return;
    const end = content.done;
    exchange.grpc?.touch();
    if (module !== null) piece = module(piece, end);
    if (filters !== null) {
      piece = await engine.content(filters, "requestBodyFilter", exchange.uploadHooks, piece, end);
      if (upload.stopped) return;
    }
    if (end) {
      const { trailers } = downstream;
      if (trailers === null) {
        await upstream.writeBody(piece, true);
      } else {
        if (piece.length > 0) await upstream.writeBody(piece, false);
        await upstream.endBody(trailers);
      }
      return;
    }
    if (piece.length > 0) {
      const written = upstream.writeBody(piece, false);
      if (written !== undefined) await written;
    }
  }
}

/** Waits for a piece, having sent what was gathered before; no promise is left without somebody listening. */
async function flushed(
  piece: Promise<Uint8Array>,
  flush: void | Promise<void>,
): Promise<Uint8Array> {
  return flush === undefined ? await piece : (await Promise.all([piece, flush]))[0];
}

/**
 * Sends the response to the client: head, content, trailers. The head waits for the first piece of content if
 * that is there already, so that a small response is one write.
 *
 * @throws {ProxyError} Source `upstream` or `downstream`: who broke off.
 */
export function sendResponse(
  exchange: Exchange,
  upstream: UpstreamSession,
  engine: PhaseEngine,
): void | Promise<void> {
  const { downstream, plan, skippers } = exchange;
  const response = exchange.response!;
  const upstreamFilters = concerned(plan.upstreamResponseBodyFilter, downstream.head, skippers);
  const filters = concerned(plan.responseBodyFilter, downstream.head, skippers);
  const { modules, grpc } = exchange;
  if (grpc !== null) grpc.note(response.fields);
  const module = modules === null ? null : modules.responseHead(response);
  const filtered = upstreamFilters !== null || filters !== null || module !== null;
  const isEmpty = hasNoContent(downstream.head.method, response.status);
  const next = isEmpty ? NOTHING : upstream.readBody();
  // Nobody reads the rest of a request that is answered already.
  if ((isEmpty || upstream.bodyDone) && !downstream.bodyDone) downstream.keepAlive = false;
  const all = !filtered && !(next instanceof Promise) && upstream.bodyDone &&
    upstream.trailers === null;
  // To HEAD, what a GET would have got, where that is known: filters may make it another length.
  downstream.writeHead(
    response,
    !filtered && upstream.contentLength >= 0
      ? { kind: "length", length: upstream.contentLength }
      : isEmpty || (all && next.length === 0)
      ? NO_CONTENT
      : STREAM,
  );
  if (isEmpty) return downstream.endBody(null);
  if (all) return downstream.writeBody(next, true);
  return relay(exchange, upstream, engine, next, upstreamFilters, filters, module);
}

/** Sends the content piece by piece, with hooks and modules in between where they want it, and the trailers. */
async function relay(
  exchange: Exchange,
  upstream: UpstreamSession,
  engine: PhaseEngine,
  next: Uint8Array | Promise<Uint8Array>,
  upstreamFilters: readonly Link[] | null,
  filters: readonly Link[] | null,
  module: ResponseFilter | null,
): Promise<void> {
  const { downstream } = exchange;
  for (;;) {
    let piece = next instanceof Promise ? await flushed(next, downstream.flush()) : next;
    const end = upstream.bodyDone;
    exchange.grpc?.touch();
    if (upstreamFilters !== null) {
      piece = await engine.content(
        upstreamFilters,
        "upstreamResponseBodyFilter",
        exchange.hooks,
        piece,
        end,
      );
    }
    if (filters !== null) {
      piece = await engine.content(filters, "responseBodyFilter", exchange.hooks, piece, end);
    }
    if (module !== null) piece = module.body(piece, end && upstream.trailers === null);
    if (end) {
      if (upstream.trailers === null) {
        const written = downstream.writeBody(piece, true);
        if (written !== undefined) await written;
      } else {
        if (piece.length > 0) await downstream.writeBody(piece, false);
        await sendTrailers(exchange, upstream, engine, module);
      }
      return;
    }
    if (piece.length > 0) {
      const written = downstream.writeBody(piece, false);
      if (written !== undefined) await written;
    }
    next = upstream.readBody();
  }
}

async function sendTrailers(
  exchange: Exchange,
  upstream: UpstreamSession,
  engine: PhaseEngine,
  module: ResponseFilter | null,
): Promise<void> {
  const { plan, downstream } = exchange;
  const trailers = exchange.trailers = upstream.trailers!;
  if (plan.upstreamResponseTrailerFilter !== null) {
    await engine.chain(
      plan.upstreamResponseTrailerFilter,
      "upstreamResponseTrailerFilter",
      exchange.hooks,
    );
  }
  if (plan.responseTrailerFilter !== null) {
    await engine.chain(plan.responseTrailerFilter, "responseTrailerFilter", exchange.hooks);
  }
  exchange.grpc?.note(trailers);
  const made = module?.trailers?.(trailers) ?? null;
  await (made === null ? downstream.endBody(trailers) : downstream.writeBody(made, true));
}
