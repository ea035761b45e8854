/**
 * Writes `phases.md` from the table of phases.
 *
 * ```sh
 * deno run -A docs/generate_phases.ts
 * ```
 *
 * @module
 */
import { formattedPage } from "./format_page.ts";
import { type CombineKind, PHASE_NAMES, type PhaseName, phaseRow } from "../src/plugin/phases.ts";

/** What each way of acting together means. */
const KINDS: Record<CombineKind, string> = {
  gate: "In order. The first that answers ends the phase, and the request.",
  first: "In order. The first that returns a value decides; the others are not asked.",
  chain: "In order. Each sees and edits what the former left.",
  observe: "All are told. The client never waits for them.",
};

/** Where an error of a hook leads. */
const ERRORS = {
  failToProxy: "the request fails: `failToProxy`",
  errorWhileProxy: "the attempt fails: `errorWhileProxy`",
  logged: "it is logged, and the request goes on",
  closed: "the connection is closed",
} as const;

/** A request that reaches an upstream and comes back. */
const DIAGRAM = `
connection accepted ── connectionFilter ── false: closed
TLS handshake ──────── certificate, for a name that the listener has none for
   │
   │  (again for each request on the connection: onConnectionReuse)
   ▼
request head read
   │
earlyRequestFilter ───────────────── reply ─────────────────────────────┐
allowSpawningSubrequest                                                 │
rules of the route ───────────────── respond ───────────────────────────┤
requestFilter ────────────────────── reply ─────────────────────────────┤
proxyUpstreamFilter ──────────────── reply ─────────────────────────────┤
   │                                                                    │
   ▼  for each attempt  ◄────────────────────────────────────────┐      │
upstreamPeer                                                     │      │
   │                                                             │      │
   ├── no connection ──► failToConnect ──────── retry ───────────┤      │
   │                          └── no retry ──► failToProxy ──────┼──────┤
   ▼                                                             │      │
connectedToUpstream                                              │      │
upstreamRequestFilter                                            │      │
   │                                                             │      │
   ├── any failure ────► errorWhileProxy ────── retry ───────────┘      │
   │                          └── no retry ──► failToProxy ─────────────┤
   ▼                                                                    │
requestBodyFilter*  ║  upstreamResponseFilter (1xx heads, too)          │
                    ║  responseFilter                                   │
                    ║  upstreamResponseBodyFilter* ► responseBodyFilter*│
                    ║  upstreamResponseTrailerFilter                    │
                    ║  responseTrailerFilter                            │
   │                                                                    │
   ▼                                                                    │
the client has its answer ◄─────────────────────────────────────────────┘
   │
logging ── exactly once
persistConnectionContext ── when the connection serves another request
`;

/** The page, before it is formatted. */
export function phasesPage(): string {
  const called = PHASE_NAMES.filter((name) => phaseRow(name).cache !== true);
  const waiting = PHASE_NAMES.filter((name) => phaseRow(name).cache === true);
  return `<!-- Made by docs/generate_phases.ts from src/plugin/phases.ts. Do not edit. -->

# Phases

A plugin has hooks, each named after the phase in which it is called. The phases are those of Pingora's
\`ProxyHttp\`, in camelCase. All hooks and their types are in \`src/plugin/plugin.ts\`; how to write a plugin is
told in [plugins.md](plugins.md).

## The order of a request

\`\`\`text
${DIAGRAM.trim()}
\`\`\`

\`*\`: once for each piece of content, and once with the end. \`║\`: both directions run at the same time. When an
attempt fails after the head of the response has gone to the client, \`errorWhileProxy\` is told, and then the
response is cut off: \`failToProxy\` has nothing left to answer. Besides, \`suppressErrorLog\` and
\`requestSummary\` are asked when a failure is logged. Outside of any request, \`upstreamHealth\` tells of members of upstreams that became
usable or unusable, and \`tick\` is called every \`tickInterval\`.

## How hooks of several plugins act together

${Object.entries(KINDS).map(([kind, text]) => `- \`${kind}\`: ${text}`).join("\n")}

Plugins that the config does not name come first, in the order of their names, then those of the service, then
those of the route, in the order of the file. A hook is only called for requests that its \`match\` and the \`when\`
of its use are for.

## When a hook fails

A hook fails when it throws, when its deadline passes, or when its sandbox is not there. With
\`fail_open\`, the phase goes on as if the hook had returned nothing. With \`fail_closed\`, the default, what the
column "on error" says happens.

## The table

${table(called)}

## Not called yet

These phases belong to the HTTP cache, which this version does not have. Hooks for them are accepted and never
called.

${table(waiting)}
`;
}

function table(names: readonly PhaseName[]): string {
  const head = [
    "phase",
    "kind",
    "when",
    "returns",
    "may change",
    "deadline",
    "on error",
    "Pingora's name",
  ];
  const rows = names.map((name) => {
    const row = phaseRow(name);
    return [
      `\`${name}\``,
      row.kind,
      row.when,
      row.returns,
      row.mutates.length === 0 ? "nothing" : row.mutates.map(words).join(", "),
      row.timeout % 1000 === 0 ? `${row.timeout / 1000}s` : `${row.timeout}ms`,
      ERRORS[row.onError],
      `\`${row.pingora}\``,
    ];
  });
  const lines = [head, head.map(() => "---"), ...rows];
  return lines.map((cells) => `| ${cells.map(cell).join(" | ")} |`).join("\n");
}

function words(part: string): string {
  return part.replaceAll("_", " ");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\\\|");
}

/** The page as it stands in `phases.md`. */
export function formattedPhasesPage(): Promise<string> {
  return formattedPage(phasesPage());
}

if (import.meta.main) {
  await Deno.writeTextFile(new URL("phases.md", import.meta.url), await formattedPhasesPage());
}
