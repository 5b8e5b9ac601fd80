import { writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { GatewayProcess } from "../../test/harness/gateway";
import { alternate, type Line, ratioLine } from "./figures";
import { type Bundles, startBareFastify } from "./setup";

const ROUNDS = 5;
const ROUND_MS = 1_500;
const CONNECTIONS = 8;
const KNOWN = 1000;
/** What the msb command line asks for. */
const PATH = "/v1/sandboxes?limit=100";

/** GET /v1/sandboxes with 1,000 known sandboxes, against bare fastify sending the same bytes. */
export async function list(bundles: Bundles): Promise<Line[]> {
  const gateway = await GatewayProcess.start({ script: bundles.gateway });
  try {
    for (let made = 0; made < KNOWN; made += 10)
      await Promise.all(Array.from({ length: 10 }, (_each, index) => gateway.create(`list-${made + index}`)));
    const { status, body } = await gateway.request("GET", PATH);
    if (status !== 200 || body.data.length !== 100 || !body.next_cursor)
      throw new Error(`the list is not what it should be: ${status}, ${body.data?.length} sandboxes`);
    const bytes = join(bundles.folder, "list.json");
    writeFileSync(bytes, JSON.stringify(body));
    const bare = await startBareFastify(bundles, bytes);
    const both = await alternate(
      ROUNDS,
      () => requestsPerSecond(gateway.port, PATH),
      () => requestsPerSecond(bare.port, "/body"),
    );
    await bare.program.kill();
    const what = `GET /v1/sandboxes, ${KNOWN} known, pages of 100`;
    return [ratioLine({ what, against: "bare fastify, same bytes", unit: "/s", ...both }, { atLeast: 0.5 })];
  } finally {
    await gateway.remove();
  }
}

/** Requests per second over some kept-alive connections, one at a time on each. */
export async function requestsPerSecond(port: number, path: string): Promise<number> {
  const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => httpClient(port, path)));
  const began = performance.now();
  const until = began + ROUND_MS;
  const counts = await Promise.all(clients.map((client) => client.run(until)));
  const seconds = (performance.now() - began) / 1000;
  return counts.reduce((sum, count) => sum + count, 0) / seconds;
}

/** A client that only counts: what it costs is taken from the servers' CPU. */
async function httpClient(port: number, path: string): Promise<{ run: (until: number) => Promise<number> }> {
  let take: (piece: Buffer) => void = () => undefined;
  const socket: Socket = connect({
    ...{ host: "127.0.0.1", port },
    onread: {
      buffer: Buffer.allocUnsafe(128 * 1024),
      callback: (length, buffer) => {
        take(Buffer.from(buffer.buffer, buffer.byteOffset, length));
        return true;
      },
    },
  });
  await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  const headers = "Host: localhost\r\nAuthorization: Bearer msb_test\r\nUser-Agent: microsandbox-sdk/0.7.11";
  const request = `GET ${path} HTTP/1.1\r\n${headers}\r\n\r\n`;
  const run = (until: number) =>
    new Promise<number>((resolve, reject) => {
      let count = 0;
      let left = 0;
      take = (piece) => {
        if (left === 0) left = lengthOf(piece);
        left -= piece.length;
        if (left > 0) return;
        count++;
        if (performance.now() < until) return void socket.write(request);
        socket.destroy();
        resolve(count);
      };
      socket.once("error", reject);
      socket.write(request);
    });
  return { run };
}

/** Bytes of a whole answer, head and body. The head is in the first piece: nothing else is sent before it. */
function lengthOf(piece: Buffer): number {
  const end = piece.indexOf("\r\n\r\n");
  const head = piece.toString("latin1", 0, end);
  const length = /^content-length: (\d+)/im.exec(head)?.[1];
  if (!head.startsWith("HTTP/1.1 200") || length === undefined)
    throw new Error(`an answer to count: ${head}`);
  return end + 4 + Number(length);
}
