/** Asks the first upstream, and the second if the first cannot be connected to. */
import { definePlugin } from "@sluice/plugin";

export default definePlugin({
  name: "failover",
  version: "1.0.0",

  // Called once for each attempt.
  upstreamPeer(session) {
    return session.attempt === 1 ? "first" : "second";
  },

  // Called when the peer could not be connected to; nothing was sent to it.
  failToConnect(session, _ctx, failure) {
    if (session.attempt === 1) failure.retry = true;
  },

  responseFilter(session) {
    session.response.headers.set("x-served-by", session.upstream?.name ?? "nobody");
    session.response.headers.set("x-attempts", String(session.attempt));
  },
});
