/** A gRPC server to stand behind Sluice, without any package: it greets whoever is named in a message. */
import http2 from "node:http2";

const server = http2.createServer();

server.on("stream", (stream, fields) => {
  const pieces: Uint8Array[] = [];
  stream.on("data", (piece: Uint8Array) => pieces.push(piece));
  stream.on("error", () => {});
  stream.on("end", () => {
    if (fields[":path"] !== "/greet.Greeter/Hello") {
      // Trailers-only: a status, and nothing else.
      stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "12" }, {
        endStream: true,
      });
      return;
    }
    const message = new Uint8Array(pieces.flatMap((piece) => [...piece]));
    const name = new TextDecoder().decode(message.subarray(5));
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, {
      waitForTrailers: true,
    });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(frame(`Hello, ${name}.`));
  });
});

/** A message with its prefix: no compression, and its length. */
function frame(text: string): Uint8Array {
  const content = new TextEncoder().encode(text);
  const out = new Uint8Array(5 + content.length);
  new DataView(out.buffer).setUint32(1, content.length);
  out.set(content, 5);
  return out;
}

server.listen(3000, "127.0.0.1", () => console.log("origin is ready on 127.0.0.1:3000"));
