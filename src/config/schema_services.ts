/**
 * The schema of `services`: routes, rules and the use of plugins.
 *
 * @module
 */
import { z } from "zod";
import { anyText, integer, name, size, text, yesNo } from "./leaves.ts";
import {
  hedgeSchema,
  mirrorSchema,
  retrySchema,
  splitBySchema,
  splitSchema,
  timeoutsSchema,
} from "./schema_attempts.ts";
import {
  fieldValues,
  mapping,
  matchSchema,
  optional,
  required,
  withDefault,
} from "./schema_base.ts";

const fieldNames = () => z.array(text("a field name"));

const changes = () =>
  mapping({
    set: withDefault(fieldValues(), {}, "Fields to give this value, in place of those there are."),
    remove: withDefault(fieldNames(), [], "Names of fields to remove."),
  });

const respond = () =>
  mapping({
    status: required(integer(200, 599), "Status of the answer."),
    headers: withDefault(fieldValues(), {}, "Fields of the answer."),
    body: withDefault(anyText(), "", "Content of the answer, sent as it stands."),
  });

const rule = () =>
  mapping({
    match: withDefault(matchSchema(), {}, "Which requests of the route; default: all."),
    request: withDefault(changes(), {}, "Changes to the request on its way to the upstream."),
    response: withDefault(changes(), {}, "Changes to the response on its way to the client."),
    respond: optional(respond(), "Answer the request, and ask no upstream."),
  });

/** Plugins in the order of their calls. */
export const usesSchema = () =>
  z.array(z.union([
    name(),
    mapping({
      use: required(name(), "Name of the plugin."),
      with: optional(
        z.unknown(),
        "Its config, checked by the schema of the plugin.",
      ),
      when: optional(matchSchema(), "Which requests of the route; default: all."),
    }),
  ]));

const route = () =>
  mapping({
    id: optional(name(), "Name in logs. Default: `<service>/<position>`."),
    match: withDefault(matchSchema(), {}, "Which requests; default: all."),
    plugins: withDefault(
      usesSchema(),
      [],
      "Plugins after those of the service: names, or mappings with `use`, `with` and `when`.",
    ),
    rules: withDefault(
      z.array(rule()),
      [],
      "Changes and answers that need no plugin, applied in order.",
    ),
    upstream: optional(
      name(),
      "Name of the upstream. Without one, a plugin or a rule must answer.",
    ),
    split: optional(
      z.array(splitSchema()).min(1),
      "Upstreams that share the requests by weight, in place of `upstream`.",
    ),
    split_by: optional(
      splitBySchema(),
      "What keeps a client with its part of the split. Default: each request is drawn.",
    ),
    mirror: withDefault(
      z.array(mirrorSchema()),
      [],
      "Upstreams that get copies of the requests. They never delay the client.",
    ),
    grpc_web: withDefault(
      yesNo(),
      false,
      "Let clients that speak gRPC-web, such as browsers, call the gRPC upstream of the route.",
    ),
    timeouts: withDefault(timeoutsSchema(), {}, "Times over those of the upstream."),
    limits: withDefault(
      mapping({
        body_bytes: optional(
          size(),
          "Most request content, over the limit of the listener; `0`: no limit.",
        ),
      }),
      {},
      "Limits of this route.",
    ),
    retry: withDefault(retrySchema(), {}, "Further attempts when an upstream fails."),
    hedge: optional(
      hedgeSchema(),
      "Ask another endpoint when the first is slow. For GET and HEAD without content. Default: no.",
    ),
  });

/** Listeners and what becomes of their requests. */
export const serviceSchema = () =>
  mapping({
    name: required(name(), "Name in logs."),
    threads: optional(
      z.union([z.literal("auto"), integer(1, 256)]),
      "Service workers of this service. Default: `server.threads`.",
    ),
    listeners: optional(
      z.array(text("the name of a listener")).min(1),
      "Names of listeners. Default, when there is one service: all of them.",
    ),
    plugins: withDefault(
      usesSchema(),
      [],
      "Plugins for every route, before those of the route.",
    ),
    routes: required(
      z.array(route()).min(1),
      "Where requests go. The first route that matches is taken.",
    ),
  });
