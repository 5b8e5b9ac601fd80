import { connect } from "node:net";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { atFileEnd } from "../../harness/file-end";
import { TestGateway, until } from "./harness";

const BEFORE = ["/healthz", "/readyz", "/openapi.json", "/v1/sandboxes", "/%zz", "/nothing"];
const UPGRADED = [
  "/v1/sandboxes/00000000-0000-4000-8000-000000000001/agent",
  "/v1/quotas",
  "/healthz",
  "/%zz",
];
const LEAVES = ["end", "destroy", "resetAndDestroy"] as const;

test("an upgrade request behind others leaves no connection and no line, however its client goes", async () => {
  const gateway = await TestGateway.start();
  const { server, log } = gateway.gateway.app;
  const warn = vi.spyOn(log, "warn");
  const head = (path: string) => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n`;
  const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
  const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  const leave = async (before: string[], path: string, how: (typeof LEAVES)[number], ms: number) => {
    const socket = connect(Number(new URL(gateway.url).port), "127.0.0.1");
    atFileEnd(() => void socket.destroy());
    socket.on("error", () => undefined).resume();
    await new Promise((resolve) => socket.once("connect", resolve));
    const plain = before.map((each) => `${head(each)}\r\n`).join("");
    socket.write(`${plain}${head(path)}${upgrade}${key}\r\n`);
    await new Promise((resolve) => setTimeout(resolve, ms));
    socket[how]();
  };
  const any = fc.tuple(
    fc.array(fc.constantFrom(...BEFORE), { maxLength: 8 }),
    fc.constantFrom(...UPGRADED),
    fc.constantFrom(...LEAVES),
    fc.integer({ min: 0, max: 20 }),
  );
  for (let turn = 0; turn < 10; turn++) await Promise.all(fc.sample(any, 20).map((each) => leave(...each)));
  const open = () => new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)));
  await until(async () => (await open()) === 0, "all connections to be closed", 20_000);
  expect(warn.mock.calls).toEqual([]);
  await gateway.gateway.stop();
});
