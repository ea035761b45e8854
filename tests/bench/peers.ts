/**
 * The proxies that are compared, each configured for the same work.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { childrenOf, familyOf } from "./cpu_time.ts";

/** Files of a certificate. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  /** One after the other. */
  readonly both: string;
}

/** What a proxy is to do. */
export interface Job {
  /** Where the origin listens, for HTTP/1. */
  readonly origin: number;
  /** Where it listens for HTTP/2 without TLS, if that is to be spoken with it; whoever cannot speaks HTTP/1. */
  readonly h2cOrigin: number | null;
  readonly port: number;
  /** A folder of its own. */
  readonly folder: string;
  /** What clients speak. */
  readonly front: "h1" | "h2c" | "tls" | "h2";
  readonly certificate: Certificate;
  /** `forward` to the origin; `answer` by itself; or forward and run code that reads one field, and sets one both ways. */
  readonly work: "forward" | "answer" | "inline" | "worker" | "process" | "five";
  readonly accessLog: boolean;
  readonly workers: number;
}

/** How a proxy is started. */
export interface Peer {
  readonly name: string;
  /** Program, and the Debian package that it comes in. */
  readonly needs: readonly (readonly [program: string, debianPackage: string])[];
  /** Command and arguments, or `null` if it cannot do the job. Writes what files it needs. */
  readonly command: (job: Job) => Promise<readonly string[] | null>;
  /** The processes that do the work, given the one that was started. */
  readonly workers: (pid: number) => readonly number[];
  /** Whether its answers say that code has run, where a scenario has some. Default `false`. */
  readonly hooks?: boolean;
  /** Whether its code is compiled while it runs, so that it is at its best only after a while. Default `false`. */
  readonly compiles?: boolean;
}

/** Whether code of the operator's runs in each request and in each response. */
export function runsCode(work: Job["work"]): boolean {
  return work !== "forward" && work !== "answer";
}

/** How often it does. */
function timesOf(work: Job["work"]): number {
  return work === "five" ? 5 : 1;
}

const LUA_MODULES = "/usr/lib/nginx/modules";
const SELF = (pid: number) => [pid];

/** Configures an nginx; also used for the origin. */
export function nginxConfig(folder: string, workers: number, body: string, top = ""): string {
  return `${top}
worker_processes ${workers}; daemon off; pid ${folder}/pid; error_log ${folder}/error.log;
worker_rlimit_nofile 20000;
events { worker_connections 16384; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 0;
  http2_max_requests 1000000000;
  client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p; fastcgi_temp_path ${folder}/f;
  uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s; default_type text/plain;
  ${body}
}`;
}

function nginx(name: string, lua: boolean): Peer {
  return {
    name,
    needs: lua
      ? [["nginx", "nginx-light"], [
        `${LUA_MODULES}/ngx_http_lua_module.so`,
        "libnginx-mod-http-lua",
      ]]
      : [["nginx", "nginx-light"]],
    async command({ origin, port, folder, front, certificate, work, accessLog, workers }) {
      // Without Lua it does nothing of its own: what hooks cost is told by the others' distance from it.
      if (lua && !runsCode(work)) return null;
      const secure = front === "tls" || front === "h2";
      const listen = `listen 127.0.0.1:${port}${secure ? " ssl" : ""}${
        front === "h2" || front === "h2c" ? " http2" : ""
      };`;
      const tls = secure
        ? `ssl_certificate ${certificate.cert}; ssl_certificate_key ${certificate.key}; ssl_session_cache off; ssl_protocols TLSv1.2 TLSv1.3;`
        : "";
      const times = timesOf(work);
      const code = `
        access_by_lua_block { ${
        'if ngx.req.get_headers()["user-agent"] then ngx.req.set_header("x-hook", "1") end '
          .repeat(times)
      }}
        header_filter_by_lua_block { ${'ngx.header["x-hooked"] = "1" '.repeat(times)}}`;
      const location = work === "answer" ? `return 200 "${"x".repeat(115)}";` : `
        proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
        proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
        ${lua ? code : ""}`;
      const log = accessLog
        ? `log_format long '$remote_addr $time_iso8601 "$request" $status $body_bytes_sent $request_time "$http_user_agent" $upstream_addr $upstream_response_time'; access_log ${folder}/access.log long buffer=64k flush=1s;`
        : "";
      const modules = lua
        ? `load_module ${LUA_MODULES}/ndk_http_module.so; load_module ${LUA_MODULES}/ngx_http_lua_module.so;`
        : "";
      await Deno.writeTextFile(
        `${folder}/nginx.conf`,
        nginxConfig(
          folder,
          workers,
          `${log}
          upstream origin { server 127.0.0.1:${origin}; keepalive 256; keepalive_requests 1000000000; }
          server { ${listen} ${tls} location / { ${location} } }`,
          modules,
        ),
      );
      return ["nginx", "-c", `${folder}/nginx.conf`, "-p", folder];
    },
    workers: childrenOf,
    hooks: lua,
  };
}

