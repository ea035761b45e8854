/**
 * Sockets for tests about quantity: they move bytes and keep none.
 *
 * @module
 */

const encoder = new TextEncoder();
const decoder = new TextDecoder("latin1");

/** Something that can be ended. */
export interface BulkOrigin extends AsyncDisposable {
  readonly port: number;
  /** Bytes of content that arrived, with their framing. */
  readonly received: number;
}

/**
 * Starts an origin that answers `GET` with `size` bytes, and any other request, once its content of `size` bytes has
 * arrived, with 200 and no content.
 */
export function startBulkOrigin(size: number): BulkOrigin {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let received = 0;
  const serve = async (connection: Deno.Conn) => {
    const buffer = new Uint8Array(256 * 1024);
    try {
      for (;;) {
        const head = await readHead(connection, buffer);
        if (head === null) return;
        if (head.text.startsWith("GET ")) {
          await writeAll(
            connection,
            encoder.encode(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`),
          );
          await pour(connection, size);
        } else {
          const chunked = /\r\ntransfer-encoding: chunked/i.test(head.text);
          let got = head.extra;
          let last = false;
          let tail = "";
          while (chunked ? !last : got < size) {
            const count = await connection.read(buffer);
            if (count === null) return;
            got += count;
            // The content has no digits, so this can only be the last chunk.
            tail = (tail + decoder.decode(buffer.subarray(Math.max(0, count - 5), count))).slice(
              -5,
            );
            last = tail === "0\r\n\r\n";
          }
          received += got;
          await writeAll(
            connection,
            encoder.encode("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
          );
        }
      }
    } catch {
      // The other side has gone.
    } finally {
      connection.close();
    }
  };
  const running = (async () => {
    const all: Promise<void>[] = [];
    try {
      for (;;) all.push(serve(await listener.accept()));
    } catch { /* The listener was closed. */ }
    await Promise.all(all);
  })();
  return {
    port: listener.addr.port,
    get received() {
      return received;
    },
    async [Symbol.asyncDispose]() {
      listener.close();
      await running;
    },
  };
}

/** Downloads `size` bytes through `port` and throws them away; `onPiece` is called now and then. */
export async function download(port: number, size: number, onPiece: () => void): Promise<void> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  try {
    await writeAll(connection, encoder.encode("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    const buffer = new Uint8Array(256 * 1024);
    const head = (await readHead(connection, buffer))!;
    if (!head.text.startsWith("HTTP/1.1 200 ")) throw new Error(head.text);
    for (let got = head.extra, turn = 0; got < size; turn++) {
      const count = await connection.read(buffer);
      if (count === null) throw new Error(`The download ended after ${got} of ${size} bytes`);
      got += count;
      if (got > size) throw new Error(`${got - size} bytes too many`);
      if ((turn & 63) === 0) onPiece();
    }
  } finally {
    connection.close();
  }
}

/** Uploads `size` bytes through `port`; with a length, or in chunks. */
export async function upload(
  port: number,
  size: number,
  way: "length" | "chunked",
  onPiece: () => void,
): Promise<void> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  try {
    const framing = way === "length" ? `Content-Length: ${size}` : "Transfer-Encoding: chunked";
    await writeAll(connection, encoder.encode(`POST / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`));
    if (way === "length") await pour(connection, size, onPiece);
    else {
      const piece = new Uint8Array(256 * 1024);
      const frame = concatenate(
        encoder.encode(`${piece.length.toString(16)}\r\n`),
        piece,
        encoder.encode("\r\n"),
      );
      for (let sent = 0; sent < size; sent += piece.length) {
        await writeAll(connection, frame);
        onPiece();
      }
      await writeAll(connection, encoder.encode("0\r\n\r\n"));
    }
    const head = await readHead(connection, new Uint8Array(4096));
    if (head === null || !head.text.startsWith("HTTP/1.1 200 ")) throw new Error(`${head?.text}`);
  } finally {
    connection.close();
  }
}

/**
 * Sends `count` equal requests over `connections` keep-alive connections and checks each answer's status and length.
 *
 * @param onPiece Called after each thousand requests of a connection.
 */
export async function hammer(
  port: number,
  count: number,
  connections: number,
  onPiece: () => void,
): Promise<void> {
  const ask = encoder.encode(
    "GET /bytes/100 HTTP/1.1\r\nHost: test.example\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n",
  );
  const each = Math.ceil(count / connections);
  await Promise.all(Array.from({ length: connections }, async () => {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    const buffer = new Uint8Array(8192);
    try {
      for (let i = 0; i < each; i++) {
        await writeAll(connection, ask);
        let filled = 0;
        let expected = -1;
        while (filled < expected || expected < 0) {
          const got = await connection.read(buffer.subarray(filled));
          if (got === null) throw new Error(`The connection ended after ${i} requests`);
          filled += got;
          if (expected >= 0) continue;
          const text = decoder.decode(buffer.subarray(0, filled));
          const end = text.indexOf("\r\n\r\n");
          if (end < 0) continue;
          const length = /\r\ncontent-length: (\d+)\r\n/i.exec(text);
          if (!text.startsWith("HTTP/1.1 200 ") || length === null) throw new Error(text);
          expected = end + 4 + Number(length[1]);
        }
        if (filled > expected) throw new Error(`${filled - expected} bytes too many`);
        if (i % 1000 === 999) onPiece();
      }
    } finally {
      connection.close();
    }
  }));
}

/** Starts an origin that answers each request without content with 100 bytes, as cheaply as it can. */
export function startQuickOrigin(): { readonly port: number } & AsyncDisposable {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const answer = encoder.encode(`HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n${"x".repeat(100)}`);
  const serve = async (connection: Deno.Conn) => {
    const buffer = new Uint8Array(8192);
    try {
      while (await readHead(connection, buffer) !== null) await writeAll(connection, answer);
    } catch {
      // The other side has gone.
    } finally {
      connection.close();
    }
  };
  const running = (async () => {
    const all: Promise<void>[] = [];
    try {
      for (;;) all.push(serve(await listener.accept()));
    } catch { /* The listener was closed. */ }
    await Promise.all(all);
  })();
  return {
    port: listener.addr.port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await running;
    },
  };
}

/** Reads a head that is alone, or followed by content; `extra` says how much of that came with it. */
async function readHead(
  connection: Deno.Conn,
  buffer: Uint8Array,
): Promise<{ text: string; extra: number } | null> {
  let filled = 0;
  for (;;) {
    const count = await connection.read(buffer.subarray(filled));
    if (count === null) return null;
    filled += count;
    const text = decoder.decode(buffer.subarray(0, Math.min(filled, 8192)));
    const end = text.indexOf("\r\n\r\n");
    if (end >= 0) return { text: text.slice(0, end), extra: filled - end - 4 };
    if (filled >= 8192) throw new Error("A head without end");
  }
}

async function pour(connection: Deno.Conn, size: number, onPiece = () => {}): Promise<void> {
  const piece = new Uint8Array(256 * 1024);
  for (let left = size; left > 0; left -= piece.length) {
    await writeAll(connection, left < piece.length ? piece.subarray(0, left) : piece);
    onPiece();
  }
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

function concatenate(...pieces: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}
