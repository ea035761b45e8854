/**
 * What a side says first (RFC 9113 §3.4): a client its preface, both their settings.
 *
 * @module
 */
import * as c from "./constants.ts";
import type { FrameOutput } from "./frame_output.ts";
import { writeSettings, writeWindowUpdate } from "./frame_writer.ts";
import type { Http2Limits } from "./limits.ts";

/**
 * Gathers it.
 *
 * @param server Whether we are the server.
 * @param window By how much the window of the connection is larger than at first.
 */
export function writeOpening(
  output: FrameOutput,
  server: boolean,
  limits: Http2Limits,
  window: number,
): void {
  output.reserve(c.PREFACE.length + 128);
  if (!server) {
    output.bytes.set(c.PREFACE, output.length);
    output.length += c.PREFACE.length;
  }
  // deno-fmt-ignore
  const settings = [
    c.SETTINGS_HEADER_TABLE_SIZE, limits.headerTableBytes,
    c.SETTINGS_INITIAL_WINDOW_SIZE, limits.streamWindow,
    c.SETTINGS_MAX_FRAME_SIZE, limits.frameBytes,
    c.SETTINGS_MAX_HEADER_LIST_SIZE, limits.headerListBytes,
  ];
  if (server) {
    settings.push(c.SETTINGS_MAX_CONCURRENT_STREAMS, limits.maxConcurrentStreams);
    settings.push(c.SETTINGS_ENABLE_CONNECT_PROTOCOL, 1, c.SETTINGS_NO_RFC7540_PRIORITIES, 1);
  } else settings.push(c.SETTINGS_ENABLE_PUSH, 0);
  output.length = writeSettings(output.bytes, output.length, settings);
  if (window > 0) output.length = writeWindowUpdate(output.bytes, output.length, 0, window);
  output.schedule();
}
