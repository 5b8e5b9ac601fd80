/**
 * Stands in for the relays of sandboxes: listens on the unix sockets given as arguments. The first nine bytes of a
 * connection say what it does, a letter and a number n (64 bits, big endian):
 * D send n bytes · U take n bytes, then send one · E echo · F send without end · S say how many bytes F has sent.
 */
import { createServer, type Socket } from "node:net";

const chunk = Buffer.alloc(64 * 1024, "x");
const HEADER = 9;
let flooded = 0n;

function serve(socket: Socket): void {
  socket.on("error", () => socket.destroy());
  let header = Buffer.alloc(0);
  const begin = (data: Buffer): void => {
    header = Buffer.concat([header, data]);
    if (header.length < HEADER) return;
    socket.off("data", begin);
    const rest = header.subarray(HEADER);
    const amount = Number(header.readBigUInt64BE(1));
    const mode = String.fromCharCode(header[0] ?? 0);
    if (mode === "D") send(socket, amount);
    if (mode === "U") take(socket, amount - rest.length);
    if (mode === "F") send(socket, Number.POSITIVE_INFINITY);
    if (mode === "E") {
      if (rest.length > 0) socket.write(rest);
      socket.pipe(socket);
    }
    if (mode === "S") {
      const answer = Buffer.alloc(8);
      answer.writeBigUInt64BE(flooded);
      socket.write(answer);
    }
  };
  socket.on("data", begin);
}

function send(socket: Socket, amount: number): void {
  let left = amount;
  const endless = !Number.isFinite(amount);
  const more = (): void => {
    while (left > 0 && !socket.destroyed) {
      const part = left >= chunk.length ? chunk : chunk.subarray(0, left);
      left -= part.length;
      if (endless) flooded += BigInt(part.length);
      if (!socket.write(part)) return;
    }
  };
  socket.on("drain", more);
  more();
}

function take(socket: Socket, amount: number): void {
  let left = amount;
  const count = (length: number): void => {
    left -= length;
    if (left <= 0) socket.write("!");
  };
  if (left <= 0) count(0);
  else socket.on("data", (data: Buffer) => count(data.length));
}

const paths = process.argv.slice(2);
let listening = 0;
for (const path of paths)
  createServer(serve).listen(path, () => {
    listening += 1;
    if (listening === paths.length) process.send?.("ready");
  });