function haproxy(name: string, lua: boolean): Peer {
  return {
    name,
    needs: [["haproxy", "haproxy"]],
    async command(
      { origin, h2cOrigin, port, folder, front, certificate, work, accessLog, workers },
    ) {
      if (lua !== runsCode(work) || accessLog) return null;
      const bind = `bind 127.0.0.1:${port}${
        front === "h2c" ? " proto h2" : front === "h1" ? "" : ` ssl crt ${certificate.both}`
      }${front === "h2" ? " alpn h2" : front === "tls" ? " alpn http/1.1" : ""}`;
      await Deno.writeTextFile(
        `${folder}/hooks.lua`,
        `core.register_action("hook", { "http-req" }, function(txn)
           local fields = txn.http:req_get_headers()
           if fields["user-agent"] then txn.http:req_set_header("x-hook", "1") end
         end)
         core.register_action("hooked", { "http-res" }, function(txn)
           txn.http:res_set_header("x-hooked", "1")
         end)\n`,
      );
      await Deno.writeTextFile(
        `${folder}/haproxy.cfg`,
        `global
  nbthread ${workers}
  maxconn 8500
  ${lua ? `lua-load ${folder}/hooks.lua` : ""}
defaults
  mode http
  timeout client 600s
  timeout server 600s
  timeout connect 5s
frontend in
  ${bind}
  option forwardfor
  ${
          work === "answer"
            ? `http-request return status 200 content-type text/plain string ${"x".repeat(115)}`
            : ""
        }
  ${lua ? "http-request lua.hook\n  http-response lua.hooked\n  ".repeat(timesOf(work)) : ""}
  default_backend origin
backend origin
  http-reuse always
  server one 127.0.0.1:${h2cOrigin ?? origin} pool-max-conn 256${
          h2cOrigin === null ? "" : " proto h2"
        }\n`,
      );
      return ["haproxy", "-db", "-f", `${folder}/haproxy.cfg`];
    },
    workers: SELF,
    hooks: lua,
  };
}

const caddy: Peer = {
  name: "caddy",
  needs: [["caddy", "caddy"]],
  async command({ origin, h2cOrigin, port, folder, front, certificate, work, accessLog, workers }) {
    if (accessLog || h2cOrigin !== null || (work !== "forward" && work !== "answer")) return null;
    const secure = front === "tls" || front === "h2";
    await Deno.writeTextFile(
      `${folder}/Caddyfile`,
      `{
  admin off
  auto_https off
  servers {
    protocols ${front === "h2c" ? "h1 h2c" : front === "h2" ? "h1 h2" : "h1"}
  }
}
${secure ? "https" : "http"}://127.0.0.1:${port} {
  bind 127.0.0.1
  ${secure ? `tls ${certificate.cert} ${certificate.key}` : ""}
  ${
        work === "answer"
          ? `respond "${"x".repeat(115)}" 200`
          : `reverse_proxy 127.0.0.1:${origin} {\n    transport http {\n      keepalive_idle_conns_per_host 256\n    }\n  }`
      }
}\n`,
    );
    return [
      "env",
      `GOMAXPROCS=${workers}`,
      `HOME=${folder}`,
      "caddy",
      "run",
      "--config",
      `${folder}/Caddyfile`,
      "--adapter",
      "caddyfile",
    ];
  },
  workers: SELF,
};

