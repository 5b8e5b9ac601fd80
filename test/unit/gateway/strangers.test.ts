import { connect, type Socket } from "node:net";
import { expect, test } from "vitest";
import { atFileEnd } from "../../harness/file-end";
import { until } from "./harness";
import { bearer, withKeys } from "./with-keys";

const MOST = 64;

/** Connections that have sent a part of a request, from an address of their own. */
function halves(port: number, count: number, localAddress: string): (Socket & { isClosed?: boolean })[] {
  return Array.from({ length: count }, () => {
    const socket: Socket & { isClosed?: boolean } = connect({ port, host: "127.0.0.1", localAddress });
    socket
      .on("error", () => undefined)
      .on("close", () => {
        socket.isClosed = true;
      });
    socket.write("GET /readyz HTTP/1.1\r\nx: ");
    atFileEnd(() => socket.destroy());
    return socket;
  });
}

test("strangers close each other's connections, and lock out neither keys nor the health check", async () => {
  const { gateway, status } = await withKeys([{ id: "ann", key: "ann" }]);
  gateway.gateway.app.server.maxConnections = MOST;
  const port = Number(new URL(gateway.url).port);
  // One that has shown its key is none of them, however old it is.
  const known = connect(port, "127.0.0.1");
  let answers = "";
  known.on("data", (data) => (answers += data));
  const ask = () =>
    known.write("GET /v1/quotas HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ann\r\n\r\n");
  ask();
  await until(() => answers.includes("200 OK"), "its first answer");
  const others = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6"];
  const sockets = others.map((address) => halves(port, MOST, address));
  const open = () => sockets.map((its) => its.filter(({ isClosed }) => !isClosed).length);
  await until(() => open().every((count) => count <= MOST / 8), "the end of the oldest");
  // The newest of each are those that are left.
  for (const its of sockets) expect(its.slice(0, MOST / 2).every(({ isClosed }) => isClosed)).toBe(true);
  expect((await gateway.get("/readyz", { authorization: "" })).status).toBeLessThan(504);
  expect(await status("ann")).toBe(200);
  answers = "";
  ask();
  await until(() => answers.includes("200 OK"), "its next answer");
  known.destroy();
  expect((await gateway.get("/metrics", bearer("ann"))).body).toMatch(/dropped_connections_total [1-9]/);
});

test("strangers of many networks get a quarter of the connections together", async () => {
  const { gateway, status } = await withKeys([{ id: "ann", key: "ann" }]);
  gateway.gateway.app.server.maxConnections = MOST;
  const port = Number(new URL(gateway.url).port);
  const networks = Array.from({ length: 12 }, (_, at) => halves(port, MOST / 8, `127.0.1.${at + 1}`));
  const open = () => networks.flat().filter(({ isClosed }) => !isClosed).length;
  await until(() => open() <= MOST / 4, "the end of some");
  expect(await status("ann")).toBe(200);
});
