/**
 * Taking members of upstream groups out, putting them back, and weighing them.
 *
 * @module
 */
import { MAX_WEIGHT } from "../../balancer/member.ts";
import type { MemberSetting } from "../../service/upstream_runtime.ts";
import { type EndpointAnswer, type EndpointRequest, json, problem } from "./http_endpoint.ts";
import { readJson } from "./read_json.ts";
import type { UpstreamView } from "./upstream_view.ts";

/** What has upstreams. */
export interface MemberSubject {
  upstreams(): Promise<UpstreamView[]>;
  /** What is set for a member now. */
  memberSetting(group: string, id: string): MemberSetting;
  /** Sets it, for all service workers and those that begin later. */
  setMember(setting: MemberSetting): void;
}

/**
 * `PATCH /upstreams/NAME/endpoints/ID`: `{"enabled": false}` lets it finish what it has and gives it nothing new;
 * `{"weight": 3}` holds over what config and discovery say, `null` is theirs again.
 */
export async function setMember(
  request: EndpointRequest,
  subject: MemberSubject,
  [group, id]: readonly string[],
): Promise<EndpointAnswer> {
  const upstream = (await subject.upstreams()).find((one) => one.name === group);
  if (upstream === undefined) {
    return problem(404, "no_such_upstream", `There is no upstream ${JSON.stringify(group)}.`);
  }
  const ids = upstream.endpoints.map((one) => one.id);
  if (!ids.includes(id!)) {
    const some = ids.length === 0 ? "It has none." : `There are: ${ids.slice(0, 20).join(", ")}.`;
    return problem(
      404,
      "no_such_endpoint",
      `Upstream ${JSON.stringify(group)} has no endpoint ${JSON.stringify(id)}. ${some}`,
    );
  }
  const change = readChange(request);
  if ("status" in change) return change;
  subject.setMember({ ...subject.memberSetting(group!, id!), ...change });
  const after = (await subject.upstreams()).find((one) => one.name === group);
  return json(after?.endpoints.find((one) => one.id === id) ?? {});
}

function readChange(
  request: EndpointRequest,
): EndpointAnswer | Partial<Pick<MemberSetting, "enabled" | "weight">> {
  const data = readJson(request);
  if (!(data instanceof Map)) return data;
  const change: { enabled?: boolean; weight?: number | null } = {};
  for (const [key, value] of data) {
    if (key === "enabled" && typeof value === "boolean") change.enabled = value;
    else if (key === "weight" && (value === null || isWeight(value))) change.weight = value;
    else return invalid();
  }
  return data.size === 0 ? invalid() : change;
}

function isWeight(value: unknown): value is number {
  return Number.isInteger(value) && value as number >= 0 && value as number <= MAX_WEIGHT;
}

function invalid(): EndpointAnswer {
  return problem(
    422,
    "invalid_change",
    `Send "enabled": true or false, or "weight": a whole number from 0 to ${MAX_WEIGHT}, or null for what the config says.`,
  );
}
