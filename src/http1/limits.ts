/**
 * Bounds of HTTP/1 alone, named and defaulted; see `http/limits.ts` for the others.
 *
 * @module
 */

/** Bounds of chunked content, on both sides. */
export interface ChunkLimits {
  /** Chunk-size line with its extensions. */
  readonly lineBytes: number;
  /** Trailer section. */
  readonly trailerBytes: number;
  /** Number of trailer fields. */
  readonly trailerFields: number;
}

export const CHUNK_LIMITS: ChunkLimits = {
  lineBytes: 1024,
  trailerBytes: 8 * 1024,
  trailerFields: 64,
};
