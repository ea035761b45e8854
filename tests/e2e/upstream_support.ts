/**
 * Members of upstream groups whose answers tests change while they run.
 *
 * @module
 */
import { text } from "../support/http_text.ts";
import { response } from "../support/raw_origin.ts";
import { get, type RawClient } from "../support/raw_client.ts";
import { type SimpleOrigin, startSimpleOrigin } from "../support/simple_origin.ts";

/** What a member does with a request. All of it may be changed at any time. */
export interface Behaviour {
  /** Status of its answers. Default 200. */
  status: number;
  /** Milliseconds before it answers. Default 0. */
  delay: number;
  /** What it waits for before it begins with its delay. Default: nothing. */
  gate: Promise<unknown> | null;
  /** Whether it closes the connection in place of an answer. Default `false`. */
  drop: boolean;
  /** Status of `/healthz`. Default 200. */
  health: number;
}

/** An origin that answers with its name. */
export interface Member extends SimpleOrigin {
  readonly name: string;
  readonly does: Behaviour;
  /** How many requests it has had, checks left out. */
  readonly served: number;
}

/** Starts a member that says `name` to whatever it is asked. */
export async function startMember(
  name: string,
  behaviour: Partial<Behaviour> = {},
): Promise<Member> {
  const does: Behaviour = {
    status: 200,
    delay: 0,
    gate: null,
    drop: false,
    health: 200,
    ...behaviour,
  };
  let served = 0;
  const origin = await startSimpleOrigin({
    async handler(request) {
      if (request.target === "/healthz") return response("", {}, `${does.health} Health`);
      served++;
      const { delay, gate, drop, status } = does;
      await gate;
      if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
      return drop ? null : response(request.method === "HEAD" ? "" : name, {}, `${status} Said`);
    },
  });
  return Object.defineProperties({ ...origin, name, does } as Member, {
    served: { get: () => served },
    [Symbol.asyncDispose]: { value: () => origin[Symbol.asyncDispose]() },
  });
}

/** Starts several members. */
export async function startMembers<const Names extends readonly string[]>(
  stack: AsyncDisposableStack,
  ...names: Names
): Promise<{ [Key in keyof Names]: Member }> {
  const members: Member[] = [];
  for (const name of names) members.push(stack.use(await startMember(name)));
  return members as { [Key in keyof Names]: Member };
}

/** Asks `count` times and counts who answered; another status than 200 counts as that status. */
export async function tally(
  client: RawClient,
  count: number,
  fields: Readonly<Record<string, string>> = {},
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < count; i++) {
    const answer = await client.request(get("/", fields));
    const who = answer.status === 200 ? text(answer) : String(answer.status);
    counts[who] = (counts[who] ?? 0) + 1;
  }
  return counts;
}
