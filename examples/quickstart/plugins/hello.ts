/** Answers `/hello` itself, and marks every other request and response. */
import { definePlugin } from "@sluice/plugin";
import { z } from "zod";

export default definePlugin({
  name: "hello",
  version: "1.0.0",
  config: z.strictObject({ greeting: z.string().default("Hello") }),

  requestFilter(session, { config }) {
    if (session.request.path === "/hello") {
      return session.respond(200, `${config.greeting} from a plugin.\n`);
    }
    session.upstreamRequest.headers.set("x-greeting", config.greeting);
  },

  responseFilter(session) {
    session.response.headers.set("x-served-by", session.upstream?.name ?? "nobody");
  },
});
