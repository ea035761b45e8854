/**
 * A connection of a client in the books of its service.
 *
 * @module
 */
import type { Roster, RosterMember } from "../base/roster.ts";
import type { DownstreamConnection } from "../http/downstream.ts";
import type { CodecEvents } from "./choose_codec.ts";
import type { ListenerCounts, ProtocolCounts } from "./connection_counts.ts";

/** Stands in a roster from when it is made until it is closed. */
export class OpenConnection implements CodecEvents, RosterMember {
  rosterPlace = -1;
  /** Set right after. */
  connection!: DownstreamConnection;
  readonly #roster: Roster<OpenConnection>;
  readonly #listener: ListenerCounts;
  readonly #onGone: () => void;
  #counts: ProtocolCounts | null = null;

  /**
   * @param roster Where it stands.
   * @param listener Counts it.
   * @param onGone Called when it is closed. One for all.
   */
  constructor(roster: Roster<OpenConnection>, listener: ListenerCounts, onGone: () => void) {
    this.#roster = roster;
    this.#listener = listener;
    this.#onGone = onGone;
  }

  onProtocol(protocol: "h1" | "h2"): void {
    this.#counts = this.#listener.protocol(protocol);
    this.#counts.opened++;
    this.#counts.open++;
  }

  onClosed(): void {
    if (this.#counts !== null) this.#counts.open--;
    this.#roster.delete(this);
    this.#onGone();
  }
}
