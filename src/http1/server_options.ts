/**
 * What the HTTP/1 connections of one listener share.
 *
 * @module
 */
import type { DownstreamOptions } from "../http/downstream.ts";
import type { ChunkLimits } from "./limits.ts";

/** Options of all connections of a listener. */
export interface Http1ServerOptions extends DownstreamOptions {
  readonly chunkLimits: ChunkLimits;
}
