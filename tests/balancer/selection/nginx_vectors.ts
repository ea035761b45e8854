/**
 * What nginx 1.22.1 did with `hash $http_x_key consistent`: keys, and the first three servers that it asked for each
 * while none of them answered.
 *
 * @module
 */

/** Address and weight, in the order of the configuration. */
export const NGINX_SERVERS: readonly (readonly [string, number])[] = [
  ["127.0.0.1:9", 1],
  ["127.0.0.2:9", 3],
  ["127.0.0.3:19", 2],
  ["[::1]:9", 1],
  ["unix:/nonexistent/app.sock", 2],
];

/** Key, then servers. */
export const NGINX_VECTORS: readonly (readonly [string, string, string, string])[] = [
  ["a", "127.0.0.3:19", "127.0.0.1:9", "127.0.0.2:9"],
  ["b", "127.0.0.2:9", "[::1]:9", "127.0.0.3:19"],
  ["/some/path", "127.0.0.2:9", "unix:/nonexistent/app.sock", "127.0.0.3:19"],
  ["/a/longer/path?with=query", "127.0.0.2:9", "unix:/nonexistent/app.sock", "127.0.0.3:19"],
  ["user-1", "127.0.0.1:9", "127.0.0.3:19", "127.0.0.2:9"],
  ["user-2", "unix:/nonexistent/app.sock", "127.0.0.2:9", "127.0.0.3:19"],
  ["user-3", "unix:/nonexistent/app.sock", "127.0.0.1:9", "127.0.0.3:19"],
  ["192.0.2.1", "127.0.0.3:19", "127.0.0.2:9", "127.0.0.1:9"],
  ["192.0.2.2", "unix:/nonexistent/app.sock", "127.0.0.1:9", "127.0.0.3:19"],
  ["2001:db8::1", "127.0.0.3:19", "127.0.0.1:9", "unix:/nonexistent/app.sock"],
  ["0", "127.0.0.3:19", "unix:/nonexistent/app.sock", "127.0.0.2:9"],
  ["1", "[::1]:9", "127.0.0.2:9", "127.0.0.3:19"],
  ["2", "127.0.0.3:19", "unix:/nonexistent/app.sock", "[::1]:9"],
  ["3", "127.0.0.3:19", "127.0.0.2:9", "127.0.0.1:9"],
  ["f3b1c0de", "[::1]:9", "127.0.0.3:19", "127.0.0.2:9"],
  ["session.0042", "127.0.0.2:9", "127.0.0.3:19", "[::1]:9"],
  ["Z", "unix:/nonexistent/app.sock", "127.0.0.3:19", "127.0.0.1:9"],
  ["~", "127.0.0.2:9", "unix:/nonexistent/app.sock", "127.0.0.1:9"],
  ["cart_17", "127.0.0.2:9", "127.0.0.3:19", "unix:/nonexistent/app.sock"],
  ["de-DE", "127.0.0.3:19", "127.0.0.1:9", "127.0.0.2:9"],
];
