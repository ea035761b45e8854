import { definePlugin } from "@sluice/plugin";

/** Tells the upstream, and the client, what was agreed on. */
export default definePlugin({
  version: "1.0.0",
  requestFilter(session) {
    const { tls } = session.client;
    session.upstreamRequest.headers.set("x-client", tls?.certificate?.subject ?? "nobody we know");
  },
  responseFilter(session) {
    const { tls } = session.client;
    session.response.headers.set("x-tls", `${tls?.version}, ${tls?.serverName}`);
  },
});
