import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { descriptorLimit, mostConnections } from "../../../docker/gateway/src/limits/descriptors";
import { atFileEnd } from "../../harness/file-end";
import { bundleGateway, GatewayProcess } from "../../harness/gateway";
import { temporaryFolder, until } from "./harness";

const FEW = 256;

async function withFew(fault?: string) {
  const script = join(temporaryFolder(), "gateway.cjs");
  await bundleGateway(script);
  const nodeFlags =
    fault === undefined ? [] : ["--import", `data:text/javascript,${encodeURIComponent(fault)}`];
  const gateway = await GatewayProcess.start({ script, descriptors: FEW, nodeFlags });
  atFileEnd(() => gateway.remove());
  return gateway;
}

test("more connections than there are descriptors: no sandbox ends, and others are made", async () => {
  const gateway = await withFew();
  const box = await gateway.create("box");
  const sockets = Array.from({ length: 2 * FEW }, () => {
    const socket: Socket = connect(gateway.port, "127.0.0.1");
    socket.on("error", () => undefined).write("GET /healthz HTTP/1.1\r\nx: ");
    return socket;
  });
  atFileEnd(() => sockets.forEach((socket) => void socket.destroy()));
  // Longer than it takes the server to look at its memory and its event loop.
  await sleep(4_000);
  expect(gateway.program.running).toBe(true);
  expect(gateway.program.openFiles()).toBeLessThan(FEW);
  for (const socket of sockets) socket.destroy();
  await until(() => gateway.answers(), "an answer");
  expect((await gateway.request("GET", `/v1/sandboxes/${box.id}`)).body.status).toBe("running");
  expect((await gateway.create("more")).status).toBe("running");
});

test("no descriptor left anywhere: what throws for it ends nothing", async () => {
  const fault = `
    import { closeSync, openSync } from "node:fs";
    process.on("SIGUSR2", () => {
      const open = [];
      const take = setInterval(() => { for (;;) open.push(openSync("/dev/null", "r")); }, 20);
      setTimeout(() => { clearInterval(take); open.forEach((one) => closeSync(one)); }, 4000);
    });`;
  const gateway = await withFew(fault);
  const box = await gateway.create("box");
  gateway.program.child.kill("SIGUSR2");
  await until(() => gateway.program.openFiles() >= FEW - 1, "all are taken");
  await until(() => gateway.program.openFiles() < FEW / 2, "they are given back", 10_000);
  expect(gateway.program.running).toBe(true);
  expect((await gateway.request("GET", `/v1/sandboxes/${box.id}`)).body.status).toBe("running");
});

test("whatever the limit, connections with two descriptors each leave a quarter of it", () => {
  fc.assert(
    fc.property(fc.integer({ min: 8, max: 2 ** 30 }), (descriptors) => {
      const most = mostConnections(descriptors);
      expect(most * 2).toBeLessThanOrEqual(descriptors * 0.75);
      expect(most).toBeGreaterThan(0);
    }),
  );
  expect(mostConnections(descriptorLimit("/nowhere"))).toBe(20_000);
});
