/**
 * What operators have set for members of upstream groups, for as long as the program runs: it outlives the member's
 * absence from its group, and the service workers.
 *
 * @module
 */
import type { MemberSetting } from "../../service/upstream_runtime.ts";

/** Settings kept; beyond it the oldest is forgotten. */
const MOST_SETTINGS = 4_096;

/** Settings by group and member. */
export class MemberSettings {
  readonly #all = new Map<string, MemberSetting>();

  /** Those that differ from what the config says. */
  get all(): readonly MemberSetting[] {
    return [...this.#all.values()];
  }

  /** What is set for a member now. */
  get(group: string, id: string): MemberSetting {
    return this.#all.get(key(group, id)) ??
      { kind: "member_setting", group, id, enabled: true, weight: null };
  }

  set(setting: MemberSetting): void {
    const { group, id, enabled, weight } = setting;
    this.#all.delete(key(group, id));
    if (enabled && weight === null) return;
    this.#all.set(key(group, id), setting);
    if (this.#all.size > MOST_SETTINGS) this.#all.delete(this.#all.keys().next().value!);
  }
}

function key(group: string, id: string): string {
  return `${group}\n${id}`;
}
