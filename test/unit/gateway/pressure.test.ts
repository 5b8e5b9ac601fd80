import { connect } from "node:net";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { expect, test, vi } from "vitest";
import { mostConnections } from "../../../docker/gateway/src/limits/descriptors";
import { atFileEnd } from "../../harness/file-end";
import { TestGateway, until } from "./harness";
import { fakeHeap } from "./heap-figures";

test("without memory left: 503 for what makes or writes, and the rest is served", () =>
  servesWhatMakesNothing(
    () => fakeHeap({ used_heap_size: 2 ** 50 }),
    () => fakeHeap(),
  ));

test("without time left: the same", () => {
  const loop = monitorEventLoopDelay();
  // To hold the event loop of a gateway in this process takes a minute: each request takes several of its turns.
  const mean = vi.spyOn(Object.getPrototypeOf(Object.getPrototypeOf(loop)), "mean", "get");
  return servesWhatMakesNothing(
    () => mean.mockReturnValue(1.5e9),
    () => mean.mockRestore(),
  );
});

async function servesWhatMakesNothing(begin: () => void, end: () => void): Promise<void> {
  const gateway = await TestGateway.start();
  await gateway.create("box");
  begin();
  atFileEnd(end);
  const box = "/v1/sandboxes/by-name/box";
  // It is looked at every three seconds.
  await until(async () => (await gateway.post(`${box}/start`)).status === 503, "a look", 20_000);
  const refused = await gateway.create("more");
  expect([refused.status, refused.body.error.code]).toEqual([503, "orchestrator_unreachable"]);
  expect(refused.headers.get("retry-after")).toBe("5");
  expect((await gateway.post(`${box}/start`)).status).toBe(503);
  expect((await gateway.post("/v1/volumes", { name: "more" })).status).toBe(503);
  expect((await gateway.get("/v1/sandboxes")).body.data).toHaveLength(1);
  expect((await gateway.post(`${box}/stop`)).body.status).toBe("stopped");
  expect((await gateway.delete(box)).status).toBe(200);
  for (const path of ["/healthz", "/metrics", "/v1/quotas"])
    expect((await gateway.get(path)).status).toBe(200);
  end();
  await until(async () => (await gateway.create("more")).status === 200, "a look", 20_000);
}

test("headers that trickle are ended, and so is a connection that says nothing", async () => {
  const gateway = await TestGateway.start({ BODY_TIMEOUT_SECONDS: "1" });
  const { port } = new URL(gateway.url);
  const said = (beginning: string) =>
    new Promise<string>((resolve) => {
      const socket = connect(Number(port), "127.0.0.1");
      let answer = "";
      socket.on("data", (data) => {
        answer += data;
      });
      socket.on("error", () => undefined).on("close", () => resolve(answer));
      socket.write(beginning);
      const drops = setInterval(() => beginning && socket.writable && socket.write("a"), 100);
      socket.on("close", () => clearInterval(drops));
    });
  const [trickled, silent] = await Promise.all([said("GET /healthz HTTP/1.1\r\nx: "), said("")]);
  expect(trickled).toMatch(/^HTTP\/1\.1 408 /);
  expect(silent).toMatch(/^(HTTP\/1\.1 408 |$)/);
});

test("more connections than the server takes are closed and counted", async () => {
  const gateway = await TestGateway.start();
  const { app } = gateway.gateway;
  const most = mostConnections();
  expect(app.server.maxConnections).toBe(most);
  app.server.maxConnections = 1;
  const { port } = new URL(gateway.url);
  const first = connect(Number(port), "127.0.0.1");
  await new Promise((resolve) => first.once("connect", resolve));
  const second = connect(Number(port), "127.0.0.1");
  await new Promise((resolve) => second.on("error", () => undefined).once("close", resolve));
  app.server.maxConnections = most;
  first.destroy();
  expect((await gateway.get("/metrics")).body).toMatch(/dropped_connections_total 1/);
});
