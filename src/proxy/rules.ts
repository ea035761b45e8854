/**
 * Rules of the config: what the core does by itself, without asking a plugin.
 *
 * @module
 */
import { compileMatch } from "../http/matcher.ts";
import { Fields } from "../http/fields.ts";
import type { RequestHead } from "../http/message.ts";
import { makeReply } from "../plugin/reply.ts";
import type { Match } from "../plugin/plugin.ts";
import type { Reply } from "../plugin/session.ts";

/** What a rule is made from. */
export interface RuleParts {
  readonly match: Match;
  /** Fields to set on the request; `null` removes. */
  readonly request: Readonly<Record<string, string | null>>;
  /** Fields to set on the response; `null` removes. */
  readonly response: Readonly<Record<string, string | null>>;
  readonly respond: {
    readonly status: number;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
  } | null;
}

type Edit = readonly [name: string, value: string | null];

/** The answer of a rule: always the same, so its fields are checked and put together once. */
export interface RuleReply extends Reply {
  /** What `headers` says. To be forked for each answer. */
  readonly fields: Fields;
}

/** A rule made ready. */
export interface Rule {
  readonly matches: ((head: RequestHead) => boolean) | null;
  readonly request: readonly Edit[];
  readonly response: readonly Edit[];
  readonly reply: RuleReply | null;
}

/** Makes a rule ready. */
export function compileRule(parts: RuleParts): Rule {
  const { respond } = parts;
  return {
    matches: compileMatch(parts.match),
    request: Object.entries(parts.request),
    response: Object.entries(parts.response),
    reply: respond && ruleReply(
      makeReply(respond.status, respond.body === "" ? null : respond.body, {
        headers: respond.headers,
      }),
    ),
  };
}

function ruleReply(reply: Reply): RuleReply {
  return { ...reply, fields: Fields.from(reply.headers) };
}

/** The answer of the first rule that has one for this request. */
export function replyOfRules(rules: readonly Rule[], head: RequestHead): RuleReply | null {
  for (const rule of rules) {
    if (rule.reply !== null && (rule.matches === null || rule.matches(head))) return rule.reply;
  }
  return null;
}

/** Makes the changes that the rules want on one side. */
export function applyRules(
  rules: readonly Rule[],
  side: "request" | "response",
  head: RequestHead,
  fields: () => Fields,
): void {
  for (const rule of rules) {
    const edits = rule[side];
    if (edits.length === 0 || (rule.matches !== null && !rule.matches(head))) continue;
    for (const [name, value] of edits) {
      if (value === null) fields().delete(name);
      else fields().set(name, value);
    }
  }
}