/** Code that does what the Lua of the others does. */
const PLUGIN = `
import { definePlugin } from "@sluice/plugin";
export default definePlugin({
  name: "NAME",
  version: "1.0.0",
  upstreamRequestFilter(session) {
    if (session.request.headers.has("user-agent")) session.upstreamRequest.headers.set("x-hook", "1");
  },
  responseFilter(session) {
    session.response.headers.set("x-hooked", "1");
  },
});
`;

function sluice(name: string, engine: string | null): Peer {
  return {
    name,
    needs: [],
    async command(
      { origin, h2cOrigin, port, folder, front, certificate, work, accessLog, workers },
    ) {
      const secure = front === "tls" || front === "h2";
      if (engine !== null && secure) return null;
      const isolation = work === "five" ? "worker" : work;
      const names = work === "forward" || work === "answer"
        ? []
        : Array.from({ length: timesOf(work) }, (_, i) => `hook${i}`);
      await Deno.mkdir(`${folder}/plugins`, { recursive: true });
      for (const one of names) {
        await Deno.writeTextFile(`${folder}/plugins/${one}.ts`, PLUGIN.replace("NAME", one));
      }
      const config = {
        version: 1,
        server: { threads: workers },
        listeners: [{
          name: "in",
          address: `127.0.0.1:${port}`,
          ...(engine === null ? {} : { engine }),
          ...(front === "h2c" ? { protocols: ["h1", "h2c"] } : {}),
          ...(secure
            ? {
              protocols: front === "h2" ? ["h1", "h2"] : ["h1"],
              tls: {
                certificates: [{ cert: certificate.cert, key: certificate.key }],
                strict_host: false,
              },
            }
            : {}),
        }],
        services: [{
          name: "edge",
          routes: [{
            id: "all",
            upstream: "origin",
            ...(work === "answer"
              ? {
                rules: [{
                  match: {},
                  respond: {
                    status: 200,
                    headers: { "content-type": "text/plain" },
                    body: "x".repeat(115),
                  },
                }],
              }
              : {}),
          }],
        }],
        upstreams: [{
          name: "origin",
          endpoints: [`127.0.0.1:${h2cOrigin ?? origin}`],
          ...(h2cOrigin === null ? {} : { transport: { protocol: "h2c" } }),
        }],
        ...(names.length === 0 ? {} : {
          plugins: {
            directory: "./plugins",
            isolation: Object.fromEntries(names.map((one) => [one, isolation])),
            ...(isolation === "inline" ? { trust: names } : {}),
          },
        }),
        telemetry: { access_log: { output: accessLog ? `${folder}/access.log` : "off" } },
      };
      // JSON is YAML, too.
      await Deno.writeTextFile(`${folder}/sluice.yaml`, JSON.stringify(config, null, 2));
      return [
        Deno.execPath(),
        "run",
        "-A",
        "--no-prompt",
        fileURLToPath(new URL("../../main.ts", import.meta.url)),
        "run",
        "-c",
        `${folder}/sluice.yaml`,
      ];
    },
    workers: familyOf,
    hooks: true,
    compiles: true,
  };
}

/** Every peer, nginx first: the others are compared with it. */
export const PEERS: readonly Peer[] = [
  nginx("nginx", false),
  nginx("nginx again", false),
  sluice("sluice", null),
  sluice("sluice handle", "handle"),
  sluice("sluice deno", "deno"),
  haproxy("haproxy", false),
  caddy,
  nginx("nginx+lua", true),
  haproxy("haproxy+lua", true),
];
