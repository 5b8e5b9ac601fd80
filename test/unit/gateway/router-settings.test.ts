import { expect, test } from "vitest";
import { serverOf } from "../../../docker/gateway/src/sandboxes/ids";
import { freePort } from "../../harness/stack";
import { TestGateway } from "./harness";

const COUNT = 3;

/** Servers with the numbers 0, 1, and so on, and the ports of their backends. */
async function servers(env: Record<string, string> = {}) {
  const ports = await Promise.all(Array.from({ length: COUNT }, freePort));
  const start = (port: number, number: number) =>
    TestGateway.start({ SERVER_NUMBER: `${number}`, BACKEND_PORT: `${port}`, ...env });
  return { ports, gateways: await Promise.all(ports.map(start)) };
}

const settingOf = (ports: number[], numbers: number[]) =>
  JSON.stringify(ports.map((port, at) => ({ number: numbers[at], url: `http://127.0.0.1:${port}` })));

test("a router that has the wrong number of a server makes nothing there, and is not ready, with the reason", async () => {
  const { ports, gateways } = await servers();
  for (const numbers of [
    [1, 2, 3],
    [1, 0, 2],
    [0, 1, 3],
  ]) {
    const router = await TestGateway.start({ SERVERS: settingOf(ports, numbers) });
    const ready = await router.get("/readyz");
    expect(ready.status).toBe(503);
    for (const [at, number] of numbers.entries())
      if (number !== at)
        expect(ready.body.checks[`server-${number}`].reason).toBe(
          `the server's SERVER_NUMBER is ${at}, not ${number} as on the router: correct the number in SERVERS`,
        );
    for (let turn = 0; turn < 4; turn++) expect((await router.create(`box-${turn}`)).status).toBe(503);
    expect((await router.get("/v1/sandboxes")).status).toBe(503);
  }
  for (const gateway of gateways) expect((await gateway.get("/v1/sandboxes")).body.data).toEqual([]);
  const router = await TestGateway.start({ SERVERS: settingOf(ports, [0, 1, 2]) });
  expect((await router.get("/readyz")).status).toBe(200);
  const { id } = (await router.create("box")).body;
  expect((await gateways[serverOf(id) ?? -1]?.get(`/v1/sandboxes/${id}`))?.status).toBe(200);
});

test("names are for each key on both sides, or on neither", async () => {
  for (const own of ["true", "false"]) {
    const { ports } = await servers({ OWN_SANDBOXES: own });
    const SERVERS = settingOf(ports, [0, 1, 2]);
    const other = await TestGateway.start({ SERVERS, OWN_SANDBOXES: own === "true" ? "false" : "true" });
    const { status, body } = await other.get("/readyz");
    expect([status, body.checks["server-1"].reason]).toEqual([503, expect.stringContaining("OWN_SANDBOXES")]);
    expect((await other.create("box")).status).toBe(503);
    const same = await TestGateway.start({ SERVERS, OWN_SANDBOXES: own });
    expect((await same.get("/readyz")).status).toBe(200);
  }
});

test("what a router would ignore is refused at its start, with the setting", async () => {
  const SERVERS = settingOf([1], [0]);
  const wrong: [Record<string, string>, RegExp][] = [
    [{ SERVERS, BACKEND_PORT: "5557" }, /BACKEND_PORT/],
    [{ SERVERS, SERVER_NUMBER: "1" }, /SERVER_NUMBER/],
    [{ SERVERS, WARM: JSON.stringify([{ image: "starter", count: 1 }]) }, /WARM/],
    [{ SERVERS, PEER_TLS_FILE: "/nowhere", PEER_CA_FILE: "/nowhere" }, /https:/],
    [{ SERVERS: SERVERS.replace("http", "ftp") }, /SERVERS/],
  ];
  for (const [env, says] of wrong) await expect(TestGateway.start(env)).rejects.toThrow(says);
});

test("however many strangers ask whether it is ready, servers are asked about once a second", async () => {
  const { ports, gateways } = await servers();
  const router = await TestGateway.start({ SERVERS: settingOf(ports, [0, 1, 2]), DEV_MODE: "false" });
  let asked = 0;
  for (const { gateway } of gateways) {
    const { readiness } = gateway.backend;
    gateway.backend.readiness = () => {
      asked += 1;
      return readiness();
    };
  }
  const began = performance.now();
  for (let turn = 0; turn < 20; turn++) {
    const some = Array.from({ length: 10 }, () => fetch(`${router.url}/readyz`));
    for (const { status } of await Promise.all(some)) expect(status).toBe(200);
  }
  expect(asked).toBeLessThanOrEqual(COUNT * (2 + (performance.now() - began) / 1_000));
  expect(asked).toBeGreaterThan(0);
});
